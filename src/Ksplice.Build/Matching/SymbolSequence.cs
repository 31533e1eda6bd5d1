// SPDX-License-Identifier: MIT
// The symbols that a unit has in its text sections, in order: by these sequences functions of one name are told apart
// (match/neighbours.c). With -ffunction-sections the pre object has a section for each function; the kernel's own object had
// one for all of them, in the order in which the compiler emits them, which is that of the sections.
using Ksplice.Build.Differencing;
using Ksplice.Build.Elf;

namespace Ksplice.Build.Matching;

/// <summary>One place of a sequence: its names, best first.</summary>
internal sealed record SequencePlace(int Section, ulong Offset, IReadOnlyList<string> Names, bool IsWeak);

internal static class SymbolSequence
{
    // objtool's symbols for padding may or may not be in the pre object, so they are in no sequence.
    private const string Padding = "__pfx_";

    private static readonly string[] Classes = [".text.unlikely", ".text.hot", ".text.startup", ".text.exit"];

    /// <summary>The sequences of <paramref name="elf"/>, by section of the kernel's own object.</summary>
    public static IReadOnlyDictionary<string, IReadOnlyList<SequencePlace>> Read(ElfObject elf) =>
        elf
            .Symbols.Where(symbol =>
                symbol.IsInSection
                && symbol.Type is ElfSymbolType.Function or ElfSymbolType.None
                && symbol.Name.Length != 0
                && !symbol.Name.StartsWith(Padding, StringComparison.Ordinal)
                && SectionCatalog.Role(elf.Sections[symbol.SectionIndex]) == SectionRole.Code
            )
            .GroupBy(symbol => (symbol.SectionIndex, symbol.Value))
            .OrderBy(place => place.Key)
            .Select(place => new SequencePlace(
                place.Key.SectionIndex,
                place.Key.Value,
                [.. place.Select(symbol => symbol.Name).Distinct(StringComparer.Ordinal)],
                place.All(symbol => symbol.Binding == ElfSymbolBinding.Weak)
            ))
            .GroupBy(place => ClassOf(elf.Sections[place.Section].Name), StringComparer.Ordinal)
            .ToDictionary(sequence => sequence.Key, sequence => (IReadOnlyList<SequencePlace>)[.. sequence], StringComparer.Ordinal);

    /// <summary>
    /// The section that the kernel's own object has for a section of <c>-ffunction-sections</c> (gcc, default_unique_section).
    /// </summary>
    public static string ClassOf(string section)
    {
        foreach (string name in Classes)
        {
            if (section == name || section.StartsWith(name + ".", StringComparison.Ordinal))
                return name;
        }
        // ".text.x" is x's; ".text..refcount" is the kernel's own.
        return section.StartsWith(".text.", StringComparison.Ordinal) && !section.StartsWith(".text..", StringComparison.Ordinal)
            ? ".text"
            : section;
    }
}
