// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Text;
using Ksplice.Build.Differencing;
using Ksplice.Build.Elf;
using Ksplice.Build.Generation;
using Ksplice.Build.Matching;
using Ksplice.Build.Targets;
using Ksplice.Build.Tests.Patching;

namespace Ksplice.Build.Tests.Generation;

/// <summary>The helper's export table, as the assembler and the linker make it.</summary>
public sealed class HelperSourceTests
{
    private static readonly UpdateTarget Target = new("0123abcd", "vmlinux", 0, 1);
    private static readonly MatchData Data = new(
        [0xde, 0xad, 0xbe, 0xef, 5],
        [.. Enumerable.Range(0, 12).Select(i => new GlobalSymbol("symbol" + i))],
        []
    );

    // Newer kernels have one table for all exports, beside which flags tell who may use them, and may be without checksums.
    [Theory]
    [InlineData("", "_gpl", true)]
    [InlineData("", "_gpl", false)]
    [InlineData("#define SYMBOL_FLAGS(sym, flags)\n", "", true)]
    [InlineData("#define SYMBOL_FLAGS(sym, flags)\n", "", false)]
    public void Assembles_to_an_export_table_in_the_order_of_indexes(string header, string kind, bool hasVersions)
    {
        using var tree = new TestTree();
        tree.Write("linux/export-internal.h", header);
        var helper = HelperSource.Create(Target, Data);
        Assert.Equal(12, helper.ExportCount);
        tree.Write("exports.S", helper.Assembly);
        File.WriteAllBytes(tree["match.bin"], helper.MatchBytes.ToArray());
        Assert.Equal(
            "",
            tree.RunOk("gcc", "-I.", (hasVersions ? "-D" : "-U") + "CONFIG_MODVERSIONS", "-c", "exports.S", "-o", "exports.o")
        );
        // As the kernel's linker script for modules does.
        tree.Write(
            "module.lds",
            string.Concat(
                "SECTIONS { ",
                $"__ksymtab 0 : {{ *(SORT(___ksymtab{kind}+*)) }} __kcrctab 0 : {{ *(SORT(___kcrctab{kind}+*)) }} ",
                "__kflagstab 0 : { *(SORT(___kflagstab+*)) } }"
            )
        );
        Assert.Equal("", tree.RunOk("ld", "-r", "-T", "module.lds", "exports.o", "-o", "module.o"));
        var module = ElfObject.Read(File.ReadAllBytes(tree["module.o"]), "module.o");

        // struct kernel_symbol: value, name and namespace, each relative to itself; the value is for matching to fill in.
        var table = module.Sections.Single(section => section.Name == "__ksymtab");
        Assert.Equal(12u * 12, table.Size);
        Assert.Equal(ElfSectionFlags.Alloc | ElfSectionFlags.Write, table.Flags);
        var names = table.Relocations.Where(relocation => relocation.Offset % 12 == 4).Select(relocation => Text(module, relocation));
        Assert.Equal(Enumerable.Range(0, 12).Select(i => Target.ExportName(i)), names);
        Assert.All(table.Relocations.Where(relocation => relocation.Offset % 12 == 8), relocation =>
            Assert.Equal("", Text(module, relocation))
        );
        Assert.DoesNotContain(table.Relocations, relocation => relocation.Offset % 12 == 0);
        Assert.DoesNotContain(module.Symbols, symbol =>
            symbol.Name.StartsWith("__ksymtab_", StringComparison.Ordinal) && symbol.Type != ElfSymbolType.Section
        );

        // KSYM_FLAG_GPL_ONLY for each, where there are flags.
        var flags = module.Sections.FirstOrDefault(section => section.Name == "__kflagstab");
        Assert.Equal(kind.Length != 0 ? [] : Enumerable.Repeat((byte)1, 12), flags?.Data.ToArray() ?? []);

        if (!hasVersions)
        {
            Assert.DoesNotContain(module.Sections, section => section.Name.Contains("kcrctab", StringComparison.Ordinal));
            return;
        }
        var checksums = module.Sections.Single(section => section.Name == "__kcrctab").Data;
        Assert.Equal(12 * 4, checksums.Length);
        var crcs = Enumerable
            .Range(0, 12)
            .Select(i => $"0x{BinaryPrimitives.ReadUInt32LittleEndian(checksums.Span[(i * 4)..]):x8}")
            .ToList();
        Assert.Equal(helper.SymbolVersions.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => line.Split('\t')[0]), crcs);

        var data = module.Sections.Single(section => section.Name == ".init.rodata");
        Assert.Equal(Data.Bytes, data.Data.ToArray());
        Assert.Equal(
            [0ul, 5ul],
            new[] { "ksplice_match_data", "ksplice_match_data_end" }.Select(name =>
                module.Symbols.Single(symbol => symbol.Name == name).Value
            )
        );
    }

    [Fact]
    public void Symbol_versions_are_what_modpost_reads_and_tell_updates_apart()
    {
        string one = HelperSource.Create(Target with { Index = 3 }, Data).SymbolVersions,
            other = HelperSource.Create(Target with { UpdateId = "0123abce" }, Data).SymbolVersions;
        Assert.All(one.Split('\n', StringSplitOptions.RemoveEmptyEntries), line =>
            Assert.Matches(@"^0x[0-9a-f]{8}\tksp_0123abcd_3_\d{4}\tksplice_0123abcd_3_helper\tEXPORT_SYMBOL_GPL\t$", line)
        );
        Assert.NotEqual(one.Split('\t')[0], other.Split('\t')[0]);
    }

    private static string Text(ElfObject module, ElfRelocation relocation)
    {
        Assert.Equal(ElfRelocationType.Pc32, relocation.Type);
        var symbol = module.Symbols[relocation.SymbolIndex];
        var rest = module.Sections[symbol.SectionIndex].Data.Span[(int)(symbol.Value + (ulong)relocation.Addend)..];
        return Encoding.ASCII.GetString(rest[..rest.IndexOf((byte)0)]);
    }
}
