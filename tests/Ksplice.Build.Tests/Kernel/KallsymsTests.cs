// SPDX-License-Identifier: MIT
// The orders and alignments in which kernels have the tables of their symbols, each written here anew.
using System.Buffers.Binary;
using System.Text;
using Ksplice.Build.Kernel;
using Ksplice.Build.Matching;

namespace Ksplice.Build.Tests.Kernel;

public sealed class KallsymsTests
{
    private const ulong Segment = 0xffffffff82000000,
        Text = 0xffffffff81000000;

    /// <summary>How the offsets are written.</summary>
    public enum Offsets
    {
        /// <summary>Before the count, with the base that they count from; what is not negative is no offset.</summary>
        BeforeNames,

        /// <summary>The same behind the tokens.</summary>
        BehindTokens,

        /// <summary>Behind the tokens, each as far as it is from the base.</summary>
        Unsigned,

        /// <summary>Behind the tokens, each counts from its own place.</summary>
        OwnPlace,
    }

    [Theory]
    [InlineData((int)Offsets.BeforeNames, 8)]
    [InlineData((int)Offsets.BehindTokens, 8)]
    [InlineData((int)Offsets.Unsigned, 8)]
    [InlineData((int)Offsets.OwnPlace, 4)]
    [InlineData((int)Offsets.OwnPlace, 8)]
    public void Each_order_of_the_tables_is_read(int offsets, int alignment)
    {
        KallsymsSymbol[] symbols = [.. Some()];
        // Names of each length end at another place, so that the tables behind them begin at 4 and at 8 bytes.
        for (int more = 0; more < 8; more++)
        {
            symbols[0] = symbols[0] with { Name = new string('x', 1 + more) };
            var segment = Write(symbols, (Offsets)offsets, alignment);
            Assert.Equal(symbols, Kallsyms.Decode([segment]).Symbols);
        }
    }

    [Fact]
    public void A_table_that_is_not_in_order_is_none()
    {
        KallsymsSymbol[] symbols = [.. Some()];
        (symbols[5], symbols[6]) = (symbols[6], symbols[5]);
        Assert.Throws<InvalidDataException>(() => Kallsyms.Decode([Write(symbols, Offsets.OwnPlace, 4)]));
    }

    [Fact]
    public void A_per_cpu_symbol_in_init_memory_is_a_candidate_and_no_other_symbol_there()
    {
        ulong init = Text + 0x100000;
        KallsymsSymbol[] symbols =
        [
            .. Some(),
            new(init, 'D', "__init_begin"),
            new(init + 0x100, 't', "early"),
            new(init + 0x1000, 'D', "__per_cpu_start"),
            new(init + 0x1008, 'd', "counter"),
            new(init + 0x2000, 'D', "__per_cpu_end"),
            new(init + 0x2000, 't', "late"),
            new(init + 0x3000, 'D', "__init_end"),
            new(init + 0x3000, 'd', "behind"),
        ];
        ImageMemory memory = new(KernelImage.FromMemory("image", [Write(symbols, Offsets.OwnPlace, 4)]));
        Assert.Equal([init + 0x1008], memory.Candidates("counter"));
        Assert.Equal([init + 0x3000], memory.Candidates("behind"));
        Assert.Empty(memory.Candidates("early"));
        Assert.Empty(memory.Candidates("late"));
    }

    private static IEnumerable<KallsymsSymbol> Some() =>
        Enumerable.Range(0, 1500).Select(index => new KallsymsSymbol(Text + (ulong)index * 16, 't', $"symbol_{index}"));

    // As scripts/kallsyms.c writes them, each letter a token.
    private static ImageSegment Write(IReadOnlyList<KallsymsSymbol> symbols, Offsets offsets, int alignment)
    {
        MemoryStream data = new();
        // What stands before the tables.
        data.Write("before that"u8);
        Align();
        if (offsets == Offsets.BeforeNames)
            WriteOffsets();
        WriteInt32(symbols.Count);
        if (alignment == 8)
            WriteInt32(0);
        List<int> markers = [];
        long names = data.Position;
        for (int index = 0; index < symbols.Count; index++)
        {
            if (index % 256 == 0)
                markers.Add((int)(data.Position - names));
            data.WriteByte((byte)(symbols[index].Name.Length + 1));
            data.Write(Encoding.ASCII.GetBytes(symbols[index].Type + symbols[index].Name));
        }
        Align();
        foreach (int marker in markers)
            WriteInt32(marker);
        Align();
        List<int> tokens = [];
        long start = data.Position;
        for (int token = 0; token < 256; token++)
        {
            tokens.Add((int)(data.Position - start));
            data.Write(token == 0 ? "none"u8 : [(byte)token]);
            data.WriteByte(0);
        }
        Align();
        foreach (int token in tokens)
            data.Write(BitConverter.GetBytes((ushort)token));
        Align();
        if (offsets != Offsets.BeforeNames)
            WriteOffsets();
        data.Write(new byte[64]);
        return new ImageSegment(Segment, (ulong)data.Length, false, data.ToArray());

        void Align()
        {
            while (data.Length % alignment != 0)
                data.WriteByte(0);
        }

        void WriteInt32(int value)
        {
            byte[] bytes = new byte[4];
            BinaryPrimitives.WriteInt32LittleEndian(bytes, value);
            data.Write(bytes);
        }

        void WriteOffsets()
        {
            foreach (var symbol in symbols)
                WriteInt32(
                    offsets switch
                    {
                        Offsets.OwnPlace => (int)(symbol.Address - Segment - (ulong)data.Position),
                        Offsets.Unsigned => (int)(symbol.Address - Text),
                        _ => (int)(Text - 1 - symbol.Address),
                    }
                );
            Align();
            if (offsets != Offsets.OwnPlace)
                data.Write(BitConverter.GetBytes(Text));
        }
    }
}
