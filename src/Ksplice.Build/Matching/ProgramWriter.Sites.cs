// SPDX-License-Identifier: MIT
// What the kernel rewrites, and what its tables say of an instruction.
using System.Buffers.Binary;
using Iced.Intel;
using Ksplice.Build.Differencing;
using Ksplice.Build.Kernel;

namespace Ksplice.Build.Matching;

internal sealed partial class ProgramWriter
{
    // What the kernel's tables say of the instruction: struct bug_entry, with or without file and line, and struct exception_table_entry.
    private void TrapEntries(List<MatchOp> ops, Code code, int at)
    {
        if (code.Bugs[at].Count() > 1 || code.Exceptions[at].Count() > 1)
            throw new UnmatchableException(at, "two entries of a table are about one instruction");
        if (code.Bugs[at].FirstOrDefault() is { } bug)
        {
            var (kind, file, line, flags) = bug.Bytes.Length switch
            {
                BugEntry.FormatSize => (
                    BugKind.Format,
                    FileName(bug, at),
                    BinaryPrimitives.ReadUInt16LittleEndian(bug.Bytes[12..]),
                    BinaryPrimitives.ReadUInt16LittleEndian(bug.Bytes[14..])
                ),
                BugEntry.LongSize => (
                    BugKind.Long,
                    FileName(bug, at),
                    BinaryPrimitives.ReadUInt16LittleEndian(bug.Bytes[8..]),
                    BinaryPrimitives.ReadUInt16LittleEndian(bug.Bytes[10..])
                ),
                BugEntry.ShortSize => (BugKind.Short, MatchFormat.None, (ushort)0, BinaryPrimitives.ReadUInt16LittleEndian(bug.Bytes[4..])),
                _ => throw new UnmatchableException(at, $"an entry of the bug table has {bug.Bytes.Length} bytes"),
            };
            ops.Add(
                new MatchOp
                {
                    Op = OpCode.Bug,
                    Kind = (byte)kind,
                    Symbol = file,
                    Value = (flags << 16) | line,
                }
            );
            if (kind == BugKind.Format)
            {
                var format = bug.References[1];
                var (text, value) = TextOf(format) is { } content ? (content, 0) : Resolve(format);
                ops.Add(
                    new MatchOp
                    {
                        Op = OpCode.Key,
                        Symbol = text,
                        Value = value,
                    }
                );
            }
        }
        else if (code.Instructions.TryGetValue(at, out var trap) && trap.Instruction.Mnemonic == Mnemonic.Ud2)
        {
            ops.Add(
                new MatchOp
                {
                    Op = OpCode.Bug,
                    Kind = (byte)BugKind.None,
                    Symbol = MatchFormat.None,
                }
            );
        }
        if (code.Exceptions[at].FirstOrDefault() is { } exception)
        {
            if (exception.Bytes.Length != ExceptionEntry.Size || exception.References.Count != 2)
                throw new UnmatchableException(at, $"an entry of the exception table has {exception.Bytes.Length} bytes");
            var (fixup, value) = Resolve(exception.References[1]);
            if (value != 0)
                throw new UnmatchableException(at, "the fixup of an entry of the exception table is no code");
            ops.Add(
                new MatchOp
                {
                    Op = OpCode.Exception,
                    Symbol = fixup,
                    Value = BinaryPrimitives.ReadUInt32LittleEndian(exception.Bytes[8..]),
                }
            );
        }
    }

    private uint FileName(TableEntry bug, int at) =>
        TextOf(bug.References[^1]) ?? throw new UnmatchableException(at, "the file of an entry of the bug table is no string");

    private uint? TextOf(ObjectReference reference) =>
        reference.Target is { Kind: NodeKind.String or NodeKind.Constant } text
            ? tables.Content(text.Bytes[(int)reference.TargetOffset..])
            : null;

    // struct alt_instr ends with the lengths of the original and of the replacement (arch/x86/include/asm/alternative.h). Of several
    // entries for one place, which nested alternatives make, the longest original counts (apply_alternatives).
    private int Alternative(List<MatchOp> ops, Code code, int at, int depth)
    {
        if (depth > 0)
            throw new UnmatchableException(at, "an alternative stands within an alternative");
        int length = code.Alternatives[at].Max(entry => entry.Bytes[^2]);
        List<List<MatchOp>> variants =
        [
            [],
        ];
        foreach (var entry in code.Alternatives[at])
        {
            List<MatchOp> variant = [];
            if (IsDirectCall(entry))
            {
                ParavirtCall(variant, code, at, length);
            }
            else if (entry.Bytes[^1] != 0)
            {
                var node = entry.References[1].Target!;
                WriteRange(variant, new Code(node), 0, (int)node.Size, 1);
            }
            variants.Add(variant);
        }
        if (length == 0 || at + length > code.Bytes.Length)
            throw new UnmatchableException(at, "an alternative reaches over the function's end");
        WriteRange(variants[0], code, at, at + length, 1);
        ops.Add(
            new MatchOp
            {
                Op = OpCode.Alternative,
                Kind = (byte)variants.Count,
                Length = (ushort)length,
                Symbol = MatchFormat.None,
                Value = variants.Sum(variant => 1 + variant.Count),
            }
        );
        foreach (var variant in variants)
        {
            ops.Add(
                new MatchOp
                {
                    Op = OpCode.Variant,
                    Symbol = MatchFormat.None,
                    Value = variant.Count,
                }
            );
            ops.AddRange(variant);
        }
        _closed = (ops, ops.Count);
        return length;
    }

    // ALT_FLAG_DIRECT_CALL: the replacement's target is what the original calls through. The flags are there since 6.4.
    private static bool IsDirectCall(TableEntry entry) => entry.Bytes.Length >= 14 && (entry.Bytes[^4] & 2) != 0;

    private int ParavirtCall(List<MatchOp> ops, Code code, int at, int length)
    {
        if (
            !code.Instructions.TryGetValue(at, out var call)
            || call.Instruction.Length > length
            || at + length > code.Bytes.Length
            || code.References.GetValueOrDefault(code.FieldOffset(at)) is not { External: { } table } reference
            || reference.TargetOffset < 0
            || reference.TargetOffset % 8 != 0
            || reference.TargetOffset / 8 > byte.MaxValue
        )
            throw new UnmatchableException(at, "a paravirt site does not hold a call of a table's entry");
        List<MatchOp> original = [];
        WriteRange(original, code, at, at + length, 2);
        ops.Add(
            new MatchOp
            {
                Op = OpCode.Paravirt,
                Kind = (byte)(reference.TargetOffset / 8),
                Length = (ushort)length,
                Symbol = tables.Global(table),
                Value = original.Count,
            }
        );
        ops.AddRange(original);
        _closed = (ops, ops.Count);
        return length;
    }
}
