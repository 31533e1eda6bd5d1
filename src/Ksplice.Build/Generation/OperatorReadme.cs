// SPDX-License-Identifier: MIT
// README.txt of a package: what the person at the machine needs to know, and nothing that changes from build to build.
using System.Text;
using Ksplice.Build.Targets;

namespace Ksplice.Build.Generation;

/// <summary>Writes the text for the operator.</summary>
public static class OperatorReadme
{
    /// <summary>The text for <paramref name="manifest"/>.</summary>
    public static string Write(UpdateManifest manifest)
    {
        ArgumentNullException.ThrowIfNull(manifest);
        StringBuilder text = new();
        text.Append("Update ").Append(manifest.Id).Append(": ").Append(manifest.Name).Append('\n');
        if (manifest.Version is { } version)
            text.Append("version ").Append(version).Append('\n');
        if (manifest.Description is { } description)
            text.Append(description).Append('\n');
        if (manifest.Advisories.Count != 0)
            text.Append("answers ").AppendJoin(", ", manifest.Advisories).Append('\n');
        text.Append("for the running kernel ")
            .Append(manifest.Kernel.Release)
            .Append("\n    ")
            .Append(manifest.Kernel.Banner.Trim())
            .Append("\n\n");
        text.Append("Apply, look, undo (as root, in this folder):\n\n");
        text.Append("    ksplice apply .\n    ksplice view ")
            .Append(manifest.Id)
            .Append("\n    ksplice undo ")
            .Append(manifest.Id)
            .Append("\n\n");
        text.Append(
            "Applying stops the machine for a moment, the longer the more threads it has. Where a thread is inside of a function that\n"
        );
        text.Append("is to be replaced, nothing is changed, and `ksplice` says which thread. An update lasts until reboot.\n\n");
        if (manifest.Pinned)
            text.Append("After an undo the primary module of this update stays loaded: the kernel may still hold addresses in it.\n\n");
        if (manifest.Data is { } data)
            text.Append("After an undo module ")
                .Append(Path.GetFileNameWithoutExtension(data.Module))
                .Append(" stays loaded: it holds the texts of messages and other constants,\n")
                .Append("to which the kernel may still hold pointers. It has no code.\n\n");
        string[] late = [.. manifest.Targets.Where(target => target.Late).Select(target => target.Name)];
        string[] first =
        [
            .. manifest
                .Targets.Select(target => target.Name)
                .Where(name => name != UpdateTarget.KernelName)
                .Except(late, StringComparer.Ordinal),
        ];
        if (late.Length != 0)
        {
            text.Append("These modules are changed: ").AppendJoin(", ", late).Append(".\n");
            text.Append("One that is not loaded is changed when it is, before it runs; if that cannot be, it does not load.\n\n");
        }
        if (first.Length != 0)
        {
            text.Append("These modules are changed, and have to be loaded: ").AppendJoin(", ", first).Append(".\n");
            text.Append("They cannot be unloaded while the update's modules are loaded.\n\n");
        }
        if (manifest.Base.Count != 0)
        {
            text.Append("It goes on top of these updates. They have to be applied before it, and can be undone after it only:\n\n");
            foreach (var below in manifest.Base)
            {
                text.Append("    ").Append(below.Id).Append('\n');
                foreach (string patch in below.Patches)
                    text.Append("        ").Append(patch).Append('\n');
            }
            text.Append('\n');
        }
        text.Append("Replaced functions:\n\n");
        foreach (var target in manifest.Targets)
        {
            foreach (var function in target.Functions)
                text.Append("    ")
                    .Append(target.Name)
                    .Append(": ")
                    .Append(function.Name)
                    .Append(" (")
                    .Append(function.Unit)
                    .Append("): ")
                    .Append(function.Why)
                    .Append('\n');
        }
        text.Append("\nPatches, in order:\n\n");
        foreach (string patch in manifest.Patches)
            text.Append("    ").Append(patch).Append('\n');
        return text.ToString();
    }
}
