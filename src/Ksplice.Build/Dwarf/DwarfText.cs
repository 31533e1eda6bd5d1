// SPDX-License-Identifier: MIT
// Strings of debug data: in place, or in a section of their own (DWARF 5, section 7.26).
using Ksplice.Build.Elf;

namespace Ksplice.Build.Dwarf;

internal static class DwarfText
{
    private const ulong InPlace = 0x08,
        InLineStrings = 0x1f;

    /// <summary>The offset that stands at <paramref name="position"/> of a section, relocated.</summary>
    public static ulong Offset(ElfObject elf, ElfSection section, int position, ulong value) =>
        section.RelocationAt((ulong)position) is { } relocation
            ? value + elf.Symbols[relocation.SymbolIndex].Value + (ulong)relocation.Addend
            : value;

    /// <summary>The string that a value of form <paramref name="form"/> at <paramref name="position"/> is.</summary>
    /// <exception cref="ElfFormatException">It leads out of its section.</exception>
    public static string Read(ElfObject elf, ElfSection section, int position, ulong form, ulong value)
    {
        if (form == InPlace)
            return new DwarfCursor(elf, section) { Position = position }.String();
        if (elf.FindSection(form == InLineStrings ? ".debug_line_str" : ".debug_str") is not { } strings)
            return "";
        DwarfCursor text = new(elf, strings);
        text.Skip(Offset(elf, section, position, value));
        return text.String();
    }
}
