// SPDX-License-Identifier: MIT
// The helper's generated part: an export table that matching fills at load; a late target's is empty. The entries are writable, carry no
// __ksymtab_ symbols (K1: modpost would emit a second checksum for each) and stand in sections that the linker sorts by
// name, which makes the order of names the order of export indexes.
using System.Globalization;
using System.Text;
using Ksplice.Build.Differencing;
using Ksplice.Build.Matching;
using Ksplice.Build.Targets;

namespace Ksplice.Build.Generation;

/// <summary>The generated files of the helper of one target.</summary>
/// <param name="Target">The target.</param>
/// <param name="Assembly">exports.S: the export table and the match data.</param>
/// <param name="SymbolVersions">What the primary is linked against, in the form of Module.symvers.</param>
/// <param name="MatchBytes">The match data that the assembly includes as <c>match.bin</c>.</param>
/// <param name="ExportCount">How many symbols the helper exports.</param>
public sealed record HelperSource(
    UpdateTarget Target,
    string Assembly,
    string SymbolVersions,
    ReadOnlyMemory<byte> MatchBytes,
    int ExportCount
)
{
    /// <summary>Writes the helper of <paramref name="target"/>.</summary>
    public static HelperSource Create(UpdateTarget target, MatchData matchData)
    {
        ArgumentNullException.ThrowIfNull(target);
        ArgumentNullException.ThrowIfNull(matchData);
        StringBuilder text = new();
        ExportTable exports = new(text, target.Helper, ExportTable.ChecksumOf(target.UpdateId));
        text.Append("/* Generated: the exports of update ")
            .Append(target.UpdateId)
            .Append(" for ")
            .Append(target.Name)
            .Append(", and its match data. */\n");
        int count = target.IsLate ? 0 : matchData.Exports.Count(symbol => symbol is not RuntimeConstant);
        for (int i = 0; i < count; i++)
            exports.Add(target.ExportName(i), value: null);
        text.Append(
            CultureInfo.InvariantCulture,
            $"""
            	.section "{(target.IsLate ? ".rodata" : ".init.rodata")}","a",%progbits
            	.balign 8
            	.globl ksplice_match_data
            ksplice_match_data:
            	.incbin "match.bin"
            	.globl ksplice_match_data_end
            ksplice_match_data_end:
            	.section .note.GNU-stack,"",%progbits

            """
        );
        return new HelperSource(target, text.ToString().ReplaceLineEndings("\n"), exports.SymbolVersions, matchData.Bytes, count);
    }
}
