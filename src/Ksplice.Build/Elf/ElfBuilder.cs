// SPDX-License-Identifier: MIT
namespace Ksplice.Build.Elf;

/// <summary>
/// Assembles a relocatable object from pieces. Handles stand for symbols until <see cref="Build"/>, because the ABI wants all local
/// symbols before the global ones.
/// </summary>
public sealed class ElfBuilder
{
    private const int FirstReservedIndex = 0xff00;
    private readonly List<Section> _sections = [new() { Name = "", Type = ElfSectionType.Null }];
    private readonly List<ElfSymbol> _symbols = [];
    private readonly Dictionary<int, int> _sectionSymbols = [];
    private readonly Dictionary<string, int> _undefined = new(StringComparer.Ordinal);

    /// <summary>Adds a section and returns its index.</summary>
    /// <param name="name">The section's name.</param>
    /// <param name="type">Its type.</param>
    /// <param name="flags">Its flags.</param>
    /// <param name="data">Its bytes; empty for NOBITS.</param>
    /// <param name="alignment">Bytes.</param>
    /// <param name="entrySize">Bytes of an entry, 0 for none.</param>
    /// <param name="size">The size of a NOBITS section in bytes; otherwise the length of <paramref name="data"/>.</param>
    public int AddSection(
        string name,
        ElfSectionType type,
        ElfSectionFlags flags,
        ReadOnlyMemory<byte> data,
        ulong alignment = 1,
        ulong entrySize = 0,
        ulong? size = null
    )
    {
        _sections.Add(
            new()
            {
                Name = name,
                Type = type,
                Flags = flags,
                Data = data,
                Alignment = alignment,
                EntrySize = entrySize,
                Size = size ?? (ulong)data.Length,
            }
        );
        return _sections.Count - 1;
    }

    /// <summary>Orders <paramref name="section"/> by the section it is about (SHF_LINK_ORDER).</summary>
    public void SetLinkOrder(int section, int about) => _sections[section].About = about;

    /// <summary>Adds a symbol defined in <paramref name="section"/> and returns its handle.</summary>
    public int AddSymbol(string name, int section, ulong value, ulong size, ElfSymbolType type, ElfSymbolBinding binding)
    {
        _symbols.Add(
            new ElfSymbol
            {
                Index = -1,
                Name = name,
                SectionIndex = section,
                Value = value,
                Size = size,
                Type = type,
                Binding = binding,
            }
        );
        return _symbols.Count - 1;
    }

    /// <summary>Adds a global symbol that is an address and is in no section.</summary>
    public void AddAbsoluteSymbol(string name, ulong value) =>
        _symbols.Add(
            new ElfSymbol
            {
                Index = -1,
                Name = name,
                SectionIndex = ElfSymbol.Absolute,
                IsReserved = true,
                Value = value,
                Binding = ElfSymbolBinding.Global,
            }
        );

    /// <summary>The handle of the undefined global symbol <paramref name="name"/>, added at first use.</summary>
    public int UndefinedSymbol(string name)
    {
        if (!_undefined.TryGetValue(name, out int handle))
            _undefined.Add(name, handle = AddSymbol(name, ElfSymbol.Undefined, 0, 0, ElfSymbolType.None, ElfSymbolBinding.Global));
        return handle;
    }

    /// <summary>The handle of the section symbol of <paramref name="section"/>, added at first use.</summary>
    public int SectionSymbol(int section)
    {
        if (!_sectionSymbols.TryGetValue(section, out int handle))
            _sectionSymbols.Add(section, handle = AddSymbol("", section, 0, 0, ElfSymbolType.Section, ElfSymbolBinding.Local));
        return handle;
    }

    /// <summary>
    /// Adds a relocation of <paramref name="section"/> at <paramref name="offset"/> bytes to the symbol
    /// with handle <paramref name="symbol"/>.
    /// </summary>
    public void AddRelocation(int section, ulong offset, ElfRelocationType type, int symbol, long addend) =>
        _sections[section].Relocations.Add(new ElfRelocation(offset, type, symbol, addend));

    /// <summary>The finished object, with the tables that its symbols and relocations need.</summary>
    public ElfObject Build(string name)
    {
        var order = _symbols
            .Select((symbol, handle) => (symbol, handle))
            .OrderBy(pair => pair.symbol.Binding != ElfSymbolBinding.Local)
            .ToList();
        var indexOf = new int[_symbols.Count];
        var symbols = new List<ElfSymbol>
        {
            new() { Index = 0, Name = "" },
        };
        foreach (var (symbol, handle) in order)
        {
            indexOf[handle] = symbols.Count;
            symbols.Add(symbol with { Index = symbols.Count });
        }

        int own = _sections.Count;
        int[] relocated = [.. Enumerable.Range(0, own).Where(index => _sections[index].Relocations.Count > 0)];
        int symbolTable = own + relocated.Length;
        var sections = new List<ElfSection>();
        for (int index = 0; index < own; index++)
        {
            var section = _sections[index];
            sections.Add(
                Make(section.Name, section.Type, section.Flags, section.Alignment, section.EntrySize) with
                {
                    Flags = section.About == 0 ? section.Flags : section.Flags | ElfSectionFlags.LinkOrder,
                    Link = (uint)section.About,
                    Size = section.Size,
                    Data = section.Data,
                    Relocations =
                    [
                        .. section
                            .Relocations.OrderBy(relocation => relocation.Offset)
                            .Select(relocation => relocation with { SymbolIndex = indexOf[relocation.SymbolIndex] }),
                    ],
                }
            );
        }

        foreach (int index in relocated)
            sections.Add(
                Make(".rela" + _sections[index].Name, ElfSectionType.Rela, ElfSectionFlags.InfoLink, 8, 24) with
                {
                    Link = (uint)symbolTable,
                    Info = (uint)index,
                }
            );
        bool extended = symbols.Exists(symbol => symbol.SectionIndex >= FirstReservedIndex && !symbol.IsReserved);
        sections.Add(Make(".symtab", ElfSectionType.SymbolTable, ElfSectionFlags.None, 8, 24) with { Link = (uint)symbolTable + 1 });
        sections.Add(Make(".strtab", ElfSectionType.StringTable, ElfSectionFlags.None, 1, 0));
        sections.Add(Make(".shstrtab", ElfSectionType.StringTable, ElfSectionFlags.None, 1, 0));
        if (extended)
            sections.Add(
                Make(".symtab_shndx", ElfSectionType.SymbolTableExtendedIndex, ElfSectionFlags.None, 4, 4) with
                {
                    Link = (uint)symbolTable,
                }
            );
        return new ElfObject(name, sections, symbols);

        ElfSection Make(string sectionName, ElfSectionType type, ElfSectionFlags flags, ulong alignment, ulong entrySize) =>
            new()
            {
                Index = sections.Count,
                Name = sectionName,
                Type = type,
                Flags = flags,
                Alignment = alignment,
                EntrySize = entrySize,
                Size = 0,
            };
    }

    private sealed class Section
    {
        public required string Name { get; init; }

        public required ElfSectionType Type { get; init; }

        public ElfSectionFlags Flags { get; init; }

        public ReadOnlyMemory<byte> Data { get; init; }

        public ulong Alignment { get; init; }

        public ulong EntrySize { get; init; }

        public ulong Size { get; init; }

        public int About { get; set; }

        public List<ElfRelocation> Relocations { get; } = [];
    }
}
