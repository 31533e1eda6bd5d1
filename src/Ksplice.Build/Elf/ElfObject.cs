// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;

namespace Ksplice.Build.Elf;

/// <summary>
/// A relocatable x86-64 object (ET_REL, ELFCLASS64, little endian) as immutable values: sections in file order with section 0 first,
/// symbols in table order with symbol 0 first.
/// </summary>
/// <param name="Name">The file it came from, for messages.</param>
/// <param name="Sections">All sections; index 0 is the null section.</param>
/// <param name="Symbols">The static symbol table; index 0 is the null symbol. Empty when there is none.</param>
public sealed partial record ElfObject(string Name, IReadOnlyList<ElfSection> Sections, IReadOnlyList<ElfSymbol> Symbols);

/// <summary>One section. Relocation sections stay visible as sections and are also decoded on the section they apply to.</summary>
public sealed record ElfSection
{
    /// <summary>Index in the section header table.</summary>
    public required int Index { get; init; }

    /// <summary>Name from the section header string table.</summary>
    public required string Name { get; init; }

    /// <summary>sh_type.</summary>
    public required ElfSectionType Type { get; init; }

    /// <summary>sh_flags.</summary>
    public ElfSectionFlags Flags { get; init; }

    /// <summary>sh_size in bytes; for NOBITS there are no bytes in the file.</summary>
    public required ulong Size { get; init; }

    /// <summary>sh_addralign.</summary>
    public ulong Alignment { get; init; } = 1;

    /// <summary>sh_entsize, bytes of an entry, 0 when the section has none.</summary>
    public ulong EntrySize { get; init; }

    /// <summary>sh_link.</summary>
    public uint Link { get; init; }

    /// <summary>sh_info.</summary>
    public uint Info { get; init; }

    /// <summary>The bytes in the file; empty for NOBITS.</summary>
    public ReadOnlyMemory<byte> Data { get; init; }

    /// <summary>The relocations that apply to this section, sorted by offset.</summary>
    public IReadOnlyList<ElfRelocation> Relocations { get; init; } = [];

    internal int HeaderOffset { get; init; }

    /// <summary>The first relocation of the field at <paramref name="offset"/>, or null.</summary>
    internal ElfRelocation? RelocationAt(ulong offset)
    {
        int low = 0,
            high = Relocations.Count;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (Relocations[middle].Offset < offset)
                low = middle + 1;
            else
                high = middle;
        }
        return low < Relocations.Count && Relocations[low].Offset == offset ? Relocations[low] : null;
    }

    /// <summary>True if the section occupies memory at run time.</summary>
    public bool IsAllocated => (Flags & ElfSectionFlags.Alloc) != ElfSectionFlags.None;

    /// <summary>True for machine code.</summary>
    public bool IsExecutable => (Flags & ElfSectionFlags.Execute) != ElfSectionFlags.None;
}

/// <summary>One symbol of the static table.</summary>
public sealed record ElfSymbol
{
    /// <summary>Section index that means: not defined in this object.</summary>
    public const int Undefined = 0;

    /// <summary>Section index of absolute symbols.</summary>
    public const int Absolute = 0xfff1;

    /// <summary>Section index of common symbols.</summary>
    public const int CommonIndex = 0xfff2;

    /// <summary>Index in the symbol table.</summary>
    public required int Index { get; init; }

    /// <summary>Name; empty for section symbols.</summary>
    public required string Name { get; init; }

    /// <summary>Bytes from the start of the section.</summary>
    public ulong Value { get; init; }

    /// <summary>Size in bytes, 0 if unknown.</summary>
    public ulong Size { get; init; }

    /// <summary>Symbol type.</summary>
    public ElfSymbolType Type { get; init; }

    /// <summary>Symbol binding.</summary>
    public ElfSymbolBinding Binding { get; init; }

    /// <summary>st_other: visibility in the low two bits.</summary>
    public byte Other { get; init; }

    /// <summary>The section's index (extended indexes resolved; <see cref="IsReserved"/> tells special ones apart).</summary>
    public int SectionIndex { get; init; }

    /// <summary>True when <see cref="SectionIndex"/> is <see cref="Absolute"/> or <see cref="CommonIndex"/> and not a section.</summary>
    public bool IsReserved { get; init; }

    /// <summary>True if the object refers to the symbol without defining it.</summary>
    public bool IsUndefined => SectionIndex == Undefined && !IsReserved;

    /// <summary>True if a section of the object has the symbol: it is neither undefined, absolute nor common.</summary>
    public bool IsInSection => SectionIndex != Undefined && !IsReserved;
}

/// <summary>One RELA entry.</summary>
/// <param name="Offset">Bytes from the start of the section that it applies to.</param>
/// <param name="Type">How the field is encoded.</param>
/// <param name="SymbolIndex">Index in the symbol table.</param>
/// <param name="Addend">Added to the symbol's value.</param>
[StructLayout(LayoutKind.Auto)]
public readonly record struct ElfRelocation(ulong Offset, ElfRelocationType Type, int SymbolIndex, long Addend);
