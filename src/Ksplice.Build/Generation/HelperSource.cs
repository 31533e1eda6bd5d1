// The helper's generated part: an export table that matching fills at load. The entries are writable, carry no
// __ksymtab_ symbols (K1: modpost would emit a second checksum for each) and stand in sections that the linker sorts by
// name, which makes the order of names the order of export indexes.
using System.Buffers.Binary;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Ksplice.Build.Matching;

namespace Ksplice.Build.Generation;

/// <summary>The generated files of one update's helper.</summary>
/// <param name="Id">The update's id.</param>
/// <param name="Assembly">exports.S: the export table and the match data.</param>
/// <param name="SymbolVersions">What the primary is linked against, in the form of Module.symvers.</param>
/// <param name="MatchBytes">The match data that the assembly includes as <c>match.bin</c>.</param>
/// <param name="ExportCount">How many symbols the helper exports.</param>
public sealed record HelperSource(string Id, string Assembly, string SymbolVersions, ReadOnlyMemory<byte> MatchBytes, int ExportCount)
{
    /// <summary>The module's name.</summary>
    public static string ModuleName(string id) => $"ksplice_{id}_helper";

    /// <summary>Writes the helper of update <paramref name="id"/>.</summary>
    public static HelperSource Create(string id, MatchData matchData)
    {
        ArgumentNullException.ThrowIfNull(matchData);
        uint crc = Checksum(id);
        StringBuilder text = new();
        StringBuilder versions = new();
        text.Append("/* Generated: the exports of update ").Append(id).Append(" and its match data. */\n");
        for (int i = 0; i < matchData.Exports.Length; i++)
        {
            string name = PrimaryObject.ExportName(id, i);
            text.Append(CultureInfo.InvariantCulture, $"""
                	.section "__ksymtab_strings","aMS",%progbits,1
                .Lname{i}:
                	.asciz "{name}"
                .Lnamespace{i}:
                	.asciz ""
                	.section "___ksymtab_gpl+{name}","aw",%progbits
                	.balign 4
                	.long 0
                	.long .Lname{i} - .
                	.long .Lnamespace{i} - .
                	.section "___kcrctab_gpl+{name}","a",%progbits
                	.balign 4
                	.long 0x{crc:x8}

                """);
            versions.Append(CultureInfo.InvariantCulture, $"0x{crc:x8}\t{name}\t{ModuleName(id)}\tEXPORT_SYMBOL_GPL\t\n");
        }
        text.Append("""
            	.section ".init.rodata","a",%progbits
            	.balign 8
            	.globl ksplice_match_data
            ksplice_match_data:
            	.incbin "match.bin"
            	.globl ksplice_match_data_end
            ksplice_match_data_end:
            	.section .note.GNU-stack,"",%progbits

            """);
        return new HelperSource(id, text.ToString().ReplaceLineEndings("\n"), versions.ToString(), matchData.Bytes, matchData.Exports.Length);
    }

    // One checksum for all: it says which update the primary was made with.
    private static uint Checksum(string id) => BinaryPrimitives.ReadUInt32LittleEndian(SHA256.HashData(Encoding.ASCII.GetBytes("ksplice " + id)));
}
