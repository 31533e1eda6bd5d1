// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;
using Ksplice.Build.Elf;

namespace Ksplice.Build.Kernel;

/// <summary>One symbol of the kernel's own table.</summary>
/// <param name="Address">Its address at link time; small numbers for per-CPU and absolute symbols.</param>
/// <param name="Type">The letter of nm: upper case for global symbols.</param>
/// <param name="Name">Its name, not unique.</param>
public readonly record struct KallsymsSymbol(ulong Address, char Type, string Name);

/// <summary>
/// The symbol table that the kernel carries for itself, decoded out of an image that has no other (scripts/kallsyms.c,
/// kernel/kallsyms.c). Nothing names the tables in the image, so they are found by what they must be: 256 tokens with an
/// index that repeats their offsets; a count followed by that many names, behind which markers repeat the offset of each
/// 256th name; as many offsets, in order of address. Every one of these is checked in full, so a wrong find is out of the question.
/// The tables are aligned to 4 or 8 bytes. The offsets stand before the count or behind the tokens; they count from an address that
/// stands behind them, or each from its own place.
/// </summary>
public sealed class Kallsyms
{
    private const int TokenCount = 256;
    private const int MinimumCount = 1000;
    private const int MaximumCount = 4_000_000;
    private const ulong LowestKernelAddress = 0xffffffff80000000;
    private readonly KallsymsSymbol[] _symbols;
    private readonly Dictionary<string, int[]> _byName;

    private Kallsyms(KallsymsSymbol[] symbols)
    {
        _symbols = symbols;
        _byName = symbols
            .Select((symbol, index) => (symbol.Name, index))
            .GroupBy(pair => pair.Name, pair => pair.index, StringComparer.Ordinal)
            .ToDictionary(group => group.Key, group => group.ToArray(), StringComparer.Ordinal);
    }

    /// <summary>All symbols, in the table's order: by address, absolute and per-CPU symbols first.</summary>
    public IReadOnlyList<KallsymsSymbol> Symbols => _symbols;

    /// <summary>Every symbol of that name.</summary>
    public IEnumerable<KallsymsSymbol> Find(string name) =>
        _byName.TryGetValue(name, out int[]? indexes) ? indexes.Select(index => _symbols[index]) : [];

    /// <summary>The address of the one symbol of that name, or null when there is none or several.</summary>
    public ulong? FindUnique(string name) =>
        _byName.TryGetValue(name, out int[]? indexes) && indexes.Length == 1 ? _symbols[indexes[0]].Address : null;

    /// <summary>The last symbol at or below <paramref name="address"/>, with where the next one begins.</summary>
    public (KallsymsSymbol Symbol, ulong End)? Nearest(ulong address)
    {
        int low = 0;
        int high = _symbols.Length;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (_symbols[middle].Address <= address)
                low = middle + 1;
            else
                high = middle;
        }

        if (low == 0)
            return null;
        return (_symbols[low - 1], low < _symbols.Length ? _symbols[low].Address : ulong.MaxValue);
    }

    /// <summary>Finds and decodes the table in one of <paramref name="segments"/>.</summary>
    /// <exception cref="InvalidDataException">There is no table of a known layout.</exception>
    internal static Kallsyms Decode(IReadOnlyList<ImageSegment> segments)
    {
        foreach (var segment in segments)
        {
            if (TryDecode(segment.Data.Span, segment.VirtualAddress) is { } symbols)
                return new Kallsyms(symbols);
        }

        throw new InvalidDataException("it holds no kallsyms table of a known layout (CONFIG_KALLSYMS with relative offsets)");
    }

    private static KallsymsSymbol[]? TryDecode(ReadOnlySpan<byte> data, ulong dataStart)
    {
        // The tokens of the digits are the digits themselves, one after the other.
        var digits = "0\01\02\03\04\05\06\07\08\09\0"u8;
        for (int from = 0; ; )
        {
            int found = data[from..].IndexOf(digits);
            if (found < 0)
                return null;
            from += found + 1;
            if (
                FindTokens(data, from - 1) is { } tokens
                && FindNames(data, tokens) is { } names
                && FindAddresses(data, dataStart, names, tokens) is { } addresses
            )
                return Expand(data, tokens, names, addresses);
        }
    }

    private readonly record struct TokenTable(int Start, int IndexStart, string[] Tokens)
    {
        public int End => IndexStart + TokenCount * 2;
    }

    [StructLayout(LayoutKind.Auto)]
    private readonly record struct NameTable(int CountAt, int Count, int Start);

    // Of the alignments that the tables have.
    private static int[] Aligned(int at) => Align(at, 4) == Align(at, 8) ? [Align(at, 8)] : [Align(at, 4), Align(at, 8)];

    /// <summary>Walks back from the token of '0' to the first token and checks the index behind the last.</summary>
    private static TokenTable? FindTokens(ReadOnlySpan<byte> data, int zero)
    {
        int start = zero;
        int end = zero;
        for (int token = 0; token < '0'; token++)
        {
            end = start - 1;
            if (end < 0 || data[end] != 0)
                return null;
            start = data[..end].LastIndexOf((byte)0) + 1;
        }

        // What precedes the table need not end in zeros (6.1.192: sequence numbers, of three bytes each), but the table is aligned.
        for (start = Align(start, 4); start < end; start += 4)
        {
            if (ReadTokens(data, start) is { } tokens)
                return tokens;
        }
        return null;
    }

    private static TokenTable? ReadTokens(ReadOnlySpan<byte> data, int start)
    {
        var tokens = new string[TokenCount];
        var offsets = new int[TokenCount];
        int at = start;
        for (int token = 0; token < TokenCount; token++)
        {
            int length = data[at..].IndexOf((byte)0);
            if (length is < 0 or > 512)
                return null;
            offsets[token] = at - start;
            tokens[token] = Encoding.Latin1.GetString(data.Slice(at, length));
            at += length + 1;
        }

        foreach (int index in Aligned(at))
        {
            if (index + TokenCount * 2 <= data.Length && HasIndex(data[index..], offsets))
                return new TokenTable(start, index, tokens);
        }
        return null;
    }

    private static bool HasIndex(ReadOnlySpan<byte> data, int[] offsets)
    {
        for (int token = 0; token < offsets.Length; token++)
        {
            if (BinaryPrimitives.ReadUInt16LittleEndian(data[(token * 2)..]) != offsets[token])
                return false;
        }
        return true;
    }

    /// <summary>Searches back from the tokens for a count whose names end where fitting markers begin.</summary>
    private static NameTable? FindNames(ReadOnlySpan<byte> data, TokenTable tokens)
    {
        for (int at = (tokens.Start - 8) & ~3; at >= 0; at -= 4)
        {
            int count = BinaryPrimitives.ReadInt32LittleEndian(data[at..]);
            if (count is < MinimumCount or > MaximumCount)
                continue;
            // No name is empty: a name that begins with 0 is what fills up to the next 8 bytes.
            int names = BinaryPrimitives.ReadUInt32LittleEndian(data[(at + 4)..]) == 0 ? at + 8 : at + 4;
            if (HasNames(data[..tokens.Start], names, count))
                return new NameTable(at, count, names);
        }

        return null;
    }

    private static bool HasNames(ReadOnlySpan<byte> data, int start, int count)
    {
        var marks = new List<int>(count / 256 + 1);
        int at = start;
        for (int index = 0; index < count; index++)
        {
            if (index % 256 == 0)
                marks.Add(at - start);
            if (!NextName(data, ref at, out var name) || name.IsEmpty)
                return false;
        }

        foreach (int markers in Aligned(at))
        {
            if (markers + marks.Count * 4 <= data.Length && HasMarkers(data[markers..], marks))
                return true;
        }
        return false;
    }

    private static bool HasMarkers(ReadOnlySpan<byte> data, List<int> marks)
    {
        for (int index = 0; index < marks.Count; index++)
        {
            if (BinaryPrimitives.ReadInt32LittleEndian(data[(index * 4)..]) != marks[index])
                return false;
        }
        return true;
    }

    private static bool NextName(ReadOnlySpan<byte> data, ref int at, out ReadOnlySpan<byte> name)
    {
        name = default;
        if (at + 2 > data.Length)
            return false;
        int length = data[at++];
        if ((length & 0x80) != 0)
            length = (length & 0x7f) | data[at++] << 7;
        if (length > data.Length - at)
            return false;
        name = data.Slice(at, length);
        at += length;
        return true;
    }

    private static ulong[]? FindAddresses(ReadOnlySpan<byte> data, ulong dataStart, NameTable names, TokenTable tokens)
    {
        int offsetBytes = Align(names.Count * 4, 8);
        int behind = Align(tokens.End, 8);
        return ReadFromBase(data, names.CountAt - 8 - offsetBytes, names.CountAt - 8, names.Count)
            ?? ReadFromBase(data, behind, behind + offsetBytes, names.Count)
            ?? ReadOffsets(data, Align(tokens.End, 4), names.Count, (place, offset) => dataStart + (ulong)place + (ulong)(long)offset);
    }

    // With CONFIG_KALLSYMS_ABSOLUTE_PERCPU a negative offset counts from the base, any other is an absolute value. Without, each counts
    // from the base, and has no sign.
    private static ulong[]? ReadFromBase(ReadOnlySpan<byte> data, int start, int baseAt, int count)
    {
        if (start < 0 || baseAt < 0 || baseAt > data.Length - 8)
            return null;
        ulong relativeBase = BinaryPrimitives.ReadUInt64LittleEndian(data[baseAt..]);
        if (relativeBase < LowestKernelAddress)
            return null;
        return ReadOffsets(data, start, count, (_, offset) => offset >= 0 ? (ulong)offset : relativeBase - 1 - (ulong)(long)offset)
            ?? ReadOffsets(data, start, count, (_, offset) => relativeBase + (uint)offset);
    }

    // AddressOf takes the place of an offset in the data, and the offset.
    private static ulong[]? ReadOffsets(ReadOnlySpan<byte> data, int start, int count, Func<int, int, ulong> addressOf)
    {
        if (start > data.Length - count * 4L)
            return null;
        var addresses = new ulong[count];
        for (int index = 0; index < count; index++)
        {
            int place = start + index * 4;
            addresses[index] = addressOf(place, BinaryPrimitives.ReadInt32LittleEndian(data[place..]));
            if (index > 0 && addresses[index] < addresses[index - 1])
                return null;
        }

        return addresses[^1] >= LowestKernelAddress ? addresses : null;
    }

    private static KallsymsSymbol[] Expand(ReadOnlySpan<byte> data, TokenTable tokens, NameTable names, ulong[] addresses)
    {
        var symbols = new KallsymsSymbol[names.Count];
        var text = new StringBuilder();
        int at = names.Start;
        for (int index = 0; index < symbols.Length; index++)
        {
            NextName(data, ref at, out var compressed);
            text.Clear();
            foreach (byte token in compressed)
                text.Append(tokens.Tokens[token]);
            symbols[index] = new KallsymsSymbol(addresses[index], text[0], text.ToString(1, text.Length - 1));
        }

        return symbols;
    }

    private static int Align(int value, int to) => (value + to - 1) & -to;
}
