// SPDX-License-Identifier: MIT
// match/sites.c: places that the kernel rewrites in its own text.
namespace Ksplice.Build.Matching.Interpreter;

internal sealed partial class Walk
{
    private static readonly byte[] Nop5 = [0x0f, 0x1f, 0x44, 0x00, 0x00];
    private static readonly byte[] Zero = [0x2e, 0x2e, 0x2e, 0x31, 0xc0];
    private static readonly byte[] Ret = [0xc3, 0xcc, 0xcc, 0xcc, 0xcc];
    private static readonly byte[] Trap = [0x67, 0x48, 0x0f, 0xb9, 0x3a];
    public static readonly byte[] Endbr = [0xf3, 0x0f, 0x1e, 0xfa];
    private static readonly byte[] Sealed = [0x66, 0x0f, 0x1f, 0x00];
    private static readonly byte[] NewerSealed = [0x0f, 0x1f, 0x40, 0xd6]; // K29

    private void NoteLiveSite(int length)
    {
        if (_inBody && _at < _jump + MatchFormat.JumpSize && _at + (ulong)length > _jump && _obstacle == 0)
            _obstacle = _at;
    }

    private MatchReason WalkFentry(MatchOp op)
    {
        Span<byte> found = stackalloc byte[5];
        if (!run.Get(_at, found))
            return Differ(MatchReason.Unreadable, _at, op.Symbol, Nop5);
        if (
            !found.SequenceEqual(Nop5)
            && !(run.BranchAt(_at, (byte)BranchKind.Call, out ulong target) != 0 && run.Memory.IsFtraceTarget(_at, target))
        )
            return Differ(MatchReason.Different, _at, op.Symbol, Nop5);
        _fentry = _at;
        _at += 5;
        return MatchReason.Matched;
    }

    private MatchReason WalkPadded(ReadOnlySpan<MatchOp> ops)
    {
        var reason = WalkOps(ops);
        if (reason != MatchReason.Matched)
            return reason;
        return _at <= _limit && OnlyNops() && _at == _limit ? MatchReason.Matched : Different(MatchFormat.None);
    }

    private MatchReason WalkAlternative(ReadOnlySpan<MatchOp> ops)
    {
        ulong at = _at,
            limit = _limit;
        uint pre = _pre;
        int mark = run.Journal.Count;
        var reason = MatchReason.Different;
        for (int variant = 1, end = 1 + (int)ops[0].Value; variant < end; variant += CheckedMatchData.Extent(ops[variant]))
        {
            _at = at;
            _pre = pre;
            _limit = at + ops[0].Length;
            reason = WalkPadded(ops.Slice(variant + 1, (int)ops[variant].Value));
            if (reason == MatchReason.Matched)
                break;
            run.Forget(mark);
        }
        _pre = pre;
        _limit = limit;
        return reason;
    }

    private MatchReason WalkParavirt(ReadOnlySpan<MatchOp> ops)
    {
        var op = ops[0];
        ulong at = _at,
            limit = _limit;
        uint pre = _pre;
        int mark = run.Journal.Count;
        _limit = at + op.Length;
        var reason = WalkPadded(ops.Slice(1, (int)op.Value));
        if (reason != MatchReason.Matched)
        {
            run.Forget(mark);
            _at = at;
            if (IsPatchedParavirt(op))
                reason = MatchReason.Matched;
        }
        _pre = pre;
        _limit = limit;
        return reason;
    }

    // What ksp_walk_paravirt does when the original is not there.
    private bool IsPatchedParavirt(MatchOp op)
    {
        ulong table = run.Values[op.Symbol];
        if ((!run.Known[op.Symbol] && run.FindUnique(op.Symbol, out table) != 1) || !run.GetUInt64(table + op.Kind * 8ul, out ulong entry))
            return false;
        int length = run.BranchAt(_at, (byte)BranchKind.Call, out ulong target);
        if (length != 0)
            target = run.Called(target);
        if (length != 0 && (target == entry || (entry == 0 && run.Plays(SymbolRole.ParavirtBug, target))))
            _at += (ulong)length;
        else if (!run.Plays(SymbolRole.ParavirtNop, entry))
            return false;
        return OnlyNops() && _at == _limit;
    }

    private MatchReason WalkLock()
    {
        Span<byte> found = stackalloc byte[1];
        if (!run.Get(_at, found) || found[0] is not (0xf0 or 0x3e))
            return Differ(MatchReason.Different, _at, MatchFormat.None, [0xf0]);
        // It becomes f0 when a second processor comes, and is never taken away again.
        if (found[0] == 0x3e)
            NoteLiveSite(1);
        _at++;
        return MatchReason.Matched;
    }

    private MatchReason WalkJumpLabel(MatchOp op, MatchOp keyOp)
    {
        if (!run.Memory.Tables.JumpLabels.TryGetValue(_at, out var label) || (label.Key & 1) != op.Kind)
            return Different(keyOp.Symbol);
        var (target, key) = label;
        int length = run.BranchAt(_at, (byte)BranchKind.Jmp, out ulong jump);
        if (length != 0)
        {
            if (jump != target)
                return Different(op.Symbol);
        }
        else
        {
            length = run.NopLength(_at, _limit);
            if (length is not (2 or 5))
                return Different(op.Symbol);
        }
        var reason = Meet(op.Symbol, target - (ulong)op.Value);
        if (reason == MatchReason.Matched)
            reason = Meet(keyOp.Symbol, (key & ~3ul) - (ulong)keyOp.Value);
        NoteLiveSite(length);
        _at += (ulong)length;
        return reason;
    }

    private MatchReason WalkStaticCall(MatchOp op, MatchOp keyOp)
    {
        Span<byte> found = stackalloc byte[5];
        if (
            !run.Memory.Tables.StaticCalls.TryGetValue(_at, out ulong key)
            || !run.GetUInt64(key, out ulong function)
            || !run.Get(_at, found)
        )
            return Different(keyOp.Symbol);
        MatchReason reason;
        int length = run.BranchAt(_at, op.Kind, out ulong target);
        if (length != 0)
        {
            if (op.Kind == (byte)BranchKind.Call)
                target = run.Called(target);
            if (
                target != function
                && !(function == 0 && (run.Plays(SymbolRole.ReturnThunk, target) || run.Plays(SymbolRole.StaticReturn, target)))
            )
            {
                reason = Meet(op.Symbol, target - (ulong)op.Value);
                if (reason != MatchReason.Matched)
                    return reason;
            }
        }
        else
        {
            length = 5;
            if (
                !(found.SequenceEqual(Nop5) && function == 0)
                && !(found.SequenceEqual(Ret) && function == 0)
                && !(found.SequenceEqual(Zero) && run.Plays(SymbolRole.StaticReturn0, function))
                && !(op.Kind == (byte)BranchKind.Call && found.SequenceEqual(Trap) && run.Plays(SymbolRole.WarnTrap, function))
            )
                return Different(op.Symbol);
        }
        reason = Meet(keyOp.Symbol, key - (ulong)keyOp.Value);
        NoteLiveSite(length);
        _at += (ulong)length;
        return reason;
    }

    private MatchReason WalkRetpoline(MatchOp op)
    {
        bool jump = op.Kind is (byte)BranchKind.Jmp or (byte)BranchKind.CsJmp;
        ulong at = _at,
            end = at + op.Length,
            limit = _limit;
        int length = run.BranchAt(at, op.Kind, out ulong target);
        if (length != 0 && length == op.Length)
        {
            var reason = op.Kind >= 16 && run.IsThunkOf(target, (int)op.Value, jump) ? MatchReason.Matched : Meet(op.Symbol, target);
            _at = end;
            return reason;
        }
        Span<byte> code = stackalloc byte[3];
        if (op.Kind < 16 || !run.Get(at, code))
            return Different(op.Symbol);
        if (code.SequenceEqual<byte>([0x0f, 0xae, 0xe8]))
        {
            _at += 3;
            if (!run.Get(_at, code))
                return Different(op.Symbol);
        }
        bool good = true;
        if (op.Value >= 8)
        {
            good = code[0] == 0x41;
            _at++;
            code = code[1..];
        }
        good = good && code[0] == 0xff && code[1] == ((jump ? 0xe0 : 0xd0) | (int)(op.Value & 7));
        _at += 2;
        _limit = end;
        if (good && jump && _at < end && run.Get(_at, code[..1]) && code[0] == 0xcc)
            _at++;
        good = good && _at <= end && OnlyNops() && _at == end;
        _limit = limit;
        if (good)
            return MatchReason.Matched;
        _at = at;
        return Different(op.Symbol);
    }

    private bool ReturnsGoTo(ulong target)
    {
        if (!run.Plays(SymbolRole.ReturnThunk, target))
            return false;
        for (uint i = 0; i < run.Data.Symbols.Length; i++)
        {
            if (run.Data.Symbol(i).Role == SymbolRole.ReturnPointer && run.FindUnique(i, out ulong pointer) == 1)
                return run.GetUInt64(pointer, out ulong thunk) && thunk == target;
        }
        return true;
    }

    private bool IsReturnThunk(ulong target)
    {
        if (run.Thunk != target && ReturnsGoTo(target))
            run.Thunk = target;
        return target != 0 && run.Thunk == target;
    }

    private MatchReason WalkReturn(MatchOp op)
    {
        int length = run.BranchAt(_at, (byte)BranchKind.Jmp, out ulong target);
        if (length == op.Length)
        {
            if (!IsReturnThunk(target))
                return Different(op.Symbol);
            _at += (ulong)length;
            return MatchReason.Matched;
        }
        Span<byte> code = stackalloc byte[8];
        if (
            op.Length > code.Length
            || !run.Get(_at, code[..op.Length])
            || code[0] != 0xc3
            || code[1..op.Length].ContainsAnyExcept((byte)0xcc)
        )
            return Different(op.Symbol);
        _at += op.Length;
        return MatchReason.Matched;
    }

    private MatchReason WalkEndbr()
    {
        Span<byte> found = stackalloc byte[4];
        if (!run.Get(_at, found) || (!found.SequenceEqual(Endbr) && !found.SequenceEqual(Sealed) && !found.SequenceEqual(NewerSealed)))
            return Differ(MatchReason.Different, _at, MatchFormat.None, Endbr);
        _at += 4;
        return MatchReason.Matched;
    }
}
