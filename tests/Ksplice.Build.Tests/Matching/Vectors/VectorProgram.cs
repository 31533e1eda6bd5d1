// SPDX-License-Identifier: MIT
using Ksplice.Build.Kernel;
using Ksplice.Build.Matching;

namespace Ksplice.Build.Tests.Matching;

/// <summary>Writes the ops of one object of a vector by hand.</summary>
internal sealed class VectorProgram(VectorSetting setting)
{
    public List<MatchOp> Ops { get; } = [];

    public VectorProgram Literal(string hex)
    {
        byte[] bytes = VectorSetting.Hex(hex);
        return Add(OpCode.Literal, bytes.Length, MatchFormat.None, setting.Literal(bytes));
    }

    public VectorProgram Field(FieldKind kind, uint symbol, long value = 0) =>
        Add(
            OpCode.Field,
            kind is FieldKind.Abs64 or FieldKind.Pc64 ? 8
                : kind == FieldKind.Abs8 ? 1
                : 4,
            symbol,
            value,
            (byte)kind
        );

    public VectorProgram Branch(BranchKind kind, int length, uint symbol) => Add(OpCode.Branch, length, symbol, 0, (byte)kind);

    public VectorProgram Nops(int length) => Add(OpCode.Nops, length, MatchFormat.None);

    public VectorProgram Label(uint symbol) => Add(OpCode.Label, 0, symbol);

    public VectorProgram Fentry() => Add(OpCode.Fentry, 5, setting.Global("__fentry__"));

    public VectorProgram Endbr() => Add(OpCode.Endbr, 4, MatchFormat.None);

    public VectorProgram Lock() => Add(OpCode.Lock, 1, MatchFormat.None);

    public VectorProgram Return(int length = 5) => Add(OpCode.Return, length, setting.Global("__x86_return_thunk"));

    public VectorProgram Retpoline(BranchKind kind, int register) =>
        Add(
            OpCode.Retpoline,
            kind is BranchKind.CsJmp or BranchKind.CsCall ? 6 : 5,
            setting.Global($"__x86_indirect_thunk_{register}"),
            register,
            (byte)kind
        );

    public VectorProgram JumpLabel(int branch, int length, uint target, uint key) =>
        Add(OpCode.JumpLabel, length, target, 0, (byte)branch).Add(OpCode.Key, 0, key);

    public VectorProgram StaticCall(BranchKind kind, int length, uint trampoline, uint key) =>
        Add(OpCode.StaticCall, length, trampoline, 0, (byte)kind).Add(OpCode.Key, 0, key);

    public VectorProgram Alternative(int length, params Action<VectorProgram>[] variants)
    {
        List<MatchOp> nested = [];
        foreach (var write in variants)
        {
            VectorProgram variant = new(setting);
            write(variant);
            nested.Add(
                new MatchOp
                {
                    Op = OpCode.Variant,
                    Symbol = MatchFormat.None,
                    Value = variant.Ops.Count,
                }
            );
            nested.AddRange(variant.Ops);
        }
        Add(OpCode.Alternative, length, MatchFormat.None, nested.Count, (byte)variants.Length);
        Ops.AddRange(nested);
        return this;
    }

    public VectorProgram Paravirt(int entry, int length, uint table, Action<VectorProgram> write)
    {
        VectorProgram original = new(setting);
        write(original);
        Add(OpCode.Paravirt, length, table, original.Ops.Count, (byte)entry);
        Ops.AddRange(original.Ops);
        return this;
    }

    public VectorProgram Bug(BugKind kind, uint file = MatchFormat.None, int line = 0, int flags = 0) =>
        Add(OpCode.Bug, 0, file, (flags << 16) | line, (byte)kind);

    public VectorProgram Warning(uint file, int line, int flags, uint format) =>
        Bug(BugKind.Format, file, line, flags).Add(OpCode.Key, 0, format);

    public VectorProgram Exception(uint fixup, int data) => Add(OpCode.Exception, 0, fixup, data);

    private VectorProgram Add(OpCode op, int length, uint symbol, long value = 0, byte kind = 0)
    {
        Ops.Add(
            new MatchOp
            {
                Op = op,
                Kind = kind,
                Length = (ushort)length,
                Symbol = symbol,
                Value = value,
            }
        );
        return this;
    }
}
