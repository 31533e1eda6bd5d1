// SPDX-License-Identifier: MIT
// Where the sections of a module would lie (kernel/module/main.c, layout_sections): those that stay, from a page on, then
// those that are freed once the module has started, then per-CPU data in the room that the kernel keeps for modules.
using Ksplice.Build.Elf;

namespace Ksplice.Build.Kernel;

internal sealed class ModuleLayout
{
    private const ulong Page = 4096;
    private readonly ModuleFile _file;
    private readonly ulong?[] _places;

    /// <summary>Lays <paramref name="file"/> out from <paramref name="start"/> and <paramref name="perCpuStart"/> on.</summary>
    public ModuleLayout(ModuleFile file, ulong start, ulong perCpuStart)
    {
        _file = file;
        _places = new ulong?[file.Elf.Sections.Count];
        Start = start;
        InitStart = Align(Place(section => !IsInit(section) && !IsPerCpu(section), start), Page);
        End = Align(Place(IsInit, InitStart), Page);
        PerCpuEnd = Place(IsPerCpu, perCpuStart);
    }

    /// <summary>The first byte.</summary>
    public ulong Start { get; }

    /// <summary>One past what stays loaded.</summary>
    public ulong InitStart { get; }

    /// <summary>One past everything.</summary>
    public ulong End { get; }

    /// <summary>One past the per-CPU data.</summary>
    public ulong PerCpuEnd { get; }

    /// <summary>Where the section lies; null if it is not loaded.</summary>
    public ulong? PlaceOf(ElfSection section) => _places[section.Index];

    /// <summary>True if the section stays loaded, in the module's own memory.</summary>
    public bool Stays(ElfSection section) => _places[section.Index] is { } place && place >= Start && place < InitStart;

    /// <summary>The address of a symbol that the module defines; null if it is in a section that is not loaded.</summary>
    public ulong? AddressOf(ElfSymbol symbol)
    {
        if (symbol.IsReserved)
            return symbol.SectionIndex == ElfSymbol.Absolute ? symbol.Value : null;
        return symbol.IsUndefined ? null : _places[symbol.SectionIndex] + symbol.Value;
    }

    /// <summary>The symbols that a running kernel's kallsyms has of the module (is_core_symbol).</summary>
    public IEnumerable<(string Name, ulong Address)> CoreSymbols()
    {
        foreach (var symbol in _file.Elf.Symbols)
        {
            if (symbol.Name.Length == 0 || !symbol.IsInSection)
                continue;
            var section = _file.Elf.Sections[symbol.SectionIndex];
            if (PlaceOf(section) is { } place && !IsInit(section))
                yield return (symbol.Name, place + symbol.Value);
        }
    }

    /// <summary>What the module exports.</summary>
    public IEnumerable<(string Name, ulong Address)> Exports()
    {
        const string Entry = "__ksymtab_";
        var names = _file
            .Elf.Symbols.Where(symbol => symbol.Name.StartsWith(Entry, StringComparison.Ordinal))
            .Select(symbol => symbol.Name[Entry.Length..])
            .ToHashSet(StringComparer.Ordinal);
        foreach (var symbol in _file.Elf.Symbols)
        {
            if (symbol.Binding != ElfSymbolBinding.Local && names.Contains(symbol.Name) && AddressOf(symbol) is { } address)
                yield return (symbol.Name, address);
        }
    }

    private static bool IsInit(ElfSection section) => section.Name.StartsWith(".init", StringComparison.Ordinal);

    private static bool IsPerCpu(ElfSection section) => section.Name == ".data..percpu";

    // The loader reads versions and information, it does not keep them.
    private static bool IsLoaded(ElfSection section) => section.IsAllocated && section.Name is not (".modinfo" or "__versions");

    private ulong Place(Predicate<ElfSection> which, ulong from)
    {
        foreach (var section in _file.Elf.Sections)
        {
            if (!IsLoaded(section) || !which(section))
                continue;
            from = Align(from, Math.Max(section.Alignment, 1));
            _places[section.Index] = from;
            from += section.Size;
        }
        return from;
    }

    private static ulong Align(ulong address, ulong alignment) => (address + alignment - 1) & ~(alignment - 1);
}
