// SPDX-License-Identifier: MIT
// Every module that the stock kernel ships, as our reader sees it and as ELFSharp does. Of relocations ELFSharp has the bytes.
using ELFSharp.ELF;
using ELFSharp.ELF.Sections;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Elf;
using Ksplice.Build.Kernel;
using Ksplice.Build.Tests.Kernel;

namespace Ksplice.Build.Tests.Elf;

public class ShippedModuleTests
{
    [Fact]
    public void Sections_symbols_and_relocations_are_those_that_ELFSharp_reads()
    {
        string[] files = Directory.GetFiles(ModulesUnderTest.Folder, "*.ko*", SearchOption.AllDirectories);
        Assert.True(files.Length > 1000, $"{files.Length} modules");
        int symbols = 0,
            relocations = 0;
        Parallel.ForEach(files, path =>
        {
            byte[] bytes = File.ReadAllBytes(path);
            if (!bytes.AsSpan().StartsWith("\u007fELF"u8))
                bytes = KernelPayload.Decompress(bytes);
            var read = ElfObject.Read(bytes, path);
            using var other = ELFReader.Load<ulong>(new MemoryStream(bytes), shouldOwnStream: true);
            AssertSections(other, read);
            Interlocked.Add(ref symbols, AssertSymbols(other, read));
            Interlocked.Add(ref relocations, AssertRelocations(other, read));
        });
        Assert.True(symbols > 100_000 && relocations > 1_000_000, $"{symbols} symbols, {relocations} relocations");
    }

    private static void AssertSections(ELF<ulong> expected, ElfObject read)
    {
        Assert.Equal(expected.Sections.Count, read.Sections.Count);
        foreach (var (section, ours) in expected.Sections.Zip(read.Sections))
        {
            Assert.Equal(
                (section.Name, (uint)section.Type, section.RawFlags, section.Size, section.Alignment, section.EntrySize),
                (ours.Name, (uint)ours.Type, (ulong)ours.Flags, ours.Size, ours.Alignment, ours.EntrySize)
            );
            if (section.Type is not (SectionType.Null or SectionType.NoBits))
                Assert.True(section.GetContents().AsSpan().SequenceEqual(ours.Data.Span), $"{read.Name}: {ours.Name}");
        }
    }

    private static int AssertSymbols(ELF<ulong> expected, ElfObject read)
    {
        var table = Assert.Single(expected.GetSections<SymbolTable<ulong>>()).Entries.ToList();
        Assert.Equal(table.Count, read.Symbols.Count);
        foreach (var (symbol, ours) in table.Zip(read.Symbols))
            Assert.Equal(
                (
                    symbol.Name,
                    symbol.Value,
                    symbol.Size,
                    (int)symbol.Type,
                    (int)symbol.Binding,
                    (int)symbol.Visibility,
                    (int)symbol.PointedSectionIndex
                ),
                (ours.Name, ours.Value, ours.Size, (int)ours.Type, (int)ours.Binding, ours.Other & 3, ours.SectionIndex)
            );
        return table.Count;
    }

    private static int AssertRelocations(ELF<ulong> expected, ElfObject read)
    {
        const int Size = 24;
        int count = 0;
        foreach (var section in expected.Sections.Where(section => section.Type == SectionType.RelocationAddends))
        {
            byte[] bytes = section.GetContents();
            var entries = Enumerable
                .Range(0, bytes.Length / Size)
                .Select(index => new ElfRelocation(
                    BitConverter.ToUInt64(bytes, index * Size),
                    (ElfRelocationType)BitConverter.ToUInt32(bytes, (index * Size) + 8),
                    BitConverter.ToInt32(bytes, (index * Size) + 12),
                    BitConverter.ToInt64(bytes, (index * Size) + 16)
                ))
                .OrderBy(relocation => relocation.Offset);
            Assert.Equal(entries, read.FindSection(section.Name[".rela".Length..])!.Relocations);
            count += bytes.Length / Size;
        }
        Assert.Equal(count, read.Sections.Sum(section => section.Relocations.Count));
        return count;
    }
}
