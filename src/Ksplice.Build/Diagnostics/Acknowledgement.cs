// SPDX-License-Identifier: MIT
// Errors that protect memory have no off switch. What a person can do is to name one object and say why the change of it is
// safe, mostly because a hook puts the live objects right; the reason travels with the update, in its manifest. It is
// written in the project, or in the patch itself by ksplice_acknowledge (include/ksplice/hooks.h), which leaves three
// strings, each ended by a zero, in a section of the post object that goes into no module.
using System.Text;
using Ksplice.Build.Elf;

namespace Ksplice.Build.Diagnostics;

/// <summary>A person's word for one object.</summary>
/// <param name="Id">The rule, KSPnnnn.</param>
/// <param name="Object">The object, as the rule's reports name it.</param>
/// <param name="Reason">Why the change is safe.</param>
/// <param name="Source">The project or the patched file that says it.</param>
public sealed record Acknowledgement(string Id, string Object, string Reason, string Source)
{
    /// <summary>The section that <c>ksplice_acknowledge</c> writes to.</summary>
    public const string SectionName = ".ksplice.acknowledge";

    /// <summary>True if this is about <paramref name="diagnostic"/>, and its rule lets a person decide.</summary>
    public bool Covers(Diagnostic diagnostic)
    {
        ArgumentNullException.ThrowIfNull(diagnostic);
        return diagnostic.Descriptor.CanBeAcknowledged && diagnostic.Id == Id && diagnostic.Object == Object;
    }

    /// <summary>What the patch says in <paramref name="post"/>, the post object of <paramref name="unit"/>.</summary>
    /// <exception cref="ElfFormatException">The section does not hold what the macro writes.</exception>
    public static IReadOnlyList<Acknowledgement> ReadFrom(ElfObject post, string unit)
    {
        ArgumentNullException.ThrowIfNull(post);
        List<Acknowledgement> found = [];
        foreach (var section in post.Sections.Where(section => section.Name == SectionName))
        {
            // The compiler may align one array behind another.
            string[] words = Encoding.UTF8.GetString(section.Data.Span).Split('\0', StringSplitOptions.RemoveEmptyEntries);
            if (words.Length % 3 != 0)
                ElfFormatException.Throw(
                    post.Name,
                    0,
                    $"section {SectionName} holds {words.Length} texts: "
                        + "ksplice_acknowledge takes a rule, an object and a reason, none of them empty"
                );
            for (int i = 0; i < words.Length; i += 3)
                found.Add(new Acknowledgement(words[i], words[i + 1], words[i + 2], unit));
        }
        return found;
    }
}
