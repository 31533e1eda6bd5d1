// SPDX-License-Identifier: MIT
using CsCheck;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Ksplice.Build.Dwarf;
using Ksplice.Build.Elf;
using Ksplice.Build.Tests.Analysis;
using Ksplice.Build.Tests.Differencing;
using Ksplice.Build.Tests.Kernel;

namespace Ksplice.Build.Tests.Elf;

public class DamagedObjectTests
{
    private static async Task<byte[]> ObjectAsync(string unit = "fs/proc/version.c") =>
        ElfWriter.Write(await KernelObjects.CompileAsync(unit));

    // Everything that can be asked of an object, so that what is read late is read here.
    private static void ReadAll(byte[] bytes)
    {
        try
        {
            var elf = ElfObject.Read(bytes, "damaged.o");
            foreach (var section in elf.Sections)
                _ = section.Relocations.Count + section.Data.Length;
            _ = elf.Symbols.Count;
            _ = ObjectGraph.Of(elf).Nodes.Count;
            _ = VariableLines.Read(elf).Count;
            _ = LineTable.Read(elf);
            if (DebugInfo.Read(elf) is { } info)
            {
                foreach (var section in elf.Sections.Where(section => section.IsExecutable))
                    _ = InlinedCalls.In(info, section.Index, 0).Count;
            }
        }
        catch (ElfFormatException problem)
        {
            Assert.Equal("damaged.o", problem.FileName);
        }
    }

    [Fact]
    public async Task An_object_that_is_cut_anywhere_is_refused_in_one_way()
    {
        var whole = await ObjectAsync();
        for (int length = 0; length < whole.Length; length += Math.Max(1, whole.Length / 500))
        {
            byte[] cut = whole[..length];
            Assert.Throws<ElfFormatException>(() =>
                ElfObject.Read(cut, "cut.o").Sections.Sum(section => section.Relocations.Count + section.Data.Length)
            );
        }
    }

    // A section is chosen first, so that small tables are hit as often as the debug data; what is put there is what hurts:
    // a flipped bit, nothing, all ones, one more or less.
    [Fact]
    public async Task A_damaged_object_is_compared_and_explained_or_refused()
    {
        var whole = await ObjectAsync("fs/readdir.c");
        var pre = ElfObject.Read(whole, "whole.o");
        (int Start, int Size)[] parts =
        [
            .. pre
                .Sections.Where(section => section.Data.Length != 0)
                .Select(section => (whole.AsSpan().IndexOf(section.Data.Span), section.Data.Length)),
            (0, 64),
            ((int)BitConverter.ToUInt64(whole, 0x28), pre.Sections.Count * 64),
        ];
        int compared = 0,
            explained = 0,
            refused = 0;
        var change = Gen.Select(Gen.Int[0, parts.Length - 1], Gen.Int[0, int.MaxValue], Gen.Int[0, 4]);
        change
            .Array[1, 3]
            .Sample(
                changes =>
                {
                    byte[] copy = [.. whole];
                    foreach (var (part, where, what) in changes)
                    {
                        int at = parts[part].Start + (where % parts[part].Size);
                        copy[at] = what switch
                        {
                            0 => 0,
                            1 => 0xff,
                            2 => (byte)(copy[at] + 1),
                            3 => (byte)(copy[at] - 1),
                            _ => (byte)(copy[at] ^ (1 << (where % 8))),
                        };
                    }
                    try
                    {
                        var post = ElfObject.Read(copy, "damaged.o");
                        DiagnosticBag bag = [];
                        var diff = Differ.Compare("fs/readdir.c", pre, post, bag);
                        Assert.Equal(diff is null, bag.HasErrors);
                        Interlocked.Increment(ref diff is null ? ref refused : ref compared);
                        _ = TypeVerdict.Compare(pre, post, "fs/readdir.c", bag);
                        if (diff is { Replaced.Count: > 0 })
                        {
                            _ = FunctionExplanation.Of(diff);
                            Interlocked.Increment(ref explained);
                        }
                    }
                    catch (ElfFormatException problem)
                    {
                        Assert.Contains("damaged.o", problem.FileName, StringComparison.Ordinal);
                        Interlocked.Increment(ref refused);
                    }
                },
                iter: 1500
            );
        // The damage leads everywhere.
        Assert.True(compared > 100 && explained > 100 && refused > 100, $"{compared} compared, {explained} explained, {refused} refused");
    }

    public static TheoryData<string, int, byte[]> OneByOne =>
        new()
        {
            { "a symbol is absolute", 6, [0xf1, 0xff] },
            { "a symbol is common", 6, [0xf2, 0xff] },
            { "a symbol is undefined", 6, [0, 0] },
            { "a section has no bytes in the file", 4, [(byte)ElfSectionType.NoBits] },
        };

    // What random damage hits too seldom: the same field of every symbol, or of every section, one after the other.
    [Theory]
    [MemberData(nameof(OneByOne))]
    public async Task Whichever_it_is_the_object_is_compared_or_refused(string what, int field, byte[] value)
    {
        var whole = await ObjectAsync("fs/readdir.c");
        var pre = ElfObject.Read(whole, "whole.o");
        var symbols = pre.Sections.Single(section => section.Type == ElfSectionType.SymbolTable);
        bool ofSymbols = what.StartsWith("a symbol", StringComparison.Ordinal);
        int table = ofSymbols ? whole.AsSpan().IndexOf(symbols.Data.Span) : (int)BitConverter.ToUInt64(whole, 0x28);
        int size = ofSymbols ? (int)symbols.EntrySize : 64;
        int refused = 0;
        Parallel.For(1, ofSymbols ? pre.Symbols.Count : pre.Sections.Count, index =>
        {
            byte[] copy = [.. whole];
            value.CopyTo(copy, table + (index * size) + field);
            try
            {
                var post = ElfObject.Read(copy, "damaged.o");
                DiagnosticBag bag = [];
                if (Differ.Compare("fs/readdir.c", pre, post, bag) is not { } diff)
                    Interlocked.Increment(ref refused);
                else if (diff.Replaced.Count > 0)
                    _ = FunctionExplanation.Of(diff);
                _ = TypeVerdict.Compare(pre, post, "fs/readdir.c", bag);
            }
            catch (ElfFormatException problem)
            {
                Assert.Contains("damaged.o", problem.FileName, StringComparison.Ordinal);
                Interlocked.Increment(ref refused);
            }
        });
        Assert.True(refused > 10, $"{what}: {refused} refused");
    }

    [Fact]
    public async Task An_object_with_any_bytes_changed_is_read_or_refused_in_one_way()
    {
        var whole = await ObjectAsync();
        ulong headers = BitConverter.ToUInt64(whole, 0x28);
        // Half of the changes hit the ELF header and the section headers, where they hurt.
        var place = Gen.OneOf(Gen.Int[0, whole.Length - 1], Gen.Int[(int)headers, whole.Length - 1], Gen.Int[0, 63]);
        Gen.Select(place, Gen.Byte)
            .Array[1, 8]
            .Sample(
                changes =>
                {
                    byte[] copy = [.. whole];
                    foreach (var (at, value) in changes)
                        copy[at] = value;
                    ReadAll(copy);
                },
                iter: 20000
            );
    }
}
