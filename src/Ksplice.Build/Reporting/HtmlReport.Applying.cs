// SPDX-License-Identifier: MIT
using Ksplice.Build.Generation;
using Ksplice.Build.Targets;
using Ksplice.Build.Updates;

namespace Ksplice.Build.Reporting;

/// <content>What applying the update means for a machine.</content>
public sealed partial class HtmlReport
{
    private void WriteApplying(UpdatePackage package, UpdateDescription update)
    {
        var manifest = package.Manifest;
        Line("<section id=\"applying\"><h2>Applying</h2><ul>");
        foreach (var target in manifest.Targets)
            Line($"<li>{Target(target)}</li>");
        foreach (var below in manifest.Base)
            Line($"<li>It goes on top of update <code>{Text(below.Id)}</code>, which has to be applied before, and undone after it.</li>");
        var hooks = Hooks(package).ToList();
        if (hooks.Count != 0)
            Line(
                $"<li>The patch brings hooks, functions that run when the update is applied or undone: "
                    + $"{Text(string.Join(", ", hooks))}.</li>"
            );
        Line(
            "<li>The machine stands still for a moment. Where a thread is inside of a function that is to be replaced, nothing is changed, "
                + "and <code>ksplice</code> names the thread.</li></ul><h3>After an undo</h3><ul>"
        );
        var pins = update
            .Units.SelectMany(unit => unit.Pins)
            .ToLookup(pin => pin.PinsPrimary, pin => $"{pin.Holder} holds the address of {pin.Target}");
        Stays("The primary module stays loaded until reboot", manifest.Pinned || pins[true].Any(), pins[true]);
        Stays(
            "Strings and constants stay loaded until reboot, in a data module without code",
            manifest.Data is not null || pins[false].Any(),
            pins[false]
        );
        if (!manifest.Pinned && manifest.Data is null && !pins[true].Concat(pins[false]).Any())
            Line("<li>Nothing of the update stays in memory.</li>");
        Line("</ul></section>");
    }

    private static string Target(ManifestTarget target)
    {
        string what = $"{Words.Count(target.Functions.Count, "function")} of ";
        return target.Name == UpdateTarget.KernelName ? what + "the kernel itself."
            : target.Late
                ? $"{what}module <code>{Text(target.Name)}</code>. If it is not loaded it is changed when it is, before it runs; "
                    + "if that cannot be, it does not load."
            : $"{what}module <code>{Text(target.Name)}</code>, which has to be loaded and stays so while the update is.";
    }

    private static IEnumerable<string> Hooks(UpdatePackage package)
    {
        var added = package
            .Manifest.Patches.SelectMany(path => System.Text.Encoding.UTF8.GetString(package.Files[path].Span).Split('\n'))
            .Where(line => line.StartsWith('+'))
            .ToList();
        return PrimaryTables.HookNames.Where(name => added.Any(line => line.Contains($"ksplice_{name}(", StringComparison.Ordinal)));
    }

    private void Stays(string what, bool does, IEnumerable<string> why)
    {
        if (!does)
            return;
        string[] reasons = [.. why.Distinct(StringComparer.Ordinal)];
        Line(
            reasons.Length == 0
                ? $"<li>{what}.</li>"
                : $"<li>{what}:<ul>{string.Concat(reasons.Select(reason => $"<li>{Text(reason)}</li>"))}</ul></li>"
        );
    }
}
