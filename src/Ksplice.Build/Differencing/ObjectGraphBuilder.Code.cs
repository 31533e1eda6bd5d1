// SPDX-License-Identifier: MIT
// Cuts sections of machine code. What the compiler made begins at a symbol of type FUNC that has a size. Assembly is cut
// by its symbols too (paper, section 3: what language the source is in does not matter), but is less regular: it has
// code that is no function (SYM_CODE, local labels), code with no symbol at all that only an exception table leads to,
// code that runs on into what stands behind it, and data among the code. Functions and fragments become nodes; a label
// inside of either is a place in it and no node.
using Iced.Intel;
using Ksplice.Build.Elf;

namespace Ksplice.Build.Differencing;

internal sealed partial class ObjectGraphBuilder
{
    private sealed record CodeStart(ulong Start, IReadOnlyList<ElfSymbol> Symbols, List<ElfSymbol> InnerEntries);

    // No compiler made an object that names neither a source file nor, where stripping took that, the compiler.
    private bool IsAssembly =>
        _isAssembly ??= _elf.FindSection(".comment") is null && !_elf.Symbols.Any(symbol => symbol.Type == ElfSymbolType.File);

    private bool? _isAssembly;
    private HashSet<(int Section, ulong Place)>? _places;
    private List<(int Section, ulong Start, ulong End)>? _alternatives;

    // Places in code that data and tables point at: where there are only no-ops, they tell code from padding.
    private HashSet<(int Section, ulong Place)> Places =>
        _places ??= [
            .. _elf
                .Sections.Where(section =>
                    section.IsAllocated
                    && !section.IsExecutable
                    && SectionCatalog.Role(section) != SectionRole.Ignored
                    && section.Name is not (".orc_unwind_ip" or "__patchable_function_entries")
                )
                .SelectMany(section => section.Relocations)
                .Select(CodePlace)
                .OfType<(int, ulong)>(),
        ];

    // What alternatives may put other code in place of.
    private List<(int Section, ulong Start, ulong End)> Alternatives =>
        _alternatives ??= [
            .. from table in _elf.Sections
            where table.Name == ".altinstructions" && table.Size != 0
            from entry in Entries(table)
            let place = CodePlace(entry.Key)
            where place is not null
            select (place.Value.Section, place.Value.Place, place.Value.Place + (ulong)Lengths(table, entry).Original),
        ];

    private (int Section, ulong Place)? CodePlace(ElfRelocation relocation)
    {
        var symbol = _elf.Symbols[relocation.SymbolIndex];
        return symbol.IsInSection && _elf.Sections[symbol.SectionIndex].IsExecutable
            ? (symbol.SectionIndex, symbol.Value + (ulong)relocation.Addend)
            : null;
    }

    private void CutCode(ElfSection section, SectionRole role)
    {
        var starts = CodeStarts(section);
        List<Node> running = [];
        AddFragment(section, role, 0, starts.Count == 0 ? section.Size : starts[0].Start, running);
        for (int i = 0; i < starts.Count; i++)
        {
            var (start, symbols, inner) = starts[i];
            ulong next = i + 1 < starts.Count ? starts[i + 1].Start : section.Size;
            bool isData = symbols.All(symbol => symbol.Type == ElfSymbolType.Object);
            // What overlaps the next ends where that begins; a function without a size ends before the padding.
            ulong size = Math.Min(symbols.Max(symbol => symbol.Size), next - start);
            bool runsOn = false;
            if (size == 0 && isData)
                size = next - start;
            else if (size == 0)
                size = CodeEnd(section, start, next, out runsOn) - start;
            else if (IsAssembly && !isData)
                CodeEnd(section, start, start + size, out runsOn);
            ulong behind = FirstCode(section, start + size, next);
            if (runsOn)
                size = behind - start;
            var node = Add(KindOf(symbols, isData), role, section, start, size, symbols);
            node.InnerEntries.AddRange(inner);
            if (isData)
                node.CannotMove("it is data among code");
            else if (runsOn)
                running.Add(node);
            AddFragment(section, role, behind, next, running);
        }
        foreach (var node in running)
            node.FallInto(_bySection[section.Index].Find(other => other.Start == node.End && other.IsCode));
    }

    private static NodeKind KindOf(IReadOnlyList<ElfSymbol> symbols, bool isData) =>
        isData ? NodeKind.Data
        : symbols.All(symbol => symbol.Type != ElfSymbolType.Function) ? NodeKind.Fragment
        : SymbolNames.IsColdPart(symbols[0].Name, out _) ? NodeKind.ColdPart
        : NodeKind.Function;

    // Where functions, fragments and data begin. A label inside of one is an entry that other units may use if it is global.
    private List<CodeStart> CodeStarts(ElfSection section)
    {
        List<CodeStart> starts = [];
        ulong end = 0;
        foreach (var group in _symbolsBySection[section.Index].GroupBy(symbol => symbol.Value).OrderBy(group => group.Key))
        {
            if (starts.Count != 0 && group.Key < end && !group.Any(symbol => symbol.Type == ElfSymbolType.Function))
            {
                starts[^1].InnerEntries.AddRange(group.Where(symbol => symbol.Binding != ElfSymbolBinding.Local));
                continue;
            }
            starts.Add(new CodeStart(group.Key, Rank(group), []));
            end = group.Key + group.Max(symbol => symbol.Size);
        }
        return starts;
    }

    // What stands between symbols and is no padding: code that branches or tables lead to.
    private void AddFragment(ElfSection section, SectionRole role, ulong start, ulong limit, List<Node> running)
    {
        if (start != 0)
            start = FirstCode(section, start, limit);
        else if (FirstCode(section, 0, limit) == limit)
            return;
        if (start == limit)
            return;
        ulong end = CodeEnd(section, start, limit, out bool runsOn);
        var node = Add(NodeKind.Fragment, role, section, start, (runsOn ? limit : end) - start, []);
        if (runsOn)
            running.Add(node);
    }

    /// <summary>The first place from <paramref name="start"/> on that is no padding, or <paramref name="limit"/>.</summary>
    private ulong FirstCode(ElfSection section, ulong start, ulong limit)
    {
        foreach (var (at, instruction) in Decode(section, start, limit))
        {
            if (!IsPadding(section, at, instruction))
                return at;
        }
        return limit;
    }

    /// <summary>
    /// Where the code that begins at <paramref name="start"/> ends, padding not counted; <paramref name="runsOn"/> is true if
    /// control goes on behind it. The compiler ends a function with a call only if that does not return; objtool makes sure
    /// of it for functions of assembly.
    /// </summary>
    private ulong CodeEnd(ElfSection section, ulong start, ulong limit, out bool runsOn)
    {
        ulong end = start;
        bool ends = true;
        runsOn = false;
        bool isChecked =
            _elf.FindSection(".orc_unwind_ip") is not null
            && _symbolsBySection[section.Index].Any(symbol => symbol.Value == start && symbol.Type == ElfSymbolType.Function);
        foreach (var (at, instruction) in Decode(section, start, limit))
        {
            if (instruction.IsInvalid)
                return limit;
            if (IsPadding(section, at, instruction))
            {
                ends |= instruction.Mnemonic == Mnemonic.Int3;
                continue;
            }
            end = at + (ulong)instruction.Length;
            ends =
                !InAlternative(section, at)
                && (EndsControl(instruction) || (isChecked && instruction.FlowControl is FlowControl.Call or FlowControl.IndirectCall));
        }
        runsOn = IsAssembly && !ends;
        return end;
    }

    private static bool EndsControl(in Instruction instruction) =>
        instruction.FlowControl
            is FlowControl.UnconditionalBranch
                or FlowControl.IndirectBranch
                or FlowControl.Return
                or FlowControl.Exception
        || instruction.Mnemonic is Mnemonic.Int3 or Mnemonic.Hlt;

    private static IEnumerable<(ulong At, Instruction Instruction)> Decode(ElfSection section, ulong start, ulong limit)
    {
        if (start >= limit || section.Type == ElfSectionType.NoBits)
            yield break;
        byte[] bytes = section.Data[(int)start..(int)limit].ToArray();
        var decoder = Decoder.Create(64, bytes);
        while (decoder.IP < (ulong)bytes.Length)
        {
            ulong at = start + decoder.IP;
            var instruction = decoder.Decode();
            yield return (at, instruction);
        }
    }

    private static bool IsPadding(in Instruction instruction) => instruction.Mnemonic is Mnemonic.Nop or Mnemonic.Int3;

    private bool IsPadding(ElfSection section, ulong at, in Instruction instruction) =>
        IsPadding(instruction)
        && !InAlternative(section, at)
        && !Places.Contains((section.Index, at))
        && !HasRelocation(section, at, at + (ulong)instruction.Length);

    private bool InAlternative(ElfSection section, ulong at) =>
        Alternatives.Exists(site => site.Section == section.Index && site.Start <= at && at < site.End);
}
