// Why a function is replaced, for a person: the reason in a word, and the first differing instruction before and after.
using System.Globalization;
using Iced.Intel;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Dwarf;
using Ksplice.Build.Elf;

namespace Ksplice.Build.Differencing;

/// <summary>Why a function is replaced.</summary>
public enum ChangeReason
{
    /// <summary>Its instructions differ, those of functions inlined into it included.</summary>
    Text,

    /// <summary>The same instruction has another immediate.</summary>
    Constant,

    /// <summary>A relocation differs: what is called, read or pointed at.</summary>
    Relocation,

    /// <summary>An entry of a special section differs.</summary>
    SpecialSection,

    /// <summary>Nothing of its own: it jumps into a function that is replaced.</summary>
    BranchIntoReplaced,
}

/// <summary>An instruction in GNU syntax.</summary>
/// <param name="Offset">Bytes from the start of the function, or of the part that has the difference.</param>
/// <param name="Text">The instruction; what its relocation points at stands behind a <c>#</c>.</param>
/// <param name="Source">The line that it comes from, by DWARF's line table; null without one.</param>
public sealed record InstructionText(ulong Offset, string Text, SourceLocation? Source);

/// <summary>A replaced function's first difference, explained.</summary>
/// <param name="Function">The function.</param>
/// <param name="Reason">The kind of difference.</param>
/// <param name="Pre">The instruction before; null where the difference is not in one, or the code ends there.</param>
/// <param name="Post">The same place after.</param>
public sealed record FunctionExplanation(ReplacedFunction Function, ChangeReason Reason, InstructionText? Pre, InstructionText? Post)
{
    /// <summary>Explains each function that <paramref name="diff"/> replaces, in its order.</summary>
    /// <exception cref="ElfFormatException">The debug data of an object is malformed.</exception>
    public static IReadOnlyList<FunctionExplanation> Of(ObjectDiff diff)
    {
        ArgumentNullException.ThrowIfNull(diff);
        if (diff.Replaced.Count == 0)
            return [];
        var (before, after) = (LineTable.Read(diff.Pre), LineTable.Read(diff.Post));
        return [.. diff.Replaced.Select(function => Explain(diff, function, before, after))];
    }

    private static FunctionExplanation Explain(ObjectDiff diff, ReplacedFunction function, LineTable? preLines, LineTable? postLines)
    {
        var why = function.Why;
        var reason = why.Kind switch
        {
            FunctionDifference.SpecialSection => ChangeReason.SpecialSection,
            FunctionDifference.BranchIntoReplaced => ChangeReason.BranchIntoReplaced,
            FunctionDifference.Relocation => ChangeReason.Relocation,
            _ => ChangeReason.Text,
        };
        int part = reason is ChangeReason.SpecialSection or ChangeReason.BranchIntoReplaced ? -1 : PartIndex(diff.Pre, function);
        if (part < 0 || part >= function.Post.Count)
            return new(function, reason, null, null);
        var before = Decode(diff.Pre, function.Pre[part], why.Offset);
        var after = Decode(diff.Post, function.Post[part], why.Offset);
        if (reason == ChangeReason.Text && before is { } a && after is { } b && OnlyImmediateDiffers(a, b))
            reason = ChangeReason.Constant;
        return new(function, reason, Show(diff.Pre, function.Pre[part], before, preLines), Show(diff.Post, function.Post[part], after, postLines));
    }

    // The body is the first of the ranges; a part is found by its symbol, or by its section if it has none.
    private static int PartIndex(ElfObject elf, ReplacedFunction function)
    {
        if (function.Why.Part == function.Name)
            return 0;
        for (int i = 1; i < function.Pre.Count; i++)
        {
            var range = function.Pre[i];
            if (elf.Sections[range.Section].Name == function.Why.Part
                || elf.Symbols.Any(symbol => symbol.SectionIndex == range.Section && symbol.Value == range.Offset && symbol.Name == function.Why.Part))
                return i;
        }
        return -1;
    }

    private static Instruction? Decode(ElfObject elf, ObjectRange range, ulong offset)
    {
        var decoder = Decoder.Create(64, elf.Sections[range.Section].Data.Slice((int)range.Offset, (int)range.Size).ToArray());
        while (decoder.IP < range.Size)
        {
            decoder.Decode(out var instruction);
            if (instruction.IsInvalid)
                return null;
            if (instruction.NextIP > offset)
                return instruction;
        }
        return null;
    }

    private static bool OnlyImmediateDiffers(in Instruction a, in Instruction b)
    {
        if (a.Code != b.Code || a.MemoryBase != b.MemoryBase || a.MemoryIndex != b.MemoryIndex || a.MemoryIndexScale != b.MemoryIndexScale
            || a.MemoryDisplacement64 != b.MemoryDisplacement64 || a.SegmentPrefix != b.SegmentPrefix)
            return false;
        bool immediate = false;
        for (int i = 0; i < a.OpCount; i++)
        {
            var kind = a.GetOpKind(i);
            if (kind != b.GetOpKind(i) || (kind == OpKind.Register && a.GetOpRegister(i) != b.GetOpRegister(i)))
                return false;
            immediate |= kind is >= OpKind.Immediate8 and <= OpKind.Immediate32to64;
        }
        return immediate;
    }

    private static InstructionText? Show(ElfObject elf, ObjectRange range, Instruction? decoded, LineTable? lines)
    {
        if (decoded is not { } instruction)
            return null;
        StringOutput output = new();
        new GasFormatter().Format(instruction, output);
        string text = output.ToStringAndReset();
        ulong start = range.Offset + instruction.IP, end = range.Offset + instruction.NextIP;
        foreach (var relocation in elf.Sections[range.Section].Relocations)
        {
            if (relocation.Offset >= start && relocation.Offset < end)
                text += "  # " + Target(elf, relocation, end);
        }
        return new InstructionText(instruction.IP, text, lines?.Find(range.Section, start));
    }

    private static string Target(ElfObject elf, ElfRelocation relocation, ulong end)
    {
        var symbol = elf.Symbols[relocation.SymbolIndex];
        string name = symbol.Type == ElfSymbolType.Section ? elf.Sections[symbol.SectionIndex].Name : symbol.Name;
        // A relative field counts from itself, the processor from the instruction's end.
        long addend = relocation.Addend;
        if (relocation.Type is ElfRelocationType.Pc32 or ElfRelocationType.Plt32 or ElfRelocationType.Pc64)
            addend += (long)(end - relocation.Offset);
        return addend == 0 ? name : string.Create(CultureInfo.InvariantCulture, $"{name}{(addend < 0 ? "-" : "+")}0x{Math.Abs(addend):x}");
    }
}
