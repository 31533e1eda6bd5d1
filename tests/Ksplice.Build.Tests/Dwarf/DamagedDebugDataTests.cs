// SPDX-License-Identifier: MIT
// What a fuzzer seldom hits: counts and lengths of debug data that would keep a reader busy for hours, or for ever.
using Ksplice.Build.Dwarf;
using Ksplice.Build.Elf;
using Ksplice.Build.Tests.Differencing;

namespace Ksplice.Build.Tests.Dwarf;

public sealed class DamagedDebugDataTests
{
    // Version 5, addresses of 8 bytes, a line range of 14 and no standard opcodes; what follows are the tables of directories and files.
    private static byte[] LineUnit(byte lineRange, params byte[] tables)
    {
        byte[] rest = [1, 1, 1, 0xfb, lineRange, 1, .. tables];
        byte[] unit = [5, 0, 8, 0, (byte)rest.Length, 0, 0, 0, .. rest];
        return [(byte)unit.Length, 0, 0, 0, .. unit];
    }

    private static ElfObject Object(params (string Name, byte[] Data)[] sections) =>
        new(
            "damaged.o",
            [
                new ElfSection
                {
                    Index = 0,
                    Name = "",
                    Type = ElfSectionType.Null,
                    Size = 0,
                },
                .. sections.Select(
                    (section, i) =>
                        new ElfSection
                        {
                            Index = i + 1,
                            Name = section.Name,
                            Type = ElfSectionType.ProgBits,
                            Size = (ulong)section.Data.Length,
                            Data = section.Data,
                        }
                ),
            ],
            []
        );

    private static string Refused(Action read)
    {
        var problem = Assert.Throws<ElfFormatException>(read);
        Assert.Equal("damaged.o", problem.FileName);
        return problem.Message;
    }

    [Fact]
    public void A_count_of_files_that_do_not_fit_is_refused()
    {
        // One format: a path (1) as a string in place (8); then 268,435,455 directories.
        var elf = Object((".debug_line", LineUnit(14, 1, 1, 8, 0xff, 0xff, 0xff, 0x7f)));
        Assert.Contains(".debug_line lists 268435455 files in 0 bytes", Refused(() => LineTable.Read(elf)), StringComparison.Ordinal);
    }

    [Fact]
    public void Files_that_take_no_bytes_are_refused()
    {
        var elf = Object((".debug_line", LineUnit(14, 0, 3, 0, 0, 0)));
        Assert.Contains(".debug_line lists 3 files", Refused(() => LineTable.Read(elf)), StringComparison.Ordinal);
    }

    [Fact]
    public void A_line_range_of_zero_is_refused() =>
        Assert.Contains(
            "line range of 0",
            Refused(() => LineTable.Read(Object((".debug_line", LineUnit(0, 0, 0, 0, 0))))),
            StringComparison.Ordinal
        );

    [Fact]
    public void A_line_table_without_files_is_read() =>
        Assert.Null(LineTable.Read(Object((".debug_line", LineUnit(14, 0, 0, 0, 0))))!.Find(1, 0));

    [Theory]
    [InlineData(200, "has a unit of 200 bytes")]
    [InlineData(8, "uses abbreviation 9")]
    public void Entries_that_lead_nowhere_are_refused(byte length, string what)
    {
        // Version 4, abbreviations at 0, addresses of 8 bytes, one entry of abbreviation 9.
        var elf = Object((".debug_info", [length, 0, 0, 0, 4, 0, 0, 0, 0, 0, 8, 9]), (".debug_abbrev", [1, 0x11, 0, 0, 0, 0]));
        Assert.Contains(what, Refused(() => VariableLines.Read(elf)), StringComparison.Ordinal);
    }

    // A sibling that leads back, and an origin that is its own: both would be a circle.
    [Fact]
    public void Circles_end()
    {
        // 1: a compile unit with children; 2: a subprogram with children and a sibling; 3: an inlined call with an origin.
        byte[] abbreviations = [1, 0x11, 1, 0, 0, 2, 0x2e, 1, 0x01, 0x11, 0, 0, 3, 0x1d, 0, 0x31, 0x11, 0, 0, 0];
        byte[] unit =
        [
            4,
            0,
            0,
            0,
            0,
            0,
            8,
            1, /* at 12 */
            2,
            12, /* at 14 */
            3,
            14,
            0,
            0,
        ];
        var elf = Object((".debug_info", [(byte)unit.Length, 0, 0, 0, .. unit]), (".debug_abbrev", abbreviations));
        Assert.Empty(InlinedCalls.In(DebugInfo.Read(elf)!, 1, 0));
    }

    [Fact]
    public void The_inlined_calls_of_a_function_are_those_that_the_compiler_made()
    {
        var elf = CPair.Compile(
            """
            static inline __attribute__((always_inline)) int inner(int a) { return probe(a) + 3; }
            static inline __attribute__((always_inline)) int outer(int a) { return inner(a) * probe(2); }
            int f(int a) { return outer(a); }
            int g(int a) { return inner(a) + inner(a + 1); }
            """,
            "-g"
        );
        var info = DebugInfo.Read(elf)!;
        Assert.Equal(["outer", "inner"], InlinedCalls.In(info, elf.FindSection(".text.f")!.Index, 0).Select(call => call.Name));
        Assert.Equal(["inner", "inner"], InlinedCalls.In(info, elf.FindSection(".text.g")!.Index, 0).Select(call => call.Name));
        Assert.Empty(InlinedCalls.In(info, elf.FindSection(".text.f")!.Index, elf.FindSection(".text.f")!.Size));
    }
}
