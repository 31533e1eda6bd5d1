// SPDX-License-Identifier: MIT
// The primary's object: the carried pieces of all units in one relocatable object, and the tables that tell the core
// what to redirect and which hooks to call (include/ksplice/update.h). What a piece needs of the running kernel is an
// undefined symbol: the kernel's own export where there is one, else one of the helper's. So is a string or constant of the
// data module's, and what another target of the update brings.
using System.Runtime.CompilerServices;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Ksplice.Build.Elf;
using Ksplice.Build.Matching;
using Ksplice.Build.Targets;

namespace Ksplice.Build.Generation;

/// <summary>What the primary module is made from.</summary>
/// <param name="Code">The object with the new code.</param>
/// <param name="Namespaces">Export namespaces to import, sorted.</param>
/// <param name="IsPinned">True if the primary may never be unloaded (K20).</param>
public sealed record PrimaryObject(ElfObject Code, IReadOnlyList<string> Namespaces, bool IsPinned)
{
    /// <summary>The global symbols of <see cref="Code"/> that the module exports to primaries of other targets.</summary>
    public IReadOnlyList<string> Exports { get; private init; } = [];

    /// <summary>Builds the object, or null after an error.</summary>
    public static PrimaryObject? Build(
        IReadOnlyList<ObjectDiff> diffs,
        MatchData matchData,
        UpdateTarget target,
        ExportedSymbols exported,
        DataSource? data,
        DiagnosticBag diagnostics,
        IReadOnlyList<SharedSymbol>? lent = null
    )
    {
        ArgumentNullException.ThrowIfNull(diffs);
        ArgumentNullException.ThrowIfNull(matchData);
        ArgumentNullException.ThrowIfNull(target);
        ArgumentNullException.ThrowIfNull(diagnostics);
        if (diffs.All(diff => diff.IsEmpty))
        {
            diagnostics.Report(TargetDiagnostics.NothingToUpdate, null, diffs.Count);
            return null;
        }
        return new Builder(
            [.. diffs.OrderBy(diff => diff.Unit, StringComparer.Ordinal)],
            matchData,
            target,
            exported,
            data,
            diagnostics,
            [.. (lent ?? []).Where(symbol => !symbol.IsKept)]
        ).Build();
    }

    private sealed class Builder(
        IReadOnlyList<ObjectDiff> diffs,
        MatchData matchData,
        UpdateTarget target,
        ExportedSymbols exported,
        DataSource? data,
        DiagnosticBag diagnostics,
        IReadOnlyList<SharedSymbol> lent
    )
    {
        private readonly ElfBuilder _elf = new();
        private readonly Dictionary<string, OutputSection> _sections = [];
        private readonly List<OutputSection> _order = [];
        private readonly Dictionary<(ObjectDiff, int), (OutputSection Section, ulong Offset)> _places = [];
        private readonly Dictionary<string, (ObjectDiff Diff, int Piece)> _globals = [];
        private readonly Dictionary<RunSymbol, int> _exportIndex = [];
        private readonly List<CoreRelocation> _coreRelocations = [];
        private readonly SortedSet<string> _namespaces = new(StringComparer.Ordinal);
        private bool _failed;

        // struct ksplice_relocation: the field, and what matching found that goes there.
        private sealed record CoreRelocation(int Section, ulong Offset, long Addend, int Value, ElfRelocationType Type);

        private sealed class OutputSection(string name, ElfSectionType type)
        {
            public string Name { get; } = name;
            public ElfSectionType Type { get; set; } = type;
            public ElfSectionFlags Flags { get; set; }
            public ulong Alignment { get; set; } = 1;
            public ulong Size { get; set; }
            public MemoryStream Data { get; } = new();
            public int Index { get; set; }
        }

        private void Report(DiagnosticDescriptor descriptor, string unit, params object?[] arguments)
        {
            _failed |= descriptor.Severity == DiagnosticSeverity.Error;
            diagnostics.Report(descriptor, new SourceLocation(unit), arguments);
        }

        public PrimaryObject? Build()
        {
            for (int i = 0; i < matchData.Exports.Length; i++)
                _exportIndex.TryAdd(matchData.Exports[i], i);
            FindGlobals();
            foreach (var diff in diffs)
            {
                for (int i = 0; i < diff.Carried.Count; i++)
                {
                    if (!diff.Carried[i].IsKept)
                        _places[(diff, i)] = Place(diff, diff.Carried[i]);
                }
            }
            foreach (var section in _order)
            {
                bool zeroed = section.Type == ElfSectionType.NoBits;
                section.Index = _elf.AddSection(
                    section.Name,
                    section.Type,
                    section.Flags,
                    zeroed ? ReadOnlyMemory<byte>.Empty : section.Data.ToArray(),
                    section.Alignment,
                    0,
                    section.Size
                );
            }
            // ld wants this table ordered in all objects that have it, or in none.
            if (_sections.TryGetValue("__patchable_function_entries", out var patchable))
                _elf.SetLinkOrder(patchable.Index, _sections[".text"].Index);
            AddSymbols();
            AddRelocations();
            AddTables();
            foreach (var diff in diffs)
            {
                foreach (var pin in diff.Pins.Where(pin => pin.PinsPrimary))
                    Report(GenerationDiagnostics.Pinned, diff.Unit, pin.Holder, diff.Unit, pin.Target);
            }
            return _failed
                ? null
                : new PrimaryObject(_elf.Build("code.o"), [.. _namespaces], diffs.Any(diff => diff.Pinned))
                {
                    Exports = [.. lent.Select(symbol => symbol.ExportName)],
                };
        }

        // Global things that the update brings or replaces: branches of other units reach them directly.
        private void FindGlobals()
        {
            foreach (var diff in diffs)
            {
                for (int i = 0; i < diff.Carried.Count; i++)
                {
                    var piece = diff.Carried[i];
                    if (piece.IsGlobal && piece.Name.Length != 0 && !_globals.TryAdd(piece.Name, (diff, i)))
                        Report(GenerationDiagnostics.DuplicateGlobal, diff.Unit, piece.Name, _globals[piece.Name].Diff.Unit, diff.Unit);
                }
            }
            foreach (var diff in diffs)
            {
                foreach (string gone in diff.RemovedFunctions)
                {
                    if (_globals.TryGetValue(gone, out var now) && now.Diff != diff)
                        Report(TargetDiagnostics.FunctionMoved, diff.Unit, gone, diff.Unit, now.Diff.Unit);
                }
            }
        }

        private (OutputSection, ulong) Place(ObjectDiff diff, CarriedPiece piece)
        {
            bool zeroed = piece.SectionType == ElfSectionType.NoBits;
            if (!_sections.TryGetValue(piece.OutputSection, out var section))
            {
                section = new OutputSection(piece.OutputSection, piece.SectionType);
                _sections.Add(piece.OutputSection, section);
                _order.Add(section);
            }
            if (!zeroed && section.Type == ElfSectionType.NoBits)
                section.Type = piece.SectionType;
            section.Flags |= piece.SectionFlags;
            section.Alignment = Math.Max(section.Alignment, piece.Alignment);
            ulong offset =
                piece.Behind < 0
                    ? (section.Size + (ulong)piece.Padding + piece.Alignment - 1) & ~(piece.Alignment - 1)
                    : _places[(diff, piece.Behind)].Offset + piece.Post.Offset - diff.Carried[piece.Behind].Post.Offset;
            if (offset < section.Size)
                throw new InvalidOperationException($"{piece.Name} of {diff.Unit} has no room behind {diff.Carried[piece.Behind].Name}");
            byte fill = (section.Flags & ElfSectionFlags.Execute) != ElfSectionFlags.None ? (byte)0xcc : (byte)0;
            while ((ulong)section.Data.Length < offset)
                section.Data.WriteByte((ulong)section.Data.Length + (ulong)piece.Padding >= offset ? (byte)0x90 : fill);
            if (zeroed)
                section.Data.Write(new byte[piece.Post.Size]);
            else
                section.Data.Write(piece.Data.Span);
            section.Size = offset + piece.Post.Size;
            return (section, offset);
        }

        private void AddSymbols()
        {
            foreach (var diff in diffs)
            {
                for (int i = 0; i < diff.Carried.Count; i++)
                {
                    var piece = diff.Carried[i];
                    if (piece.Name.Length != 0 && !piece.IsKept)
                        AddSymbol(piece.Name, diff, i, ElfSymbolBinding.Local);
                }
            }
            foreach (var symbol in lent)
                AddSymbol(symbol.ExportName, symbol.Diff, symbol.Piece, ElfSymbolBinding.Global);
        }

        private void AddSymbol(string name, ObjectDiff diff, int index, ElfSymbolBinding binding)
        {
            var piece = diff.Carried[index];
            var type = piece.Kind is CarriedKind.Function or CarriedKind.CodePart ? ElfSymbolType.Function : ElfSymbolType.Object;
            var (section, offset) = _places[(diff, index)];
            _elf.AddSymbol(name, section.Index, offset, piece.Post.Size, type, binding);
        }

        private void AddRelocations()
        {
            foreach (var diff in diffs)
            {
                for (int i = 0; i < diff.Carried.Count; i++)
                {
                    foreach (var reference in diff.Carried[i].References)
                    {
                        var (section, offset) = _places[(diff, i)];
                        AddRelocation(diff, section.Index, offset + reference.Offset, reference);
                    }
                }
                foreach (var constant in diff.Constants)
                {
                    var (section, offset) = _places[(diff, constant.Piece)];
                    _coreRelocations.Add(
                        new(
                            section.Index,
                            offset + constant.Offset,
                            0,
                            ValueIndex(constant.Value),
                            constant.Size == 1 ? ElfRelocationType.Abs8 : ElfRelocationType.Abs64
                        )
                    );
                }
            }
        }

        private void AddRelocation(ObjectDiff diff, int section, ulong offset, CarriedReference reference)
        {
            if (Own(diff, reference) is { } own)
            {
                if (own.Diff.Carried[own.Piece].IsKept)
                {
                    string export = data!.ExportOf(own.Diff, own.Piece);
                    _elf.AddRelocation(section, offset, reference.Type, _elf.UndefinedSymbol(export), reference.Addend);
                    return;
                }
                var place = _places[own];
                // A PLT32 against a section is what the assembler would not write; the linker takes PC32 alike.
                _elf.AddRelocation(
                    section,
                    offset,
                    reference.Type == ElfRelocationType.Plt32 ? ElfRelocationType.Pc32 : reference.Type,
                    _elf.SectionSymbol(place.Section.Index),
                    reference.Addend + (long)place.Offset
                );
                return;
            }
            if (target.IsLate && _exportIndex.ContainsKey(reference.Symbol!))
            {
                // The loader has to have something to put there, as objtool has something to look at.
                _elf.AddRelocation(section, offset, reference.Type, _elf.UndefinedSymbol("ksplice_unresolved"), reference.Addend);
                _coreRelocations.Add(
                    new(
                        section,
                        offset,
                        reference.Addend,
                        ValueIndex(reference.Symbol!),
                        LateTarget.TypeFor(reference.Type)
                            ?? throw new InvalidOperationException($"{target.Name} is late and has a relocation of type {reference.Type}")
                    )
                );
            }
            else if (SymbolName(reference.Symbol!) is { } name)
                _elf.AddRelocation(section, offset, reference.Type, _elf.UndefinedSymbol(name), reference.Addend);
            else
                Report(GenerationDiagnostics.UnresolvedSymbol, diff.Unit, diff.Unit, reference.Symbol!.DisplayName);
        }

        private (ObjectDiff Diff, int Piece)? Own(ObjectDiff diff, CarriedReference reference)
        {
            if (reference.Piece >= 0)
                return (diff, reference.Piece);
            // A new global is nowhere else; of a replaced one only branches stay inside (K8).
            if (
                reference.Symbol is GlobalSymbol global
                && _globals.TryGetValue(global.Name, out var found)
                && (reference.IsBranch || !found.Diff.Replaced.Any(function => function.Piece == found.Piece))
            )
                return found;
            return null;
        }

        private string? SymbolName(RunSymbol symbol)
        {
            if (symbol is GlobalSymbol global && exported.Find(global.Name) is { } export)
            {
                if (export.Borrowed is { } borrowed)
                    return borrowed.IsKept ? data!.ExportOf(borrowed.Diff, borrowed.Piece) : borrowed.ExportName;
                if (export.Namespace.Length != 0)
                    _namespaces.Add(export.Namespace);
                return export.Name;
            }
            return _exportIndex.TryGetValue(symbol, out int index) ? target.ExportName(index) : null;
        }

        // struct ksplice_redirect[] and struct ksplice_code
        private void AddTables()
        {
            List<(ObjectDiff Diff, ReplacedFunction Function, int Index)> redirects = [];
            foreach (var diff in diffs)
            {
                foreach (var function in diff.Replaced)
                {
                    int index = matchData
                        .Functions.ToList()
                        .FindIndex(matched => matched.Unit == diff.Unit && matched.Name == function.Name);
                    if (index < 0)
                        Report(GenerationDiagnostics.FunctionNotMatched, diff.Unit, function.Name, diff.Unit);
                    redirects.Add((diff, function, index));
                }
            }
            if (_failed)
                return;
            redirects.Sort((a, b) => a.Index.CompareTo(b.Index));
            int redirectSection = AddRedirects(redirects);

            if (diffs.Any(diff => diff.IsCheckedAtLink))
                AddNoEndbr(redirects.Select(redirect => _places[(redirect.Diff, redirect.Function.Piece)]));
            int coreRelocationSection = AddCoreRelocations();
            CodeTable code = new()
            {
                Abi = PrimaryTables.Abi,
                RedirectCount = (uint)redirects.Count,
                RelocationCount = (ulong)_coreRelocations.Count,
            };
            List<(int Offset, int Section)> pointers = [(PrimaryTables.OffsetOf(in code, in code.Redirects), redirectSection)];
            for (int kind = 0; kind < PrimaryTables.HookCount; kind++)
            {
                if (!_sections.TryGetValue(".ksplice.hooks." + PrimaryTables.HookNames[kind], out var hooks))
                    continue;
                code.Hooks[kind].Count = hooks.Size / sizeof(ulong);
                pointers.Add((PrimaryTables.OffsetOf(in code, in code.Hooks[kind].Calls), hooks.Index));
            }
            if (_coreRelocations.Count != 0)
                pointers.Add((PrimaryTables.OffsetOf(in code, in code.Relocations), coreRelocationSection));
            byte[] bytes = PrimaryTables.ToBytes<CodeTable>([code]);
            int codeSection = _elf.AddSection(".ksplice.code", ElfSectionType.ProgBits, ElfSectionFlags.Alloc, bytes, 8);
            foreach (var (offset, section) in pointers)
                _elf.AddRelocation(codeSection, (ulong)offset, ElfRelocationType.Abs64, _elf.SectionSymbol(section), 0);
            _elf.AddSymbol("ksplice_code", codeSection, 0, (ulong)bytes.Length, ElfSymbolType.Object, ElfSymbolBinding.Global);
        }

        // struct ksplice_redirect[]
        private int AddRedirects(List<(ObjectDiff Diff, ReplacedFunction Function, int Index)> redirects)
        {
            var table = new RedirectEntry[redirects.Count];
            for (int i = 0; i < table.Length; i++)
            {
                table[i] = new()
                {
                    Function = (uint)redirects[i].Index,
                    Size = (uint)redirects[i].Function.Post[0].Size,
                    Flags = redirects[i].Function.MayRunInNmi ? PrimaryTables.InNmi : 0,
                };
            }
            return AddTable(".ksplice.redirects", table, i =>
            {
                var (section, offset) = _places[(redirects[i].Diff, redirects[i].Function.Piece)];
                return (PrimaryTables.OffsetOf(in table[i], in table[i].Code), section.Index, offset);
            });
        }

        // A table whose entries point at the primary's own code or data.
        private int AddTable<T>(string name, T[] table, Func<int, (int Field, int Section, ulong Offset)> pointer)
            where T : unmanaged
        {
            int index = _elf.AddSection(name, ElfSectionType.ProgBits, ElfSectionFlags.Alloc, PrimaryTables.ToBytes<T>(table), 8);
            for (int i = 0; i < table.Length; i++)
            {
                var (field, section, offset) = pointer(i);
                _elf.AddRelocation(
                    index,
                    (ulong)(i * Unsafe.SizeOf<T>() + field),
                    ElfRelocationType.Abs64,
                    _elf.SectionSymbol(section),
                    (long)offset
                );
            }
            return index;
        }

        // What the helper exports comes first among what matching resolves, then the values that the core keeps: K5's
        // numbers, or all if the target is late.
        private int ValueIndex(RunSymbol symbol) =>
            _exportIndex[symbol] - (target.IsLate ? 0 : matchData.Exports.Count(other => other is not RuntimeConstant));

        // struct ksplice_relocation[]
        private int AddCoreRelocations()
        {
            if (_coreRelocations.Count == 0)
                return 0;
            RelocationEntry[] table =
            [
                .. _coreRelocations.Select(relocation => new RelocationEntry
                {
                    Addend = relocation.Addend,
                    Value = (uint)relocation.Value,
                    Type = (uint)relocation.Type,
                }),
            ];
            return AddTable(".ksplice.relocations", table, i =>
                (PrimaryTables.OffsetOf(in table[i], in table[i].Place), _coreRelocations[i].Section, _coreRelocations[i].Offset)
            );
        }

        // Redirects are direct jumps: objtool, which runs on the linked module (K2), need not ask for ENDBR where they lead.
        private void AddNoEndbr(IEnumerable<(OutputSection Section, ulong Offset)> targets)
        {
            var places = targets.ToList();
            int index = _elf.AddSection(".discard.noendbr", ElfSectionType.ProgBits, ElfSectionFlags.None, new byte[places.Count * 4], 1);
            for (int i = 0; i < places.Count; i++)
                _elf.AddRelocation(
                    index,
                    (ulong)i * 4,
                    ElfRelocationType.Pc32,
                    _elf.SectionSymbol(places[i].Section.Index),
                    (long)places[i].Offset
                );
        }
    }
}
