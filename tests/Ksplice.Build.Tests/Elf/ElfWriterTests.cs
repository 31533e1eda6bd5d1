// SPDX-License-Identifier: MIT
using Ksplice.Build.Elf;

namespace Ksplice.Build.Tests.Elf;

/// <summary>The oracles are <c>ld -r</c>, eu-elflint and the reader itself.</summary>
public sealed class ElfWriterTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("ksplice-elf-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void A_read_object_is_written_as_it_was()
    {
        string path = Path.Combine(_folder, "sample.o");
        string source = Path.Combine(_folder, "sample.s");
        File.WriteAllText(
            source,
            """
            .section .text.one,"axG",@progbits,one,comdat
            .weak one
            one: call outside
            ret
            .section .rodata.str1.1,"aMS",@progbits,1
            1: .string "text"
            .data
            .quad 1b, one
            .comm shared,16,8

            """
        );
        Programs.RunOk("as", "-o", path, source);
        var first = ElfObject.Read(File.ReadAllBytes(path), path);
        byte[] written = ElfWriter.Write(first);
        var second = ElfObject.Read(written, "written");
        Assert.Equal(first.Symbols, second.Symbols);
        Assert.Equal(first.Sections.Select(Describe), second.Sections.Select(Describe));
        Assert.Equal(written, ElfWriter.Write(second));
    }

    [Fact]
    public void A_built_object_satisfies_the_linker_and_elflint()
    {
        var builder = new ElfBuilder();
        int text = builder.AddSection(
            ".text.f",
            ElfSectionType.ProgBits,
            ElfSectionFlags.Alloc | ElfSectionFlags.Execute,
            new byte[] { 0xe8, 0, 0, 0, 0, 0xc3 },
            16
        );
        int bss = builder.AddSection(
            ".bss.counter",
            ElfSectionType.NoBits,
            ElfSectionFlags.Alloc | ElfSectionFlags.Write,
            default,
            8,
            size: 8
        );
        int table = builder.AddSection(
            ".data.table",
            ElfSectionType.ProgBits,
            ElfSectionFlags.Alloc | ElfSectionFlags.Write,
            new byte[16],
            8
        );
        int outside = builder.UndefinedSymbol("outside");
        builder.AddSymbol("table", table, 0, 16, ElfSymbolType.Object, ElfSymbolBinding.Global);
        int function = builder.AddSymbol("f", text, 0, 6, ElfSymbolType.Function, ElfSymbolBinding.Local);
        builder.AddRelocation(text, 1, ElfRelocationType.Plt32, outside, -4);
        builder.AddRelocation(table, 8, ElfRelocationType.Abs64, builder.SectionSymbol(bss), 0);
        builder.AddRelocation(table, 0, ElfRelocationType.Abs64, function, 0);
        string path = Path.Combine(_folder, "built.o");
        File.WriteAllBytes(path, ElfWriter.Write(builder.Build("built.o")));

        Programs.RunOk("ld", "-r", "-o", Path.Combine(_folder, "linked.o"), path);
        Assert.Contains("No errors", Programs.RunOk("eu-elflint", "--gnu-ld", path), StringComparison.Ordinal);
        var read = ElfObject.Read(File.ReadAllBytes(path), path);
        Assert.Equal(
            ["f", "", "outside"],
            read.Sections[table]
                .Relocations.Concat(read.Sections[text].Relocations)
                .Select(relocation => read.Symbols[relocation.SymbolIndex].Name)
        );
    }

    [Fact]
    public void More_sections_than_the_header_can_count_are_read_and_written()
    {
        string path = Path.Combine(_folder, "many.o");
        string source = Path.Combine(_folder, "many.s");
        File.WriteAllLines(source, Enumerable.Range(0, 66_000).Select(n => $".section .text.f{n},\"ax\"\nf{n}: ret\n"));
        Programs.RunOk("as", "-o", path, source);
        var first = ElfObject.Read(File.ReadAllBytes(path), path);
        var second = ElfObject.Read(ElfWriter.Write(first), "written");
        foreach (var read in new[] { first, second })
        {
            var last = read.Symbols.Single(symbol => symbol.Name == "f65999");
            Assert.Equal(".text.f65999", read.Sections[last.SectionIndex].Name);
        }
    }

    private static (string, ElfSectionType, ElfSectionFlags, ulong, uint, uint, string, string) Describe(ElfSection section) =>
        (
            section.Name,
            section.Type,
            section.Flags,
            section.Alignment,
            section.Link,
            section.Info,
            section.Type is ElfSectionType.StringTable
                ? ""
                : Convert.ToHexString(section.Type == ElfSectionType.SymbolTable ? [] : section.Data.Span),
            string.Join(",", section.Relocations)
        );
}
