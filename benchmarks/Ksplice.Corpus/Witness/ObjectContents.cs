// SPDX-License-Identifier: MIT
// What an object holds, by name and free of what no two compilations agree on: the compiler's numbers, the places of strings,
// the distances between functions. Two objects' contents are then compared as texts.
using System.Text;
using System.Text.RegularExpressions;

namespace Ksplice.Corpus.Witness;

/// <summary>A variable or constant.</summary>
/// <param name="Section">Where it stands.</param>
/// <param name="IsWritable">True unless it is read-only.</param>
/// <param name="IsLocal">True if other units do not see it.</param>
/// <param name="Size">Bytes.</param>
/// <param name="Content">Its bytes, and what its relocations point at.</param>
internal sealed record WitnessData(string Section, bool IsWritable, bool IsLocal, int Size, string Content);

/// <summary>The named contents of an object.</summary>
internal sealed partial class ObjectContents
{
    private readonly BinutilsObject _elf;
    private readonly List<WitnessSymbol>[] _bySection;

    public ObjectContents(BinutilsObject elf)
    {
        _elf = elf;
        _bySection = [.. elf.Sections.Select(_ => new List<WitnessSymbol>())];
        foreach (var symbol in elf.Symbols.Where(symbol => symbol.Section > 0 && symbol.Type is not ("SECTION" or "FILE")))
            _bySection[symbol.Section].Add(symbol);
        foreach (var symbols in _bySection)
            symbols.Sort(
                (a, b) =>
                    a.Value != b.Value ? a.Value.CompareTo(b.Value)
                    : b.Size != a.Size ? b.Size.CompareTo(a.Size)
                    : string.CompareOrdinal(a.Name, b.Name)
            );
        foreach (var section in elf.Sections.Where(section => section is { IsLoaded: true, Size: > 0 } && !IsOfTheBuild(section.Name)))
        {
            if (section.IsCode)
                ReadCode(section);
        }
        foreach (
            var section in elf.Sections.Where(section =>
                section.IsLoaded && !section.IsCode && !section.IsMerged && !IsOfTheBuild(section.Name)
            )
        )
            ReadData(section);
    }

    /// <summary>Instructions of functions, with those of their parts and the entries of tables that point into them.</summary>
    public Dictionary<string, SortedSet<string>> Functions { get; } = [];

    /// <summary>Variables and constants; several of a name where the compiler numbered them.</summary>
    public Dictionary<string, List<WitnessData>> Data { get; } = [];

    /// <summary>Which functions and data refer to data of a name.</summary>
    public Dictionary<string, HashSet<string>> Users { get; } = [];

    /// <summary>Sections without symbols.</summary>
    public Dictionary<string, string> Rest { get; } = [];

    /// <summary>Functions by the section that they stand in.</summary>
    public Dictionary<string, string> SectionOf { get; } = [];

    // Exports are compared by nobody here: names and checksums, which symbols and types tell. ORC follows from the code.
    private static bool IsOfTheBuild(string name) =>
        name.StartsWith(".discard", StringComparison.Ordinal)
        || name.StartsWith(".note", StringComparison.Ordinal)
        || name.StartsWith(".orc_", StringComparison.Ordinal)
        || name.Contains("_ksymtab", StringComparison.Ordinal)
        || name.Contains("_kcrctab", StringComparison.Ordinal)
        || name is ".exitcall.exit";

    /// <summary>A name without the numbers that the compiler gave.</summary>
    public static string Stem(string name) =>
        CompilerNumber()
            .Replace(name, m => m.Value.StartsWith("__UNIQUE", StringComparison.Ordinal) ? UniqueNumber().Replace(m.Value, "#") : ".#");

    /// <summary>The function that a part of one belongs to.</summary>
    public static string Whole(string name) =>
        Stem(name).Replace(".cold", "", StringComparison.Ordinal).Replace(".#.#", ".#", StringComparison.Ordinal);

    private void ReadCode(WitnessSection section)
    {
        var symbols = _bySection[section.Index]
            .Where(symbol => symbol.Type is "FUNC" or "NOTYPE")
            .DistinctBy(symbol => symbol.Value)
            .ToList();
        for (int i = 0; i < symbols.Count; i++)
        {
            var symbol = symbols[i];
            int next = i + 1 < symbols.Count ? symbols[i + 1].Value : section.Size;
            int end = symbol.Size == 0 ? next : symbol.Value + symbol.Size;
            string name = Whole(symbol.Name);
            SectionOf.TryAdd(name, section.Name);
            StringBuilder text = new($"{Stem(symbol.Name)}:\n");
            foreach (
                var instruction in _elf.Code[section.Index]
                    .Where(instruction => instruction.Offset >= symbol.Value && instruction.Offset < end)
            )
                text.AppendLine(Line(section, instruction, symbol.Value, end, name));
            AddFunction(name, text.ToString());
        }
    }

    private void AddFunction(string name, string text)
    {
        if (!Functions.TryGetValue(name, out var texts))
            Functions[name] = texts = new SortedSet<string>(StringComparer.Ordinal);
        while (!texts.Add(text))
            text += "again\n";
    }

    private string Line(WitnessSection section, WitnessInstruction instruction, int start, int end, string user)
    {
        var relocations = Within(section, instruction.Offset, instruction.Length);
        string text = instruction.Text;
        int comment = text.IndexOf(" #", StringComparison.Ordinal);
        if (relocations.Count != 0)
        {
            text = Place().Replace(comment < 0 ? text : text[..comment], "");
            return $"{instruction.Offset - start:x} {text.Trim()} "
                + $"{string.Join(' ', relocations.Select(relocation => Describe(relocation, section, user, code: true)))}";
        }
        return $"{instruction.Offset - start:x} "
            + Place()
                .Replace(text, match =>
                {
                    int target = Convert.ToInt32(match.Groups[1].Value, 16);
                    return target >= start && target < end ? $"+{target - start:x}" : Name(section, target, user);
                });
    }

    private List<WitnessRelocation> Within(WitnessSection section, int start, int size)
    {
        var all = _elf.Relocations[section.Index];
        int low = 0,
            high = all.Count;
        while (low < high)
        {
            int middle = (low + high) / 2;
            (low, high) = all[middle].Offset < start ? (middle + 1, high) : (low, middle);
        }
        int last = low;
        while (last < all.Count && all[last].Offset < start + size)
            last++;
        return all.GetRange(low, last - low);
    }

    private string Describe(WitnessRelocation relocation, WitnessSection from, string user, bool code)
    {
        var symbol = _elf.Symbols[relocation.Symbol];
        bool relative = relocation.Type is "R_X86_64_PC32" or "R_X86_64_PLT32";
        // In code a relative field counts from the next instruction, four bytes on as a rule.
        int addend = relocation.Addend + (code && relative ? 4 : 0);
        if (symbol.Section <= 0)
            return $"[{relocation.Type} {symbol.Name}{addend:+#;-#;''}]";
        var section = _elf.Sections[symbol.Section];
        if (symbol.Type != "SECTION" && !section.IsMerged)
            return $"[{relocation.Type} {Use(section, symbol, user)}{addend:+#;-#;''}]";
        return $"[{relocation.Type} {Name(section, symbol.Value + addend, user, from == section)}]";
    }

    private string Use(WitnessSection section, WitnessSymbol symbol, string user)
    {
        string name = Stem(symbol.Name);
        if (section.IsCode)
            return name;
        if (!Users.TryGetValue(name, out var users))
            Users[name] = users = [];
        users.Add(user);
        return name;
    }

    // What stands at a place: a string's or constant's content, a name and a distance, or the instruction of nameless code.
    private string Name(WitnessSection section, int offset, string user, bool plain = false)
    {
        if (section.IsMerged && offset >= 0 && offset <= section.Size)
        {
            var bytes = _elf.Bytes(section, offset, section.Size - offset);
            int end = section.IsStrings ? bytes.IndexOf((byte)0) : Math.Min(16, bytes.Length);
            return '"' + Encoding.Latin1.GetString(bytes[..(end < 0 ? bytes.Length : end)]) + '"';
        }
        var symbols = _bySection[section.Index];
        var symbol = symbols.LastOrDefault(symbol => symbol.Value <= offset && (symbol.Size != 0 || symbol.Value == offset));
        if (symbol is not null)
            return Use(section, symbol, user) + (offset == symbol.Value ? "" : $"+{offset - symbol.Value:x}");
        var instruction = _elf.Code[section.Index].FirstOrDefault(instruction => instruction.Offset == offset);
        if (instruction.Text is not null && !plain && symbols.Count == 0)
            return $"{section.Name}: {Line(section, instruction, offset, offset + 1, user)}";
        return $"{Stem(section.Name)}+{offset:x}";
    }

    private void ReadData(WitnessSection section)
    {
        var symbols = _bySection[section.Index].Where(symbol => symbol.Type is "OBJECT" or "NOTYPE" or "TLS").ToList();
        if (symbols.Count == 0)
        {
            if (section.Size != 0 && !ReadTable(section))
                Rest[section.Name] = Rest.GetValueOrDefault(section.Name) + Content(section, 0, section.Size, section.Name);
            return;
        }
        foreach (var symbol in symbols)
        {
            string name = Stem(symbol.Name);
            if (!Data.TryGetValue(name, out var list))
                Data[name] = list = [];
            list.Add(
                new WitnessData(
                    section.Name,
                    section.IsWritable,
                    symbol.IsLocal,
                    symbol.Size,
                    Content(section, symbol.Value, Math.Min(symbol.Size, section.Size - symbol.Value), name)
                )
            );
        }
    }

    // A table that is about code: what stands from one relocation into a function to the next belongs to that function.
    private bool ReadTable(WitnessSection section)
    {
        if (section.Name == "__patchable_function_entries")
            return ReadNoOps(section);
        var keys = _elf.Relocations[section.Index].Where(relocation => IntoCode(relocation) is not null).ToList();
        if (keys.Count == 0 || keys[0].Offset != 0 || section.Name.StartsWith(".init", StringComparison.Ordinal))
            return false;
        for (int i = 0; i < keys.Count; i++)
        {
            int end = i + 1 < keys.Count ? keys[i + 1].Offset : section.Size;
            string function = IntoCode(keys[i])!;
            int start = keys[i].Offset,
                size = end - start;
            // A replacement of no bytes (its length is the last of the entry) points at whatever follows.
            bool empty = section.Name == ".altinstructions" && _elf.Bytes(section, end - 1, 1)[0] == 0;
            string entry = empty
                ? Content(section, start, 4, function) + Convert.ToHexString(_elf.Bytes(section, start + 8, size - 8))
                : Content(section, start, size, function);
            AddFunction(function, $"{section.Name}: {entry}\n");
        }
        return true;
    }

    // No-ops that stand before a function (-fpatchable-function-entry): how far before which.
    private bool ReadNoOps(WitnessSection section)
    {
        foreach (var relocation in _elf.Relocations[section.Index])
        {
            var symbol = _elf.Symbols[relocation.Symbol];
            int offset = symbol.Value + relocation.Addend;
            var function = _bySection[Math.Max(symbol.Section, 0)]
                .Find(one => one.Value >= offset && one.Type == "FUNC" && !one.Name.StartsWith("__pfx_", StringComparison.Ordinal));
            if (function is null)
                return false;
            AddFunction(Whole(function.Name), $"{section.Name}: {function.Value - offset:x} before\n");
        }
        return true;
    }

    private string? IntoCode(WitnessRelocation relocation)
    {
        var symbol = _elf.Symbols[relocation.Symbol];
        if (symbol.Section <= 0 || !_elf.Sections[symbol.Section].IsCode)
            return null;
        int offset = symbol.Value + relocation.Addend;
        return _bySection[symbol.Section].LastOrDefault(one => one.Value <= offset && one.Type is "FUNC" or "NOTYPE") is { } function
            ? Whole(function.Name)
            : null;
    }

    private string Content(WitnessSection section, int start, int size, string user)
    {
        byte[] bytes = _elf.Bytes(section, start, size).ToArray();
        StringBuilder text = new();
        foreach (var relocation in Within(section, start, size))
        {
            int width = relocation.Type is "R_X86_64_64" or "R_X86_64_PC64" ? 8 : 4;
            bytes.AsSpan(relocation.Offset - start, Math.Min(width, size - (relocation.Offset - start))).Clear();
            text.Append($" {relocation.Offset - start:x}:{Describe(relocation, section, user, code: false)}");
        }
        // The last entry of a table may lack the padding that the others have.
        return Convert.ToHexString(bytes.AsSpan().TrimEnd((byte)0)) + text;
    }

    [GeneratedRegex(@"__UNIQUE_ID_\w+|\.\d+(?=\.|$)")]
    private static partial Regex CompilerNumber();

    [GeneratedRegex(@"\d+$")]
    private static partial Regex UniqueNumber();

    [GeneratedRegex(@"\b([0-9a-f]+) <[^>]*>")]
    private static partial Regex Place();
}
