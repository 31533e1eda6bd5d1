// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text;
using Ksplice.Build.Kernel;
using Ksplice.Build.Matching;

namespace Ksplice.Build.Tests.Matching;

/// <summary>The memory of a vector and its tables: small enough that nothing is sorted.</summary>
internal sealed class VectorMemory : IMatchMemory
{
    private const int Row = 32,
        Block = 64;

    // Code lies below it, data above; what nobody wrote is int3 or zero.
    private const ulong DataStart = 0xffffffff82000000;

    private readonly SortedDictionary<ulong, byte[]> _rows = [];
    private readonly List<(ulong Address, string Name)> _symbols = [];
    private readonly List<(string Table, ulong[] Numbers)> _entries = [];

    /// <summary>Takes a line of a file: a word, and behind it numbers, bytes or a name.</summary>
    public void Add(string word, string rest)
    {
        string[] words = rest.Split(' ');
        ulong first = Number(words[0]);
        if (word == "memory")
            _rows[first] = Filled(Convert.FromHexString(words[1])[0], Convert.FromHexString(words.Length > 2 ? words[2] : ""));
        else if (word == "symbol")
            _symbols.Add((first, words[1]));
        else
            AddEntry(word, [.. words.Select(Number)]);
    }

    /// <summary>Adds an entry of a table, by the word that a line of it begins with.</summary>
    public void AddEntry(string word, params ulong[] numbers)
    {
        string[] known = ["jump", "call", "bug", "exception", "tracer", "site", "probe", "endbr", "seal"];
        if (!known.Contains(word))
            throw new InvalidDataException($"a line of a vector begins with '{word}'");
        // A trap of a kernel whose entries have no format.
        _entries.Add((word, word == "bug" && numbers.Length == 4 ? [.. numbers, 0, 0] : numbers));
    }

    /// <summary>Takes out the entries of a table for <paramref name="code"/>.</summary>
    public void RemoveEntry(string word, ulong code) => _entries.RemoveAll(entry => entry.Table == word && entry.Numbers[0] == code);

    /// <summary>Adds a symbol.</summary>
    public void AddSymbol(string name, ulong address) => _symbols.Add((address, name));

    /// <summary>Takes out the symbols of a name.</summary>
    public void RemoveSymbol(string name) => _symbols.RemoveAll(symbol => symbol.Name == name);

    /// <summary>Puts bytes at an address. Whole blocks are there: interpreters read these.</summary>
    public void Put(ulong address, ReadOnlySpan<byte> bytes)
    {
        foreach (byte value in bytes)
        {
            ulong block = address & ~(ulong)(Block - 1);
            for (ulong row = block; row < block + Block; row += Row)
            {
                if (!_rows.ContainsKey(row))
                    _rows[row] = Filled(FillAt(row), []);
            }
            _rows[address & ~(ulong)(Row - 1)][address % Row] = value;
            address++;
        }
    }

    /// <summary>Appends the lines of a file.</summary>
    public void Write(StringBuilder text)
    {
        foreach (var (address, name) in _symbols)
            text.Append(CultureInfo.InvariantCulture, $"symbol {address:x} {name}\n");
        foreach (var (address, bytes) in _rows)
        {
            byte fill = FillAt(address);
            string told = Convert.ToHexStringLower(bytes.AsSpan().TrimEnd(fill));
            text.Append(CultureInfo.InvariantCulture, $"memory {address:x} {fill:x2}{(told.Length == 0 ? "" : " ")}{told}\n");
        }
        foreach (var (table, numbers) in _entries)
        {
            text.Append(table);
            foreach (ulong number in numbers)
                text.Append(CultureInfo.InvariantCulture, $" {number:x}");
            text.Append('\n');
        }
    }

    private static byte FillAt(ulong address) => address < DataStart ? (byte)0xcc : (byte)0;

    private static byte[] Filled(byte fill, byte[] bytes) => [.. bytes, .. Enumerable.Repeat(fill, Row - bytes.Length)];

    private static ulong Number(string text) => ulong.Parse(text, NumberStyles.HexNumber, CultureInfo.InvariantCulture);

    private IEnumerable<ulong[]> EntriesOf(string table) => _entries.Where(entry => entry.Table == table).Select(entry => entry.Numbers);

    private ulong[]? Find(string table, ulong code) => EntriesOf(table).FirstOrDefault(entry => entry[0] == code);

    /// <inheritdoc/>
    public bool TryRead(ulong address, Span<byte> destination)
    {
        for (int i = 0; i < destination.Length; i++, address++)
        {
            if (!_rows.TryGetValue(address & ~(ulong)(Row - 1), out byte[]? row))
                return false;
            destination[i] = row[address % Row];
        }
        return true;
    }

    /// <inheritdoc/>
    public IReadOnlyList<ulong> Candidates(string name) =>
        [.. _symbols.Where(symbol => symbol.Name == name).Select(symbol => symbol.Address)];

    /// <inheritdoc/>
    public bool TryFindExtent(ulong address, out ulong start, out ulong end)
    {
        var starts = _symbols.Select(symbol => symbol.Address).Distinct().Order().ToList();
        int next = starts.FindIndex(other => other > address);
        end = next < 0 ? ulong.MaxValue : starts[next];
        int at = (next < 0 ? starts.Count : next) - 1;
        start = at < 0 ? 0 : starts[at];
        return at >= 0;
    }

    /// <inheritdoc/>
    public KernelTables Tables =>
        new(
            EntriesOf("jump").ToDictionary(entry => entry[0], entry => new JumpLabel(entry[1], entry[2])),
            EntriesOf("call").ToDictionary(entry => entry[0], entry => entry[1]),
            EntriesOf("bug")
                .ToDictionary(
                    entry => entry[0],
                    entry => new BugEntry(entry[1], (uint)entry[2], (uint)entry[3]) { Format = entry[4], Entry = entry[5] }
                ),
            EntriesOf("exception").ToDictionary(entry => entry[0], entry => new ExceptionEntry(entry[1], (uint)entry[2])),
            EntriesOf("seal").Select(entry => entry[0]).ToHashSet()
        );

    /// <inheritdoc/>
    public bool IsFtraceTarget(ulong site, ulong target) => Find("tracer", target) is not null || Find("site", site) is not null;

    /// <inheritdoc/>
    public bool IsProbed(ulong address) => Find("probe", address) is not null;

    /// <inheritdoc/>
    public bool HasEndbr(ulong address)
    {
        byte[] code = new byte[KernelImage.EndbrSize];
        return !_entries.Exists(entry => entry.Table == "endbr" && address >= entry.Numbers[0] && address < entry.Numbers[1])
            || (TryRead(address, code) && KernelImage.IsEndbr(code) && Find("seal", address) is null);
    }
}
