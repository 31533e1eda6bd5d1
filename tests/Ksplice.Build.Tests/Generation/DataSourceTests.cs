// SPDX-License-Identifier: MIT
using System.Text;
using Ksplice.Build.Differencing;
using Ksplice.Build.Elf;
using Ksplice.Build.Generation;
using Ksplice.Build.Tests.Differencing;
using Ksplice.Build.Tests.Kernel;
using Ksplice.Build.Tests.Patching;

namespace Ksplice.Build.Tests.Generation;

/// <summary>The data module's content and exports, as the assembler and the linker make them.</summary>
public sealed class DataSourceTests : IDisposable
{
    private const string Id = "0123abcd";
    private readonly TestTree _tree = new();

    public void Dispose() => _tree.Dispose();

    /// <summary>Assembles a data module as kbuild does: its exports in the table's order, each with the bytes of its symbol.</summary>
    internal static IReadOnlyList<(string Name, byte[] Bytes)> Link(TestTree tree, DataSource data)
    {
        tree.Write("exports.S", data.Assembly);
        File.WriteAllBytes(tree["data.bin"], data.Content.ToArray());
        tree.Write("linux/export-internal.h", "");
        Assert.Equal("", tree.RunOk("gcc", "-I.", "-DCONFIG_MODVERSIONS=1", "-c", "exports.S", "-o", "exports.o"));
        tree.Write("data.c", $"struct data {{ long words[2]; }} {data.Symbol};");
        Assert.Equal("", tree.RunOk("gcc", "-c", "data.c", "-o", "data.o"));
        // As the kernel's linker script for modules does.
        tree.Write(
            "module.lds",
            "SECTIONS { __ksymtab_gpl 0 : { *(SORT(___ksymtab_gpl+*)) } __kcrctab_gpl 0 : { *(SORT(___kcrctab_gpl+*)) } }"
        );
        Assert.Equal("", tree.RunOk("ld", "-r", "-T", "module.lds", "exports.o", "data.o", "-o", "module.o"));
        var module = ElfObject.Read(File.ReadAllBytes(tree["module.o"]), "module.o");

        // struct kernel_symbol: value, name and namespace, each relative to itself.
        var table = module.Sections.Single(section => section.Name == "__ksymtab_gpl");
        Assert.Equal(ElfSectionFlags.Alloc, table.Flags);
        Assert.Equal(table.Size / 12 * 4, module.Sections.Single(section => section.Name == "__kcrctab_gpl").Size);
        Assert.Equal(table.Size / 12 * 3, (ulong)table.Relocations.Count);
        List<(string, byte[])> exports = [];
        for (int i = 0; i < table.Relocations.Count; i += 3)
        {
            var symbol = module.Symbols[table.Relocations[i].SymbolIndex];
            var (name, at) = (module.Symbols[table.Relocations[i + 1].SymbolIndex], (int)table.Relocations[i + 1].Addend);
            var names = module.Sections[name.SectionIndex].Data.Span[((int)name.Value + at)..];
            Assert.Equal(symbol.Name, Encoding.ASCII.GetString(names[..names.IndexOf((byte)0)]));
            var section = module.Sections[symbol.SectionIndex];
            exports.Add(
                (
                    symbol.Name,
                    section.Type == ElfSectionType.NoBits ? [] : section.Data.Span.Slice((int)symbol.Value, (int)symbol.Size).ToArray()
                )
            );
        }
        // The loader looks names up by bisection.
        Assert.Equal(exports.Select(export => export.Item1).Order(StringComparer.Ordinal), exports.Select(export => export.Item1));
        Assert.Equal(
            exports.Select(export => export.Item1),
            data.SymbolVersions.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => line.Split('\t')[1])
        );
        return exports;
    }

    [Fact]
    public void Exports_the_struct_and_each_string_and_constant_of_all_units()
    {
        var data = DataSource.Create(
            Id,
            [
                Diff("b.c", "use((void *)\"in b\");"),
                Diff("a.c", "static const long wide[2] = { -1, 7 }; use((void *)\"in a\"); use((void *)wide); use((void *)__func__);"),
            ]
        )!;
        Assert.Equal("ksplice_0123abcd_data", data.Module);
        var exports = Link(_tree, data);
        Assert.Equal(data.Symbol, exports[0].Name);
        Assert.All(exports, export => Assert.Matches($"^ksp_{Id}_data_[0-9a-f]{{16}}(_[0-9]{{4}})?$", export.Name));
        Assert.Equal(
            ["f\0", "in a\0", "in b\0"],
            exports
                .Skip(1)
                .Where(export => export.Bytes.Length != 16)
                .Select(export => Encoding.ASCII.GetString(export.Bytes))
                .Order(StringComparer.Ordinal)
        );
        Assert.Equal(
            [.. BitConverter.GetBytes(-1L), .. BitConverter.GetBytes(7L)],
            Assert.Single(exports.Skip(1), export => export.Bytes.Length == 16).Bytes
        );
    }

    [Fact]
    public void An_update_without_such_strings_has_no_data_module() =>
        Assert.Null(DataSource.Create(Id, [Diff("a.c", "static int guard; use(&guard);"), Diff("b.c", "probe(7);")]));

    // A primary binds to names, and these to content: no other data module will do.
    [Fact]
    public void Names_of_exports_tell_the_content_and_the_places_in_it()
    {
        static string Symbol(string body) => DataSource.Create(Id, [Diff("a.c", body)])!.Symbol;
        string one = Symbol("use((void *)\"ab\"); use((void *)\"c\");");
        Assert.Equal(one, Symbol("use((void *)\"ab\"); use((void *)\"c\");"));
        Assert.Equal(
            3,
            new[] { one, Symbol("use((void *)\"ab\"); use((void *)\"d\");"), Symbol("use((void *)\"ab\\0c\");") }
                .Distinct(StringComparer.Ordinal)
                .Count()
        );
    }

    private static ObjectDiff Diff(string unit, string body) =>
        Differ.Compare(
            unit,
            CPair.Compile("int f(int a) { return probe(a); }"),
            CPair.Compile($"int f(int a) {{ {body} return probe(a); }}"),
            []
        )!;
}
