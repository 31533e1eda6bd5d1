// SPDX-License-Identifier: MIT
// Why a function is replaced, for a person: the reason in a word, and the first differing instruction before and after. A
// branch that only goes further, because something behind it grew, is no reason: what grew is.
using System.Globalization;
using Iced.Intel;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Dwarf;
using Ksplice.Build.Elf;

namespace Ksplice.Build.Differencing;

/// <summary>An instruction in GNU syntax.</summary>
/// <param name="Offset">Bytes from the start of the function, or of the part that has the difference.</param>
/// <param name="Text">The instruction; what its relocation points at stands behind a <c>#</c>.</param>
/// <param name="Source">The line that it comes from, by DWARF's line table; null without one.</param>
public sealed record InstructionText(ulong Offset, string Text, SourceLocation? Source);

/// <summary>A replaced function's first difference, explained.</summary>
/// <param name="Function">The function.</param>
/// <param name="Reason">The kind of difference.</param>
/// <param name="Inlined">The inlined function that the differing code belongs to; null unless that is the reason.</param>
/// <param name="Pre">The instruction before; null where the difference is not in one, or the code ends there.</param>
/// <param name="Post">The same place after.</param>
public sealed partial record FunctionExplanation(
    ReplacedFunction Function,
    FunctionDifference Reason,
    string? Inlined,
    InstructionText? Pre,
    InstructionText? Post
)
{
    /// <summary>Explains each function that <paramref name="diff"/> replaces, in its order.</summary>
    /// <exception cref="ElfFormatException">The debug data of an object is malformed.</exception>
    public static IReadOnlyList<FunctionExplanation> Of(ObjectDiff diff)
    {
        ArgumentNullException.ThrowIfNull(diff);
        if (diff.Replaced.Count == 0)
            return [];
        var (before, after) = (new Side(diff.Pre), new Side(diff.Post));
        return [.. diff.Replaced.Select(function => Explain(function, before, after))];
    }

    /// <summary>One of the two objects, with its debug data.</summary>
    private sealed class Side(ElfObject elf)
    {
        public ElfObject Elf { get; } = elf;
        public LineTable? Lines { get; } = LineTable.Read(elf);
        public DebugInfo? Info { get; } = DebugInfo.Read(elf);
    }

    /// <summary>The code of a function or a part, instruction by instruction.</summary>
    private sealed class Code
    {
        private readonly Side _side;
        private readonly ObjectRange _range;
        private readonly Decoder _decoder;

        public Code(Side side, ObjectRange range)
        {
            (_side, _range) = (side, range);
            _decoder = Decoder.Create(64, side.Elf.Sections[range.Section].Data.Slice((int)range.Offset, (int)range.Size).ToArray());
        }

        public Instruction? Next()
        {
            if (_decoder.IP >= _range.Size)
                return null;
            var instruction = _decoder.Decode();
            return instruction.IsInvalid ? null : instruction;
        }

        public Instruction? NextThatEndsBehind(ulong offset)
        {
            while (Next() is { } instruction)
            {
                if (instruction.NextIP > offset)
                    return instruction;
            }
            return null;
        }

        public List<string> Targets(in Instruction instruction)
        {
            List<string> targets = [];
            ulong start = _range.Offset + instruction.IP,
                end = _range.Offset + instruction.NextIP;
            for (ulong at = start; at < end; at++)
            {
                if (_side.Elf.Sections[_range.Section].RelocationAt(at) is { } relocation)
                    targets.Add(Target(_side.Elf, relocation, end));
            }
            return targets;
        }

        public InstructionText? Show(Instruction? decoded)
        {
            if (decoded is not { } instruction)
                return null;
            StringOutput output = new();
            new GasFormatter().Format(instruction, output);
            string text = string.Concat(Targets(instruction).Select(target => "  # " + target).Prepend(output.ToStringAndReset()));
            return new InstructionText(instruction.IP, text, _side.Lines?.Find(_range.Section, _range.Offset + instruction.IP));
        }

        public IReadOnlyList<InlinedCall> Inlined() => _side.Info is null ? [] : InlinedCalls.In(_side.Info, _range.Section, _range.Offset);

        public List<InlinedCall> Around(Instruction? instruction, IReadOnlyList<InlinedCall> inlined) =>
            instruction is { } found ? [.. inlined.Where(call => call.Contains(_range.Section, _range.Offset + found.IP))] : [];
    }

    private static FunctionExplanation Explain(ReplacedFunction function, Side before, Side after)
    {
        var why = function.Why;
        int part = why.Kind is FunctionDifference.SpecialSection or FunctionDifference.BranchIntoReplaced
            ? -1
            : PartIndex(before.Elf, function);
        if (part < 0 || part >= function.Post.Count)
            return new(function, why.Kind, null, null, null);
        var (pre, post) = (new Code(before, function.Pre[part]), new Code(after, function.Post[part]));
        var (old, now) = FirstDifference(pre, post, why);
        var reason =
            why.Kind == FunctionDifference.Text && old is { } a && now is { } b && HasSameForm(a, b) && ImmediateDiffers(a, b)
                ? FunctionDifference.Constant
                : why.Kind;
        string? inlined = InlinedFrom(pre, post, old, now);
        return new(function, inlined is null ? reason : FunctionDifference.InlinedCallee, inlined, pre.Show(old), post.Show(now));
    }

    // The body is the first of the ranges; a part is found by its symbol, or by its section if it has none.
    private static int PartIndex(ElfObject elf, ReplacedFunction function)
    {
        if (function.Why.Part == function.Name)
            return 0;
        for (int i = 1; i < function.Pre.Count; i++)
        {
            var range = function.Pre[i];
            if (
                elf.Sections[range.Section].Name == function.Why.Part
                || elf.Symbols.Any(symbol =>
                    symbol.SectionIndex == range.Section && symbol.Value == range.Offset && symbol.Name == function.Why.Part
                )
            )
                return i;
        }
        return -1;
    }

    private static (Instruction? Pre, Instruction? Post) FirstDifference(Code pre, Code post, FunctionChange why)
    {
        var (first, second) = (pre.NextThatEndsBehind(why.Offset), post.NextThatEndsBehind(why.Offset));
        if (why.Kind == FunctionDifference.Relocation)
            return (first, second);
        var (old, now) = (first, second);
        while (old is { } a && now is { } b && IsSameApartFromPlaces(pre, a, post, b))
            (old, now) = (pre.Next(), post.Next());
        return old is null && now is null ? (first, second) : (old, now);
    }

    // Names carry the compiler's numbers and strings move: what only the comparison of whole objects can tell counts as the same.
    private static bool IsSameApartFromPlaces(Code pre, in Instruction a, Code post, in Instruction b) =>
        pre.Targets(a).Select(Stem).SequenceEqual(post.Targets(b).Select(Stem), StringComparer.Ordinal)
        && (
            a.Op0Kind == OpKind.NearBranch64 && b.Op0Kind == OpKind.NearBranch64
                ? a.Mnemonic == b.Mnemonic
                : HasSameForm(a, b) && !ImmediateDiffers(a, b)
        );

    private static string Stem(string target)
    {
        int end = target.AsSpan(1).IndexOfAny('+', '-') + 1;
        bool literal = target.Contains(".str1.", StringComparison.Ordinal) || target.Contains(".cst", StringComparison.Ordinal);
        return SymbolNames.Base(literal && end > 0 ? target[..end] : target);
    }

    private static bool HasSameForm(in Instruction a, in Instruction b)
    {
        if (
            a.Code != b.Code
            || a.MemoryBase != b.MemoryBase
            || a.MemoryIndex != b.MemoryIndex
            || a.MemoryIndexScale != b.MemoryIndexScale
            || a.SegmentPrefix != b.SegmentPrefix
            || Displacement(a) != Displacement(b)
        )
            return false;
        for (int i = 0; i < a.OpCount; i++)
        {
            var kind = a.GetOpKind(i);
            if (kind != b.GetOpKind(i) || (kind == OpKind.Register && a.GetOpRegister(i) != b.GetOpRegister(i)))
                return false;
        }
        return true;
    }

    private static ulong Displacement(in Instruction instruction) =>
        instruction.IsIPRelativeMemoryOperand ? instruction.IPRelativeMemoryAddress - instruction.NextIP : instruction.MemoryDisplacement64;

    private static bool ImmediateDiffers(in Instruction a, in Instruction b)
    {
        for (int i = 0; i < a.OpCount; i++)
        {
            if (a.GetOpKind(i) is >= OpKind.Immediate8 and <= OpKind.Immediate32to64 && a.GetImmediate(i) != b.GetImmediate(i))
                return true;
        }
        return false;
    }

    // The deepest function that both instructions were inlined from. Where code of one begins or ends, one of them is outside:
    // then it is that function if it was inlined as often before as after, and else the caller began or ceased to call it.
    private static string? InlinedFrom(Code pre, Code post, Instruction? old, Instruction? now)
    {
        var (before, after) = (pre.Inlined(), post.Inlined());
        if (before.Count == 0 || after.Count == 0)
            return null;
        var (outer, other) = (pre.Around(old, before), post.Around(now, after));
        int common = 0;
        while (common < outer.Count && common < other.Count && outer[common].Name == other[common].Name)
            common++;
        if (common != 0)
            return outer[common - 1].Name;
        string? name = other.Count != 0 ? other[0].Name : null;
        return name is not null && outer.Count == 0 && before.Count(call => call.Name == name) == after.Count(call => call.Name == name)
            ? name
            : null;
    }

    private static string Target(ElfObject elf, ElfRelocation relocation, ulong end)
    {
        var symbol = elf.Symbols[relocation.SymbolIndex];
        string name = symbol.Type == ElfSymbolType.Section && symbol.IsInSection ? elf.Sections[symbol.SectionIndex].Name : symbol.Name;
        // A relative field counts from itself, the processor from the instruction's end.
        long addend = relocation.Addend;
        if (relocation.Type is ElfRelocationType.Pc32 or ElfRelocationType.Plt32 or ElfRelocationType.Pc64)
            addend += (long)(end - relocation.Offset);
        return addend == 0
            ? name
            : string.Create(
                CultureInfo.InvariantCulture,
                $"{name}{(addend < 0 ? "-" : "+")}0x{(addend < 0 ? 0 - (ulong)addend : (ulong)addend):x}"
            );
    }
}
