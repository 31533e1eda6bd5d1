// SPDX-License-Identifier: MIT
// match/walk.c once more: the walk of one object over run bytes, op by op.
using System.Buffers.Binary;
using System.Collections.Immutable;

namespace Ksplice.Build.Matching;

/// <summary>A place where the run code is not the pre code.</summary>
internal readonly record struct Mismatch(
    MatchReason Reason,
    ulong Address,
    uint Offset,
    string? Symbol,
    ImmutableArray<byte> Expected,
    ImmutableArray<byte> Found
);

/// <summary>One walk of an object over run bytes, from one address (struct walk).</summary>
internal sealed partial class ObjectWalk(MatchRun run, uint index)
{
    private ulong _at;
    private ulong _limit = ulong.MaxValue;
    private uint _pre;
    private bool _isInner;
    private bool _inBody;
    private ulong _jump;
    private ulong _fentry;
    private ulong _obstacle;

    public Mismatch Failure { get; private set; }

    public MatchReason Object(ulong address)
    {
        ref readonly var entry = ref run.Data.Object(index);
        _at = address;
        var reason = Meet(entry.Symbol, address);
        if (reason == MatchReason.Matched)
            reason = Ops(run.Data.Ops.Slice((int)entry.Op, (int)entry.OpCount));
        if (reason == MatchReason.Matched && entry.Kind == ObjectKind.Text && !CountsExceptions(entry, address))
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
            run.Matched[index] = new MatchedObject(_at, _jump, _fentry);
        return reason;
    }

    private MatchReason Differ(MatchReason reason, ulong address, uint symbol, ReadOnlySpan<byte> expected)
    {
        if (Failure.Reason != MatchReason.Matched && Failure.Address > address)
            return reason;
        if (reason == MatchReason.Different && IsProbedNear(address))
            reason = MatchReason.Probed;
        int shown = expected.Length is > 0 and < MatchFormat.Shown ? expected.Length : MatchFormat.Shown;
        var found = new byte[shown];
        while (shown != 0 && !run.Get(address, found.AsSpan(0, shown)))
            shown--;
        Failure = new Mismatch(
            reason,
            address,
            _pre,
            symbol == MatchFormat.None ? null : run.NameOf(symbol),
            [.. expected[..Math.Min(expected.Length, MatchFormat.Shown)]],
            [.. found.AsSpan(0, shown)]
        );
        return reason;
    }

    private MatchReason Different(uint symbol) => Differ(MatchReason.Different, _at, symbol, []);

    private bool IsProbedNear(ulong address)
    {
        for (ulong at = address; address - at < MatchFormat.JumpSize; at--)
        {
            if (run.Memory.IsProbed(at))
                return true;
        }
        return false;
    }

    private MatchReason Meet(uint index, ulong value)
    {
        ref readonly var symbol = ref run.Data.Symbol(index);
        if (symbol.Kind == SymbolKind.Content)
        {
            if (!run.Holds(symbol, value))
                return Differ(MatchReason.Different, _at, index, run.Data.Bytes.Slice((int)symbol.Content, (int)symbol.ContentSize));
            if (run.Known[index])
                return MatchReason.Matched;
        }
        if (run.Known[index])
        {
            if (run.Values[index] == value)
                return MatchReason.Matched;
            Span<byte> known = stackalloc byte[8];
            BinaryPrimitives.WriteUInt64LittleEndian(known, run.Values[index]);
            return Differ(MatchReason.Conflict, _at, index, known);
        }
        if (
            (symbol.Flags & SymbolFlags.Named) != 0
            && !run.IsCandidate(index, value, out bool any)
            && (any || (symbol.Flags & SymbolFlags.Global) != 0)
        )
            return Differ(MatchReason.Conflict, _at, index, []);
        run.Known[index] = true;
        run.Values[index] = value;
        run.Journal.Add(index);
        return MatchReason.Matched;
    }

    private bool OnlyNops()
    {
        while (_at < _limit)
        {
            int length = run.NopLength(_at, _limit);
            if (length == 0)
                return false;
            _at += (ulong)length;
        }
        return true;
    }

    private MatchReason Ops(ReadOnlySpan<MatchOp> ops)
    {
        for (int i = 0; i < ops.Length; i += MatchProgram.Extent(ops[i]))
        {
            if (!_inBody && ops[i].Op is not (OpCode.Label or OpCode.Fentry or OpCode.Endbr))
            {
                _inBody = true;
                _jump = _at;
            }
            var reason = One(ops[i..]);
            if (reason != MatchReason.Matched)
                return reason;
            _pre += ops[i].Length;
        }
        return MatchReason.Matched;
    }

    private MatchReason One(ReadOnlySpan<MatchOp> ops)
    {
        var op = ops[0];
        switch (op.Op)
        {
            case OpCode.Literal:
                return Literal(op);
            case OpCode.Field:
                return Field(op);
            case OpCode.Branch:
                return Branch(op);
            case OpCode.Nops:
                return Nops(ops);
            case OpCode.Label:
                return Meet(op.Symbol, _at);
            case OpCode.Fentry:
                return FentrySite(op);
            case OpCode.Alternative:
                return Alternative(ops);
            case OpCode.Paravirt:
                return Paravirt(ops);
            case OpCode.Lock:
                return Lock();
            case OpCode.JumpLabel:
                return JumpLabel(op, ops[1]);
            case OpCode.StaticCall:
                return StaticCall(op, ops[1]);
            case OpCode.Retpoline:
                return Retpoline(op);
            case OpCode.Return:
                return Return(op);
            case OpCode.Endbr:
                return EndbrSite();
            case OpCode.Bug:
                return Bug(op);
            case OpCode.Exception:
                return Exception(op);
            default:
                return Differ(MatchReason.BadData, _at, MatchFormat.None, []);
        }
    }

    private MatchReason Literal(MatchOp op)
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

    private MatchReason Field(MatchOp op)
    {
        if (op.Kind == (byte)FieldKind.Abs8)
            return ByteField(op);
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

    private MatchReason ByteField(MatchOp op)
    {
        Span<byte> value = stackalloc byte[1];
        if (!run.Get(_at, value))
            return Differ(MatchReason.Unreadable, _at, op.Symbol, []);
        var reason = Meet(op.Symbol, value[0] - (ulong)op.Value);
        _at++;
        return reason;
    }

    private MatchReason Branch(MatchOp op)
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

    private int JumpPadding(MatchOp op, int length)
    {
        Span<byte> found = stackalloc byte[8];
        if (op.Kind != (byte)BranchKind.Jmp || length >= op.Length || op.Length > 8 || _limit == ulong.MaxValue || _at + op.Length > _limit)
            return 0;
        found = found[..(op.Length - length)];
        return run.Get(_at + (ulong)length, found) && !found.ContainsAnyExcept((byte)0xcc) ? found.Length : 0;
    }

    private bool LeadsToOptional(uint symbol, ulong address)
    {
        uint target = run.Data.Symbol(symbol).Object;
        if (_isInner || target == MatchFormat.None || (run.Data.Object(target).Flags & ObjectFlags.Optional) == 0)
            return true;
        ref readonly var entry = ref run.Data.Object(target);
        ObjectWalk inner = new(run, target) { _at = address, _isInner = true };
        return inner.Ops(run.Data.Ops.Slice((int)entry.Op, (int)entry.OpCount)) == MatchReason.Matched;
    }

    private MatchReason Nops(ReadOnlySpan<MatchOp> ops)
    {
        int next = 1;
        while (next < ops.Length && ops[next].Op is OpCode.Label or OpCode.Bug or OpCode.Exception)
            next++;
        var code = next < ops.Length ? ops[next].Op : 0;
        for (ulong start = _at; _at - start < MatchFormat.MaximalNops; )
        {
            int length = run.NopLength(_at, _limit);
            if (
                length == 0
                || (code == OpCode.JumpLabel && run.Memory.Tables.JumpLabels.ContainsKey(_at))
                || (code == OpCode.StaticCall && run.Memory.Tables.StaticCalls.ContainsKey(_at))
                || (code is OpCode.Alternative or OpCode.Paravirt or OpCode.Fentry or OpCode.Endbr && _at - start >= ops[0].Length)
            )
                break;
            _at += (ulong)length;
        }
        return MatchReason.Matched;
    }
}
