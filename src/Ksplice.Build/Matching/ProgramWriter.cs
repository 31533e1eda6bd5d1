// SPDX-License-Identifier: MIT
// Compiles one function or constant of the pre object to a match program (ksplice/format.h): what cannot vary becomes
// literal bytes; what the linker fills in, the assembler chooses or the kernel rewrites becomes an op of its own. Where
// the kernel rewrites is told by the object's own special sections and by the names of the thunks.
using Iced.Intel;
using Ksplice.Build.Differencing;
using Ksplice.Build.Elf;
using Ksplice.Build.Matching.Interpreter;

namespace Ksplice.Build.Matching;

internal sealed partial class ProgramWriter(MatchTables tables)
{
    // What gcc aligns loop heads to at least, where it aligns them.
    private const int LoopAlignment = 8;

    private (List<MatchOp>? Ops, int Count) _closed;

    /// <summary>What the writer does not understand, with its offset.</summary>
    public sealed class UnmatchableException(long offset, string problem) : Exception(problem)
    {
        public long Offset { get; } = offset;
    }

    /// <summary>The program of constant data.</summary>
    public List<MatchOp> WriteData(ObjectNode node)
    {
        List<MatchOp> ops = [];
        Literals(ops, node, 0, (int)node.Size);
        return ops;
    }

    /// <summary>The program of a function, and whether its end may be a return address.</summary>
    public (List<MatchOp> Ops, bool EndsInCall) WriteCode(ObjectNode node)
    {
        List<MatchOp> ops = [];
        Code code = new(node);
        WriteRange(ops, code, 0, (int)node.Size, 0);
        return (ops, code.EndsInCall);
    }

    // Sites nest: an alternative's original may be a paravirt call. The depth (1 in a variant, 2 in a paravirt call) tells which
    // site at the range's start is the one being written.
    private void WriteRange(List<MatchOp> ops, Code code, int start, int end, int depth)
    {
        for (int at = start; at < end; )
        {
            bool reopened = at == start && depth > 0;
            // A loop head is aligned, with no-ops before it where they are needed. Branches of another length before it, or another
            // start of the section, make them needed.
            if (!reopened && at % LoopAlignment == 0 && code.LoopHeads.Contains(at) && ops is not [.., { Op: OpCode.Nops }])
                ops.Add(new MatchOp { Op = OpCode.Nops, Symbol = MatchFormat.None });
            if (!reopened && code.Labels.Contains(at))
                ops.Add(new MatchOp { Op = OpCode.Label, Symbol = tables.Place(code.Node, at) });
            if (!reopened)
                TrapEntries(ops, code, at);
            int length;
            if (!reopened && code.Alternatives.Contains(at))
                length = Alternative(ops, code, at, depth);
            else if (!(reopened && depth == 2) && code.Paravirt.TryGetValue(at, out var site))
                length = ParavirtCall(ops, code, at, site.Bytes[9]); // struct paravirt_patch_site: the address, a type, the length
            else if (!code.Instructions.ContainsKey(at))
                throw new UnmatchableException(at, "a site begins or ends in the middle of an instruction");
            else
                length = Instruction(ops, code, at);
            at += length;
            if (at > end)
                throw new UnmatchableException(at, "a site ends in the middle of an instruction");
        }
    }

    private int Instruction(List<MatchOp> ops, Code code, int at)
    {
        var (instruction, _) = code.Instructions[at];
        int length = instruction.Length;
        if (code.JumpLabels.TryGetValue(at, out var label))
        {
            var key = label.References[2];
            var (target, value) = Resolve(label.References[1]);
            ops.Add(
                new MatchOp
                {
                    Op = OpCode.JumpLabel,
                    Kind = (byte)(key.TargetOffset & 1),
                    Length = (ushort)length,
                    Symbol = target,
                    Value = value,
                }
            );
            ops.Add(Key(key, ~3L));
        }
        else if (Run.NopLength(code.Bytes.AsSpan(at)) == length)
        {
            // One run may be split differently; a label ends it.
            if (ops.Count != 0 && ops[^1].Op == OpCode.Nops && !code.Labels.Contains(at))
                ops[^1] = ops[^1] with { Length = (ushort)(ops[^1].Length + length) };
            else
                ops.Add(
                    new MatchOp
                    {
                        Op = OpCode.Nops,
                        Length = (ushort)length,
                        Symbol = MatchFormat.None,
                    }
                );
        }
        else if (instruction.Mnemonic == Mnemonic.Endbr64)
        {
            ops.Add(
                new MatchOp
                {
                    Op = OpCode.Endbr,
                    Length = (ushort)length,
                    Symbol = MatchFormat.None,
                }
            );
        }
        else if (Code.IsBranch(instruction))
        {
            Branch(ops, code, at);
        }
        else if (code.Locks.TryGetValue(at, out _))
        {
            ops.Add(
                new MatchOp
                {
                    Op = OpCode.Lock,
                    Length = 1,
                    Symbol = MatchFormat.None,
                }
            );
            Fields(ops, code, at, at + 1);
        }
        else
        {
            Fields(ops, code, at, at);
        }
        return length;
    }

    private (uint Symbol, long Value) Resolve(ObjectReference reference)
    {
        if (reference.External is { } name)
            return (tables.Global(name), reference.TargetOffset);
        if (reference.Target is not { } target)
            throw new UnmatchableException((long)reference.Offset, "a reference leads to nothing that is loaded");
        return target.IsCode && reference.TargetOffset != 0
            ? (tables.Place(target, reference.TargetOffset), 0)
            : (tables.Start(target), reference.TargetOffset);
    }

    // An instruction that is no branch, from `from` on; a relative operand without relocation points into the function itself.
    private void Fields(List<MatchOp> ops, Code code, int at, int from)
    {
        var (instruction, _) = code.Instructions[at];
        int end = at + instruction.Length;
        int field = code.FieldOffset(at);
        if (Code.Target(instruction) is long target && !code.References.ContainsKey(field))
        {
            if (target < 0 || target >= code.Bytes.Length)
                throw new UnmatchableException(at, "an operand leads out of the function without a relocation");
            Literals(ops, code.Node, from, field);
            uint symbol = target == 0 ? tables.Start(code.Node) : tables.Place(code.Node, target);
            ops.Add(
                new MatchOp
                {
                    Op = OpCode.Field,
                    Kind = (byte)FieldKind.Pc32,
                    Length = 4,
                    Symbol = symbol,
                    Value = field - end,
                }
            );
            from = field + 4;
        }
        for (int place = from; place < end; place++)
        {
            if (!code.Constants.TryGetValue(place, out string? constant))
                continue;
            Literals(ops, code.Node, from, place);
            int size = SectionCatalog.RuntimeConstantSize(constant);
            var kind = size == 8 ? FieldKind.Abs64 : FieldKind.Abs8;
            ops.Add(
                new MatchOp
                {
                    Op = OpCode.Field,
                    Kind = (byte)kind,
                    Length = (ushort)size,
                    Symbol = tables.Constant(constant),
                }
            );
            from = place + size;
            if (from > end)
                throw new UnmatchableException(place, "a runtime constant reaches over the end of its instruction");
        }
        Literals(ops, code.Node, from, end);
    }

    // Bytes and the relocated fields between them.
    private void Literals(List<MatchOp> ops, ObjectNode node, int from, int to)
    {
        foreach (var reference in node.References)
        {
            int offset = (int)reference.Offset;
            if (offset < from || offset >= to)
                continue;
            if (offset + reference.FieldSize > to)
                throw new UnmatchableException(offset, "a relocation reaches over the end of its instruction");
            Literal(ops, node.Bytes[from..offset]);
            var (symbol, value) = Resolve(reference);
            ops.Add(
                new MatchOp
                {
                    Op = OpCode.Field,
                    Kind = (byte)KindOf(reference),
                    Length = (ushort)reference.FieldSize,
                    Symbol = symbol,
                    Value = value + reference.Adjustment,
                }
            );
            from = offset + reference.FieldSize;
        }
        Literal(ops, node.Bytes[from..to]);
    }

    private static FieldKind KindOf(ObjectReference reference) =>
        reference.Type switch
        {
            ElfRelocationType.Pc32 when reference.Field == TableField.Entry => FieldKind.Bug,
            _ when reference.Field == TableField.Entry => throw new UnmatchableException(
                (long)reference.Offset,
                "the address of an entry of a table is no distance"
            ),
            ElfRelocationType.Abs64 => FieldKind.Abs64,
            ElfRelocationType.Abs32 => FieldKind.Abs32,
            ElfRelocationType.Abs32Signed => FieldKind.Abs32S,
            ElfRelocationType.Pc32 or ElfRelocationType.Plt32 => FieldKind.Pc32,
            ElfRelocationType.Pc64 => FieldKind.Pc64,
            _ => throw new UnmatchableException((long)reference.Offset, $"relocation type {(uint)reference.Type} is unknown"),
        };

    // The last op of a site's nested ops belongs to the site; what follows the site must not grow it.
    private int ClosedIn(List<MatchOp> ops) => ReferenceEquals(ops, _closed.Ops) ? _closed.Count : 0;

    private void Literal(List<MatchOp> ops, ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            int room = ushort.MaxValue;
            bool grows =
                ops.Count > ClosedIn(ops)
                && ops[^1].Op == OpCode.Literal
                && ops[^1].Value + ops[^1].Length == tables.LiteralEnd
                && ops[^1].Length < ushort.MaxValue;
            if (grows)
                room -= ops[^1].Length;
            int part = Math.Min(room, bytes.Length);
            long at = tables.Literal(bytes[..part]);
            if (grows)
                ops[^1] = ops[^1] with { Length = (ushort)(ops[^1].Length + part) };
            else
                ops.Add(
                    new MatchOp
                    {
                        Op = OpCode.Literal,
                        Length = (ushort)part,
                        Symbol = MatchFormat.None,
                        Value = at,
                    }
                );
            bytes = bytes[part..];
        }
    }
}
