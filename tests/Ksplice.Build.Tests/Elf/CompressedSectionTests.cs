// SPDX-License-Identifier: MIT
// Compressed debug data is read as if it were plain. The compiler compresses; what it leaves uncompressed is the oracle.
using System.Buffers.Binary;
using Ksplice.Build.Dwarf;
using Ksplice.Build.Elf;
using Ksplice.Build.Tests.Patching;

namespace Ksplice.Build.Tests.Elf;

public sealed class CompressedSectionTests
{
    private const string Source = """
        extern int probe(int);
        int f(int a)
        {
            for (int i = 0; i < a; i++)
                a += probe(a + i) * 3;
            return a;
        }
        """;

    private static byte[] Compile(string option)
    {
        using var tree = new TestTree();
        tree.Write("unit.c", Source);
        tree.RunOk(
            "gcc",
            "-c",
            "-O2",
            "-g",
            "-ffunction-sections",
            "-gno-record-gcc-switches",
            option,
            "-ffile-prefix-map=" + tree[""] + "=.",
            "unit.c",
            "-o",
            "unit.o"
        );
        return File.ReadAllBytes(tree["unit.o"]);
    }

    private static IEnumerable<string> Debug(ElfObject elf) =>
        elf
            .Sections.Where(section => section.Name.StartsWith(".debug_", StringComparison.Ordinal))
            .Select(section => $"{section.Name} {section.Size} {section.Relocations.Count} {Convert.ToHexString(section.Data.Span)}");

    [Theory]
    [InlineData("-gz=zlib", ".debug_info")]
    [InlineData("-gz=zlib-gnu", ".zdebug_info")]
    [InlineData("-Wa,--compress-debug-sections=zstd", ".debug_info")]
    public void Compressed_debug_data_is_read_as_if_it_were_plain(string option, string named)
    {
        byte[] bytes = Compile(option);
        Assert.Contains(named, System.Text.Encoding.Latin1.GetString(bytes), StringComparison.Ordinal);
        var plain = ElfObject.Read(Compile("-gz=none"), "plain.o");
        var read = ElfObject.Read(bytes, "unit.o");
        Assert.True(bytes.Length < ElfWriter.Write(read).Length, "the compiler compressed nothing");
        Assert.Equal(Debug(plain), Debug(read));
        int function = read.FindSection(".text.f")!.Index;
        Assert.NotNull(LineTable.Read(read)!.Find(function, 0));
        Assert.Equal(LineTable.Read(plain)!.Find(function, 0), LineTable.Read(read)!.Find(function, 0));
        Assert.Equal(Debug(read), Debug(ElfObject.Read(ElfWriter.Write(read), "again.o")));
    }

    // Where the header of .debug_info's content stands: method, size, alignment.
    private static int Header(byte[] bytes)
    {
        int table = (int)BinaryPrimitives.ReadUInt64LittleEndian(bytes.AsSpan(40));
        int count = BinaryPrimitives.ReadUInt16LittleEndian(bytes.AsSpan(60));
        int largest = Enumerable
            .Range(0, count)
            .Select(index => table + index * 64)
            .Where(at => (BinaryPrimitives.ReadUInt64LittleEndian(bytes.AsSpan(at + 8)) & (ulong)ElfSectionFlags.Compressed) != 0)
            .MaxBy(at => BinaryPrimitives.ReadUInt64LittleEndian(bytes.AsSpan(at + 32)));
        return (int)BinaryPrimitives.ReadUInt64LittleEndian(bytes.AsSpan(largest + 24));
    }

    [Theory]
    [InlineData(0, 7UL, "in a way that is not known")]
    [InlineData(8, 1UL << 40, "more than")]
    [InlineData(8, 1UL << 29, "cannot be decompressed")]
    [InlineData(24, 0UL, "cannot be decompressed")]
    public void Damaged_compressed_data_is_refused(int offset, ulong value, string problem)
    {
        byte[] bytes = Compile("-gz=zlib");
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(Header(bytes) + offset), value);
        var refusal = Assert.Throws<ElfFormatException>(() => ElfObject.Read(bytes, "unit.o"));
        Assert.Contains(problem, refusal.Message, StringComparison.Ordinal);
    }
}
