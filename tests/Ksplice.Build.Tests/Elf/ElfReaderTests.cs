// SPDX-License-Identifier: MIT
using Ksplice.Build.Elf;

namespace Ksplice.Build.Tests.Elf;

/// <summary>Objects are made by gcc at test time; readelf is the oracle.</summary>
public sealed class ElfReaderTests : IDisposable
{
    private const string Source = """
        #include <stddef.h>
        extern int outside(int);
        static int counter;
        const char *greeting = "hello";
        int weak_one(void) __attribute__((weak));
        int weak_one(void) { return outside(counter++); }
        static int __attribute__((noinline)) inner(int x) { return outside(x) + 1; }
        int outer(int x) { return inner(x) * inner(x + 1); }
        """;

    private readonly string _folder = Directory.CreateTempSubdirectory("ksplice-elf-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Reads_the_sections_that_readelf_shows()
    {
        string path = Compile();
        var read = ElfObject.Read(File.ReadAllBytes(path), path);
        var shown = Programs
            .RunOk("readelf", "-SW", path)
            .Split('\n')
            .Where(line => line.TrimStart().StartsWith('[') && !line.Contains("[Nr]", StringComparison.Ordinal))
            .Select(line => line[(line.IndexOf(']', StringComparison.Ordinal) + 1)..].TrimStart().Split(' ')[0])
            .Select(name => name == "NULL" ? "" : name);
        Assert.Equal(shown, read.Sections.Select(section => section.Name));
    }

    [Fact]
    public void Reads_the_symbols_that_readelf_shows()
    {
        string path = Compile();
        var read = ElfObject.Read(File.ReadAllBytes(path), path);
        var shown = Programs
            .RunOk("readelf", "-sW", path)
            .Split('\n')
            .Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries))
            .Where(fields => fields.Length >= 7 && fields[0].EndsWith(':') && int.TryParse(fields[0][..^1], out _))
            .Select(fields => (Value: fields[1], Binding: fields[4], Name: fields.Length > 7 ? fields[7] : ""))
            .ToList();
        Assert.Equal(shown.Count, read.Symbols.Count);
        foreach (var (expected, symbol) in shown.Zip(read.Symbols))
        {
            Assert.Equal(expected.Value, symbol.Value.ToString("x16", null));
            Assert.Equal(expected.Binding, symbol.Binding.ToString(), ignoreCase: true);
            if (symbol.Type != ElfSymbolType.Section)
                Assert.Equal(expected.Name, symbol.Name);
        }
    }

    [Fact]
    public void Decodes_relocations_onto_the_section_they_apply_to()
    {
        string path = Compile();
        var read = ElfObject.Read(File.ReadAllBytes(path), path);
        var weak = read.FindSection(".text.weak_one");
        Assert.NotNull(weak);
        Assert.Contains(weak.Relocations, relocation =>
            read.Symbols[relocation.SymbolIndex].Name == "outside" && relocation is { Type: ElfRelocationType.Plt32, Addend: -4 }
        );
    }

    [Fact]
    public void Refuses_every_truncation_with_the_one_exception()
    {
        byte[] whole = File.ReadAllBytes(Compile());
        for (int length = 0; length < whole.Length; length++)
            Assert.Throws<ElfFormatException>(() => ElfObject.Read(whole.AsMemory(0, length), "truncated.o"));
    }

    private string Compile()
    {
        string source = Path.Combine(_folder, "sample.c");
        string path = Path.Combine(_folder, "sample.o");
        File.WriteAllText(source, Source);
        Programs.RunOk("gcc", "-c", "-O2", "-ffunction-sections", "-fdata-sections", "-o", path, source);
        return path;
    }
}
