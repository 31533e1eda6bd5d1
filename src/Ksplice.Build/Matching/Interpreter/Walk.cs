// SPDX-License-Identifier: MIT
// match/walk.c: the walk of one object over run bytes, op by op.
using System.Collections.Immutable;

namespace Ksplice.Build.Matching.Interpreter;

internal sealed partial class Walk
{
    private static ImmutableArray<byte> KeepBytes(ReadOnlySpan<byte> from) => [.. from[..Math.Min(from.Length, MatchFormat.Shown)]];

    // The nearest probe, at the address or before it, whose breakpoint or jump may cover the address; or 0.
    private ulong ProbeNear(ulong address)
    {
        for (ulong at = address; address - at < MatchFormat.JumpSize; at--)
        {
            if (run.Memory.IsProbed(at))
                return at;
        }
        return 0;
    }

    private MatchReason Differ(MatchReason reason, ulong address, uint symbol, ReadOnlySpan<byte> expected)
    {
        if (Failure.Reason != MatchReason.Matched && Failure.Address > address)
            return reason;
        if (reason == MatchReason.Different && ProbeNear(address) != 0)
            reason = MatchReason.Probed;
        int shown = expected.Length is > 0 and < MatchFormat.Shown ? expected.Length : MatchFormat.Shown;
        Span<byte> found = stackalloc byte[MatchFormat.Shown];
        while (shown != 0 && !run.Get(address, found[..shown]))
            shown--;
        Failure = new Mismatch(
            reason,
            address,
            _pre,
            symbol == MatchFormat.None ? null : run.NameOf(symbol),
            KeepBytes(expected),
            KeepBytes(found[..shown])
        );
        return reason;
    }

    private MatchReason Different(uint symbol) => Differ(MatchReason.Different, _at, symbol, []);

    private MatchReason WalkLiteral(MatchOp op)
    {
        var expected = run.Data.Bytes.Slice((int)op.Value, op.Length);
        for (int done = 0; done < op.Length; )
        {
            var found = run.Look(_at + (ulong)done);
            if (found.IsEmpty)
            {
                _pre += (uint)done;
                return Differ(MatchReason.Unreadable, _at + (ulong)done, MatchFormat.None, expected[done..]);
            }
            int part = Math.Min(found.Length, op.Length - done),
                same = found.CommonPrefixLength(expected.Slice(done, part));
            done += same;
            if (same == part)
                continue;
            _pre += (uint)done;
            return Differ(MatchReason.Different, _at + (ulong)done, MatchFormat.None, expected[done..]);
        }
        _at += op.Length;
        return MatchReason.Matched;
    }

    private MatchReason WalkByte(MatchOp op)
    {
        Span<byte> value = stackalloc byte[1];
        if (!run.Get(_at, value))
            return Differ(MatchReason.Unreadable, _at, op.Symbol, []);
        var reason = Meet(op.Symbol, value[0] - (ulong)op.Value);
        _at++;
        return reason;
    }

    private MatchReason WalkField(MatchOp op)
    {
        if (op.Kind == (byte)FieldKind.Abs8)
            return WalkByte(op);
        if (op.Kind == (byte)FieldKind.Bug)
            return WalkBugField(op);
        bool wide = op.Kind is (byte)FieldKind.Abs64 or (byte)FieldKind.Pc64;
        ulong value = 0;
        int far = 0;
        if (!(wide ? run.GetUInt64(_at, out value) : run.GetInt32(_at, out far)))
            return Differ(MatchReason.Unreadable, _at, op.Symbol, []);
        if (!wide)
            value = op.Kind == (byte)FieldKind.Abs32 ? (uint)far : (ulong)(long)far;
        if (op.Kind is (byte)FieldKind.Pc32 or (byte)FieldKind.Pc64)
            value += _at;
        var reason = Meet(op.Symbol, value - (ulong)op.Value);
        _at += wide ? 8u : 4u;
        return reason;
    }

    private void StartWalk(ulong address)
    {
        _start = _at = address;
        _limit = ulong.MaxValue;
    }

    private bool LeadsToOptional(uint symbol, ulong address)
    {
        uint target = run.Data.Symbol(symbol).Object;
        if (_isInner || target == MatchFormat.None || (run.Data.Object(target).Flags & ObjectFlags.Optional) == ObjectFlags.None)
            return true;
        Walk inner = new(run, target) { _isInner = true };
        inner.StartWalk(address);
        return inner.WalkOps(run.Data.OpsOf(run.Data.Object(target))) == MatchReason.Matched;
    }

    private int JumpPadding(MatchOp op, int length)
    {
        Span<byte> found = stackalloc byte[8];
        if (op.Kind != (byte)BranchKind.Jmp || length >= op.Length || op.Length > 8 || _limit == ulong.MaxValue || _at + op.Length > _limit)
            return 0;
        found = found[..(op.Length - length)];
        return run.Get(_at + (ulong)length, found) && !found.ContainsAnyExcept((byte)0xcc) ? found.Length : 0;
    }

    private MatchReason WalkBranch(MatchOp op)
    {
        int length = run.BranchAt(_at, op.Kind, out ulong target);
        if (length == 0)
            return Different(op.Symbol);
        if (op.Kind == (byte)BranchKind.Call)
            target = run.Called(target);
        var reason = Meet(op.Symbol, target - (ulong)op.Value);
        if (reason == MatchReason.Matched && !LeadsToOptional(op.Symbol, target - (ulong)op.Value))
            return Different(op.Symbol);
        _at += (ulong)(length + JumpPadding(op, length));
        return reason;
    }

    private void WalkNops(ReadOnlySpan<MatchOp> ops)
    {
        int next = 1;
        while (next < ops.Length && ops[next].Op is OpCode.Label or OpCode.Bug or OpCode.Exception)
            next += CheckedMatchData.Extent(ops[next]);
        OpCode? code = next < ops.Length ? ops[next].Op : null;
        for (ulong start = _at; _at - start < MatchFormat.MaximalNops; )
        {
            int length = run.NopLength(_at, _limit);
            if (
                length == 0
                || run.Memory.Tables.JumpLabels.ContainsKey(_at)
                || run.Memory.Tables.StaticCalls.ContainsKey(_at)
                || (code is OpCode.Alternative or OpCode.Paravirt or OpCode.Fentry or OpCode.Endbr && _at - start >= ops[0].Length)
            )
                return;
            _at += (ulong)length;
        }
    }

    // An op, and behind it what its range has; those that belong to it come first.
    private MatchReason WalkOp(ReadOnlySpan<MatchOp> ops)
    {
        var op = ops[0];
        switch (op.Op)
        {
            case OpCode.Literal:
                return WalkLiteral(op);
            case OpCode.Field:
                return WalkField(op);
            case OpCode.Branch:
                return WalkBranch(op);
            case OpCode.Nops:
                WalkNops(ops);
                return MatchReason.Matched;
            case OpCode.Label:
                return Meet(op.Symbol, _at);
            case OpCode.Fentry:
                return WalkFentry(op);
            case OpCode.Alternative:
                return WalkAlternative(ops);
            case OpCode.Paravirt:
                return WalkParavirt(ops);
            case OpCode.Lock:
                return WalkLock();
            case OpCode.JumpLabel:
                return WalkJumpLabel(op, ops[1]);
            case OpCode.StaticCall:
                return WalkStaticCall(op, ops[1]);
            case OpCode.Retpoline:
                return WalkRetpoline(op);
            case OpCode.Return:
                return WalkReturn(op);
            case OpCode.Endbr:
                return WalkEndbr();
            case OpCode.Bug:
                return WalkBug(ops);
            case OpCode.Exception:
                return WalkException(op);
            default:
                return Differ(MatchReason.BadData, _at, MatchFormat.None, []);
        }
    }

    private MatchReason WalkOps(ReadOnlySpan<MatchOp> ops)
    {
        for (int i = 0; i < ops.Length; i += CheckedMatchData.Extent(ops[i]))
        {
            if (!_inBody && ops[i].Op is not (OpCode.Label or OpCode.Fentry or OpCode.Endbr))
            {
                _inBody = true;
                _jump = _at;
            }
            var reason = WalkOp(ops[i..]);
            if (reason != MatchReason.Matched)
                return reason;
            _pre += ops[i].Length;
        }
        return MatchReason.Matched;
    }

    public MatchReason WalkObject(ulong address)
    {
        ref readonly var entry = ref run.Data.Object(index);
        StartWalk(address);
        var reason = Meet(entry.Symbol, address);
        if (reason == MatchReason.Matched)
            reason = WalkOps(run.Data.OpsOf(entry));
        if (reason == MatchReason.Matched && entry.Kind == ObjectKind.Text && !CountsExceptions())
            reason = Different(MatchFormat.None);
        if (reason == MatchReason.Matched && entry.Function != MatchFormat.None)
        {
            if (!_inBody)
                _jump = _at;
            if (_obstacle == 0 && _at - _jump < MatchFormat.JumpSize)
                _obstacle = _at;
            if (_obstacle != 0 && _fentry != 0)
            {
                _jump = 0;
            }
            else if (_obstacle != 0)
            {
                Failure = default;
                reason = Differ(MatchReason.NoRoom, _jump, MatchFormat.None, []);
            }
        }
        if (reason == MatchReason.Matched)
            run.Matched[index] = new Matched(_at, _jump, _fentry);
        return reason;
    }
}
