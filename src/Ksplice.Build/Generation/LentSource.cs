// SPDX-License-Identifier: MIT
// The export table of a primary whose new globals other targets of the update use. The kernel's own table of exports stays as it is: the
// names are the update's, so that nothing binds to them but its own primaries, and the loader sees to it that a primary stays as long as
// one that was bound to it.
using System.Globalization;
using System.Text;
using Ksplice.Build.Targets;

namespace Ksplice.Build.Generation;

/// <summary>The generated files of a primary that other primaries are bound to.</summary>
/// <param name="Assembly">lent.S: the export table.</param>
/// <param name="SymbolVersions">What the others are linked against, in the form of Module.symvers.</param>
internal sealed record LentSource(string Assembly, string SymbolVersions)
{
    /// <summary>Writes the exports of the primary of <paramref name="target"/>; null if it has none.</summary>
    public static LentSource? Create(UpdateTarget target, PrimaryObject primary)
    {
        if (primary.Exports.Count == 0)
            return null;
        StringBuilder text = new();
        text.Append(
            CultureInfo.InvariantCulture,
            $"/* Generated: what the other targets of update {target.UpdateId} use of the new code for {target.Name}. */\n"
        );
        ExportTable exports = new(text, target.Primary, ExportTable.ChecksumOf(target.UpdateId));
        foreach (string name in primary.Exports)
            exports.Add(name, $"{name} - .");
        text.Append("\t.section .note.GNU-stack,\"\",%progbits\n");
        return new(text.ToString().ReplaceLineEndings("\n"), exports.SymbolVersions);
    }
}
