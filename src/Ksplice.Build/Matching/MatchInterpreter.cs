// match/match.c once more, over a kernel image: the same algorithm, function by function, so that one can be read beside
// the other; what each part is for is said there. Tests hold the two against each other.
using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Runtime.InteropServices;

namespace Ksplice.Build.Matching;

/// <summary>Run-pre matching (paper, section 4): finds the objects of match data in a kernel's memory.</summary>
public sealed class MatchInterpreter
{
    private const int BlockSize = 64;
    private const int MaximalDepth = 4;
    private const int MaximalNop = 15;

    private readonly IMatchMemory _memory;
    private readonly MatchProgram _data;
    private readonly ulong[] _values;
    private readonly bool[] _known;
    private readonly List<uint> _journal = [];
    private readonly bool[] _done;
    private readonly ulong[] _ends;
    private readonly byte[] _window = new byte[BlockSize];
    private ulong _block = 1;

    private MatchInterpreter(MatchProgram data, IMatchMemory memory)
    {
        _memory = memory;
        _data = data;
        _values = new ulong[data.Symbols.Length];
        _known = new bool[data.Symbols.Length];
        _done = new bool[data.Objects.Length];
        _ends = new ulong[data.Objects.Length];
    }

    /// <summary>Matches <paramref name="matchData"/> against <paramref name="memory"/>.</summary>
    public static MatchResult Match(ReadOnlySpan<byte> matchData, IMatchMemory memory)
    {
        ArgumentNullException.ThrowIfNull(memory);
        return MatchProgram.Read(matchData) is { } data
            ? new MatchInterpreter(data, memory).Run()
            : Failed(new MatchFailure(MatchReason.BadData, "", "", null, 0, 0, 0, [], []));
    }

    private static MatchResult Failed(MatchFailure failure) => new(failure, [], [], []);

    private MatchResult Run()
    {
        var exports = new ulong[_data.Header.ExportCount];
        if ((Settle() ?? FillExports(exports)) is { } failure)
            return Failed(failure);
        var functions = new RunFunction[_data.Header.FunctionCount];
        List<RunRange> ranges = [];
        for (uint i = 0; i < _data.Objects.Length; i++)
        {
            ref readonly var entry = ref _data.Objects[i];
            if ((entry.Flags & ObjectFlags.Replaced) == 0)
                continue;
            ulong start = _values[entry.Symbol];
            ranges.Add(new RunRange(_data.Name(entry.Name), start, _ends[i]));
            if (entry.Function == MatchFormat.None)
                continue;
            Walk walk = new(this, i);
            int mark = _journal.Count;
            if (walk.Object(start) != MatchReason.Matched)
                return Failed(Failure(i, walk.Failure, walk.Failure.Reason, 1));
            Forget(mark);
            var bytes = new byte[MatchFormat.JumpSize];
            if (!Get(walk.Jump, bytes))
                return Failed(Failure(i, null, MatchReason.Unreadable, 1));
            functions[entry.Function] = new RunFunction(_data.Name(entry.Name), start, _ends[i], walk.Jump, walk.Fentry, [.. bytes]);
        }
        return new MatchResult(null, [.. exports], [.. functions], [.. ranges]);
    }

    // Memory

    private bool Get(ulong address, Span<byte> to)
    {
        while (!to.IsEmpty)
        {
            ulong block = address & ~(ulong)(BlockSize - 1);
            int skip = (int)(address - block), part = Math.Min(BlockSize - skip, to.Length);
            if (_block != block)
            {
                _block = 1;
                if (!_memory.TryRead(block, _window))
                    return false;
                _block = block;
            }
            _window.AsSpan(skip, part).CopyTo(to);
            to = to[part..];
            address += (ulong)part;
        }
        return true;
    }

    private bool GetUInt64(ulong address, out ulong value)
    {
        Span<byte> bytes = stackalloc byte[8];
        bool read = Get(address, bytes);
        value = BinaryPrimitives.ReadUInt64LittleEndian(bytes);
        return read;
    }

    private bool GetInt32(ulong address, out int value)
    {
        Span<byte> bytes = stackalloc byte[4];
        bool read = Get(address, bytes);
        value = BinaryPrimitives.ReadInt32LittleEndian(bytes);
        return read;
    }

    // Symbols

    private string? NameOf(uint symbol) => _data.Name(_data.Symbols[symbol].Name) is { Length: > 0 } name ? name : null;

    private bool IsCandidate(uint symbol, ulong address, out bool any)
    {
        var candidates = NameOf(symbol) is { } name ? _memory.Candidates(name) : [];
        any = candidates.Count != 0;
        return candidates.Contains(address);
    }

    private int FindUnique(uint symbol, out ulong address)
    {
        var candidates = NameOf(symbol) is { } name ? _memory.Candidates(name) : [];
        address = candidates.Count == 0 ? 0 : candidates[0];
        return Math.Min(candidates.Distinct().Count(), 2);
    }

    private bool Plays(SymbolRole role, ulong address)
    {
        for (uint i = 0; i < _data.Symbols.Length; i++)
        {
            if (_data.Symbols[i].Role == role && IsCandidate(i, address, out _))
                return true;
        }
        return false;
    }

    private bool Holds(in MatchSymbol symbol, ulong address)
    {
        var content = _data.Bytes.AsSpan((int)symbol.Content, (int)symbol.ContentSize);
        var found = new byte[content.Length];
        return Get(address, found) && content.SequenceEqual(found);
    }

    private void Forget(int mark)
    {
        while (_journal.Count > mark)
        {
            _known[_journal[^1]] = false;
            _journal.RemoveAt(_journal.Count - 1);
        }
    }

    // Rounds

    private MatchFailure Failure(uint index, Mismatch? why, MatchReason reason, int candidates, string? symbol = null)
    {
        ref readonly var entry = ref _data.Objects[index];
        return new MatchFailure(reason, _data.Name(entry.Unit), _data.Name(entry.Name), why?.Symbol ?? symbol, why?.Address ?? 0, why?.Offset ?? 0,
            candidates, why?.Expected ?? [], why?.Found ?? []);
    }

    private MatchFailure? TryCandidates(uint index, out int survivors)
    {
        string? name = NameOf(_data.Objects[index].Symbol);
        var candidates = name is null ? [] : _memory.Candidates(name).Distinct().ToList();
        survivors = 0;
        if (candidates.Count == 0)
            return Failure(index, null, MatchReason.NoCandidate, 0, name);
        Mismatch farthest = new();
        ulong survivor = 0, best = 0;
        int mark = _journal.Count;
        for (int i = 0; i < candidates.Count; i++)
        {
            Walk walk = new(this, index);
            if (walk.Object(candidates[i]) == MatchReason.Matched)
            {
                survivor = candidates[i];
                survivors++;
            }
            else if (i == 0 || walk.Failure.Address - candidates[i] >= best)
            {
                best = walk.Failure.Address - candidates[i];
                farthest = walk.Failure;
            }
            Forget(mark);
        }
        if (survivors == 0)
            return Failure(index, farthest, farthest.Reason, candidates.Count);
        if (survivors == 1)
        {
            new Walk(this, index).Object(survivor);
            _done[index] = true;
        }
        return null;
    }

    private MatchFailure? Settle()
    {
        int pending, settled, survivorsOfFirst = 0;
        uint first = 0;
        do
        {
            pending = settled = 0;
            for (uint i = 0; i < _data.Objects.Length; i++)
            {
                if (_done[i])
                    continue;
                uint symbol = _data.Objects[i].Symbol;
                int survivors = 0;
                if (_known[symbol])
                {
                    Walk walk = new(this, i);
                    if (walk.Object(_values[symbol]) != MatchReason.Matched)
                        return Failure(i, walk.Failure, walk.Failure.Reason, 1);
                    _done[i] = true;
                }
                else if (_data.Objects[i].Kind == ObjectKind.Text && TryCandidates(i, out survivors) is { } failure)
                {
                    return failure;
                }
                if (_done[i])
                {
                    settled++;
                }
                else if (pending++ == 0)
                {
                    first = i;
                    survivorsOfFirst = survivors;
                }
            }
        }
        while (pending != 0 && settled != 0);
        return pending == 0 ? null
            : Failure(first, null, survivorsOfFirst != 0 ? MatchReason.Ambiguous : MatchReason.Unresolved, survivorsOfFirst, NameOf(_data.Objects[first].Symbol));
    }

    private MatchFailure? FillExports(ulong[] exports)
    {
        for (uint i = 0; i < _data.Symbols.Length; i++)
        {
            ref readonly var symbol = ref _data.Symbols[i];
            if (symbol.Export == MatchFormat.None)
                continue;
            int found = 0;
            if (_known[i])
                exports[symbol.Export] = _values[i];
            else if ((symbol.Flags & SymbolFlags.ByName) == 0 || (found = FindUnique(i, out exports[symbol.Export])) != 1)
                return new MatchFailure(found != 0 ? MatchReason.Ambiguous : MatchReason.Unresolved, "", "", NameOf(i), 0, 0, found, [], []);
        }
        return null;
    }

    private readonly record struct Mismatch(MatchReason Reason, ulong Address, uint Offset, string? Symbol, ImmutableArray<byte> Expected, ImmutableArray<byte> Found);

    /// <summary>One walk of an object over run bytes.</summary>
    private sealed class Walk(MatchInterpreter run, uint index)
    {
        private static readonly byte[] Nop5 = [0x0f, 0x1f, 0x44, 0x00, 0x00];
        private static readonly byte[] Zero = [0x2e, 0x2e, 0x2e, 0x31, 0xc0];
        private static readonly byte[] Ret = [0xc3, 0xcc, 0xcc, 0xcc, 0xcc];
        private static readonly byte[] Endbr = [0xf3, 0x0f, 0x1e, 0xfa];
        private static readonly byte[] Sealed = [0x66, 0x0f, 0x1f, 0x00];

        private ulong _at;
        private ulong _limit = ulong.MaxValue;
        private uint _pre;
        private bool _inBody;
        private ulong _obstacle;

        public ulong Jump { get; private set; }

        public ulong Fentry { get; private set; }

        public Mismatch Failure { get; private set; }

        public MatchReason Object(ulong address)
        {
            ref readonly var entry = ref run._data.Objects[index];
            _at = address;
            var reason = Meet(entry.Symbol, address);
            if (reason == MatchReason.Matched)
                reason = Ops(run._data.Ops.AsSpan((int)entry.Op, (int)entry.OpCount));
            if (reason == MatchReason.Matched && entry.Function != MatchFormat.None)
            {
                if (!_inBody)
                    Jump = _at;
                if (_obstacle == 0 && _at - Jump < MatchFormat.JumpSize)
                    _obstacle = _at;
                if (_obstacle != 0)
                {
                    Failure = default;
                    reason = Differ(MatchReason.NoRoom, Jump, MatchFormat.None, []);
                }
            }
            if (reason == MatchReason.Matched)
                run._ends[index] = _at;
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
            Failure = new Mismatch(reason, address, _pre, symbol == MatchFormat.None ? null : run.NameOf(symbol),
                [.. expected[..Math.Min(expected.Length, MatchFormat.Shown)]], [.. found.AsSpan(0, shown)]);
            return reason;
        }

        private MatchReason Different(uint symbol) => Differ(MatchReason.Different, _at, symbol, []);

        private bool IsProbedNear(ulong address)
        {
            for (ulong at = address; address - at < MatchFormat.JumpSize; at--)
            {
                if (run._memory.IsProbed(at))
                    return true;
            }
            return false;
        }

        private MatchReason Meet(uint index, ulong value)
        {
            ref readonly var symbol = ref run._data.Symbols[index];
            if (symbol.Kind == SymbolKind.Content)
            {
                if (!run.Holds(symbol, value))
                    return Differ(MatchReason.Different, _at, index, run._data.Bytes.AsSpan((int)symbol.Content, (int)symbol.ContentSize));
                if (run._known[index])
                    return MatchReason.Matched;
            }
            if (run._known[index])
            {
                if (run._values[index] == value)
                    return MatchReason.Matched;
                Span<byte> known = stackalloc byte[8];
                BinaryPrimitives.WriteUInt64LittleEndian(known, run._values[index]);
                return Differ(MatchReason.Conflict, _at, index, known);
            }
            if ((symbol.Flags & SymbolFlags.Named) != 0 && !run.IsCandidate(index, value, out bool any) && any)
                return Differ(MatchReason.Conflict, _at, index, []);
            run._known[index] = true;
            run._values[index] = value;
            run._journal.Add(index);
            return MatchReason.Matched;
        }

        // Instructions

        private int NopLength(ulong address)
        {
            Span<byte> code = stackalloc byte[MaximalNop];
            int length = 0;
            while (length < MaximalNop && address + (ulong)length < _limit && run.Get(address + (ulong)length, code.Slice(length, 1)))
                length++;
            return ProgramWriter.NopLength(code[..length]);
        }

        private bool OnlyNops()
        {
            while (_at < _limit)
            {
                int length = NopLength(_at);
                if (length == 0)
                    return false;
                _at += (ulong)length;
            }
            return true;
        }

        private int BranchAt(ulong at, byte kind, out ulong target)
        {
            target = 0;
            Span<byte> code = stackalloc byte[2];
            int prefix = 0;
            if (kind is (byte)BranchKind.CsJmp or (byte)BranchKind.CsCall)
            {
                if (!run.Get(at, code[..1]) || code[0] != 0x2e)
                    return 0;
                prefix = 1;
                kind = (byte)(kind == (byte)BranchKind.CsJmp ? BranchKind.Jmp : BranchKind.Call);
            }
            if (!run.Get(at + (ulong)prefix, code))
                return 0;
            if ((kind < 16 && code[0] == (0x70 | kind)) || (kind == (byte)BranchKind.Jmp && code[0] == 0xeb)
                || (kind is >= (byte)BranchKind.Loopne and <= (byte)BranchKind.Jrcxz && code[0] == 0xe0 + kind - (byte)BranchKind.Loopne))
            {
                target = at + (ulong)prefix + 2 + (ulong)(long)(sbyte)code[1];
                return prefix + 2;
            }
            if (kind < 16 && code[0] == 0x0f && code[1] == (0x80 | kind))
                prefix += 2;
            else if ((kind == (byte)BranchKind.Jmp && code[0] == 0xe9) || (kind == (byte)BranchKind.Call && code[0] == 0xe8))
                prefix += 1;
            else
                return 0;
            if (!run.GetInt32(at + (ulong)prefix, out int far))
                return 0;
            target = at + (ulong)prefix + 4 + (ulong)(long)far;
            return prefix + 4;
        }

        private void NoteLiveSite(int length)
        {
            if (_inBody && _at < Jump + MatchFormat.JumpSize && _at + (ulong)length > Jump && _obstacle == 0)
                _obstacle = _at;
        }

        // Ops

        private MatchReason Ops(ReadOnlySpan<MatchOp> ops)
        {
            for (int i = 0; i < ops.Length; i += MatchProgram.Extent(ops[i]))
            {
                if (!_inBody && ops[i].Op is not (OpCode.Label or OpCode.Fentry or OpCode.Endbr))
                {
                    _inBody = true;
                    Jump = _at;
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
                case OpCode.Literal: return Literal(op);
                case OpCode.Field: return Field(op);
                case OpCode.Branch: return Branch(op);
                case OpCode.Nops: return Nops(ops);
                case OpCode.Label: return Meet(op.Symbol, _at);
                case OpCode.Fentry: return FentrySite(op);
                case OpCode.Alternative: return Alternative(ops);
                case OpCode.Paravirt: return Paravirt(ops);
                case OpCode.Lock: return Lock();
                case OpCode.JumpLabel: return JumpLabel(op, ops[1]);
                case OpCode.StaticCall: return StaticCall(op, ops[1]);
                case OpCode.Retpoline: return Retpoline(op);
                case OpCode.Return: return Return(op);
                case OpCode.Endbr: return EndbrSite();
                default: return Differ(MatchReason.BadData, _at, MatchFormat.None, []);
            }
        }

        private MatchReason Literal(MatchOp op)
        {
            var expected = run._data.Bytes.AsSpan((int)op.Value, op.Length);
            Span<byte> buffer = stackalloc byte[BlockSize];
            for (int done = 0; done < op.Length;)
            {
                int part = Math.Min(op.Length - done, BlockSize);
                var found = buffer[..part];
                if (!run.Get(_at + (ulong)done, found))
                {
                    _pre += (uint)done;
                    return Differ(MatchReason.Unreadable, _at + (ulong)done, MatchFormat.None, expected.Slice(done, part));
                }
                int same = found.CommonPrefixLength(expected.Slice(done, part));
                if (same != part)
                {
                    _pre += (uint)(done + same);
                    return Differ(MatchReason.Different, _at + (ulong)(done + same), MatchFormat.None, expected[(done + same)..]);
                }
                done += part;
            }
            _at += op.Length;
            return MatchReason.Matched;
        }

        private MatchReason Field(MatchOp op)
        {
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

        private MatchReason Branch(MatchOp op)
        {
            int length = BranchAt(_at, op.Kind, out ulong target);
            if (length == 0)
                return Different(op.Symbol);
            var reason = Meet(op.Symbol, target - (ulong)op.Value);
            _at += (ulong)length;
            return reason;
        }

        private MatchReason Nops(ReadOnlySpan<MatchOp> ops)
        {
            int next = 1;
            while (next < ops.Length && ops[next].Op == OpCode.Label)
                next++;
            var code = next < ops.Length ? ops[next].Op : 0;
            for (ulong start = _at; _at - start < MatchFormat.MaximalNops;)
            {
                int length = NopLength(_at);
                if (length == 0
                    || (code == OpCode.JumpLabel && run._memory.TryFindJumpEntry(_at, out _, out _))
                    || (code == OpCode.StaticCall && run._memory.TryFindStaticCallKey(_at, out _))
                    || (code is OpCode.Alternative or OpCode.Paravirt or OpCode.Fentry or OpCode.Endbr && _at - start >= ops[0].Length))
                    break;
                _at += (ulong)length;
            }
            return MatchReason.Matched;
        }

        private MatchReason FentrySite(MatchOp op)
        {
            Span<byte> found = stackalloc byte[5];
            if (!run.Get(_at, found))
                return Differ(MatchReason.Unreadable, _at, op.Symbol, Nop5);
            if (!found.SequenceEqual(Nop5)
                && !(BranchAt(_at, (byte)BranchKind.Call, out ulong target) != 0 && run._memory.IsFtraceTarget(_at, target)))
                return Differ(MatchReason.Different, _at, op.Symbol, Nop5);
            Fentry = _at;
            _at += 5;
            return MatchReason.Matched;
        }

        private MatchReason Padded(ReadOnlySpan<MatchOp> ops)
        {
            var reason = Ops(ops);
            if (reason != MatchReason.Matched)
                return reason;
            return _at <= _limit && OnlyNops() && _at == _limit ? MatchReason.Matched : Different(MatchFormat.None);
        }

        private MatchReason Alternative(ReadOnlySpan<MatchOp> ops)
        {
            ulong at = _at, limit = _limit;
            uint pre = _pre;
            int mark = run._journal.Count;
            var reason = MatchReason.Different;
            for (int variant = 1, end = 1 + (int)ops[0].Value; variant < end; variant += MatchProgram.Extent(ops[variant]))
            {
                _at = at;
                _pre = pre;
                _limit = at + ops[0].Length;
                reason = Padded(ops.Slice(variant + 1, (int)ops[variant].Value));
                if (reason == MatchReason.Matched)
                    break;
                run.Forget(mark);
            }
            _pre = pre;
            _limit = limit;
            return reason;
        }

        private MatchReason Paravirt(ReadOnlySpan<MatchOp> ops)
        {
            var op = ops[0];
            ulong at = _at, limit = _limit;
            uint pre = _pre;
            int mark = run._journal.Count;
            _limit = at + op.Length;
            var reason = Padded(ops.Slice(1, (int)op.Value));
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

        private bool IsPatchedParavirt(MatchOp op)
        {
            ulong table = run._values[op.Symbol];
            if ((!run._known[op.Symbol] && run.FindUnique(op.Symbol, out table) != 1) || !run.GetUInt64(table + op.Kind * 8ul, out ulong entry))
                return false;
            int length = BranchAt(_at, (byte)BranchKind.Call, out ulong target);
            if (length != 0 && (target == entry || (entry == 0 && run.Plays(SymbolRole.ParavirtBug, target))))
                _at += (ulong)length;
            else if (!run.Plays(SymbolRole.ParavirtNop, entry))
                return false;
            return OnlyNops() && _at == _limit;
        }

        private MatchReason Lock()
        {
            Span<byte> found = stackalloc byte[1];
            if (!run.Get(_at, found) || found[0] is not (0xf0 or 0x3e))
                return Differ(MatchReason.Different, _at, MatchFormat.None, [0xf0]);
            _at++;
            return MatchReason.Matched;
        }

        private MatchReason JumpLabel(MatchOp op, MatchOp keyOp)
        {
            if (!run._memory.TryFindJumpEntry(_at, out ulong target, out ulong key) || (key & 1) != op.Kind)
                return Different(keyOp.Symbol);
            int length = BranchAt(_at, (byte)BranchKind.Jmp, out ulong jump);
            if (length != 0)
            {
                if (jump != target)
                    return Different(op.Symbol);
            }
            else
            {
                length = NopLength(_at);
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

        private MatchReason StaticCall(MatchOp op, MatchOp keyOp)
        {
            Span<byte> found = stackalloc byte[5];
            if (!run._memory.TryFindStaticCallKey(_at, out ulong key) || !run.GetUInt64(key, out ulong function) || !run.Get(_at, found))
                return Different(keyOp.Symbol);
            MatchReason reason;
            int length = BranchAt(_at, op.Kind, out ulong target);
            if (length != 0)
            {
                if (target != function
                    && !(function == 0 && (run.Plays(SymbolRole.ReturnThunk, target) || run.Plays(SymbolRole.StaticReturn, target))))
                {
                    reason = Meet(op.Symbol, target - (ulong)op.Value);
                    if (reason != MatchReason.Matched)
                        return reason;
                }
            }
            else
            {
                length = 5;
                if (!(found.SequenceEqual(Nop5) && function == 0) && !(found.SequenceEqual(Ret) && function == 0)
                    && !(found.SequenceEqual(Zero) && run.Plays(SymbolRole.StaticReturn0, function)))
                    return Different(op.Symbol);
            }
            reason = Meet(keyOp.Symbol, key - (ulong)keyOp.Value);
            NoteLiveSite(length);
            _at += (ulong)length;
            return reason;
        }

        private MatchReason Retpoline(MatchOp op)
        {
            bool jump = op.Kind is (byte)BranchKind.Jmp or (byte)BranchKind.CsJmp;
            ulong at = _at, end = at + op.Length, limit = _limit;
            int length = BranchAt(at, op.Kind, out ulong target);
            if (length != 0 && length == op.Length)
            {
                var reason = Meet(op.Symbol, target);
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

        private MatchReason Return(MatchOp op)
        {
            int length = BranchAt(_at, (byte)BranchKind.Jmp, out ulong target);
            if (length == op.Length)
            {
                if (!run.Plays(SymbolRole.ReturnThunk, target))
                    return Different(op.Symbol);
                _at += (ulong)length;
                return MatchReason.Matched;
            }
            Span<byte> code = stackalloc byte[8];
            if (op.Length > code.Length || !run.Get(_at, code[..op.Length]) || code[0] != 0xc3 || code[1..op.Length].ContainsAnyExcept((byte)0xcc))
                return Different(op.Symbol);
            _at += op.Length;
            return MatchReason.Matched;
        }

        private MatchReason EndbrSite()
        {
            Span<byte> found = stackalloc byte[4];
            if (!run.Get(_at, found) || (!found.SequenceEqual(Endbr) && !found.SequenceEqual(Sealed)))
                return Differ(MatchReason.Different, _at, MatchFormat.None, Endbr);
            _at += 4;
            return MatchReason.Matched;
        }
    }

    /// <summary>Match data after all its indexes and lengths were checked; <c>check_data</c> of match.c.</summary>
    private sealed class MatchProgram
    {
        public MatchHeader Header { get; private init; }
        public MatchSymbol[] Symbols { get; private init; } = [];
        public MatchObject[] Objects { get; private init; } = [];
        public MatchOp[] Ops { get; private init; } = [];
        public byte[] Bytes { get; private init; } = [];
        private byte[] Names { get; init; } = [];

        public string Name(uint offset)
        {
            var from = Names.AsSpan((int)offset);
            return System.Text.Encoding.UTF8.GetString(from[..from.IndexOf((byte)0)]);
        }

        public static int Extent(in MatchOp op) => op.Op switch
        {
            OpCode.Alternative or OpCode.Variant or OpCode.Paravirt => 1 + (int)op.Value,
            OpCode.JumpLabel or OpCode.StaticCall => 2,
            _ => 1,
        };

        public static MatchProgram? Read(ReadOnlySpan<byte> data)
        {
            if (data.Length < Marshal.SizeOf<MatchHeader>())
                return null;
            var header = MemoryMarshal.Read<MatchHeader>(data);
            if (header.Magic != MatchFormat.Magic || header.Version != MatchFormat.Version || header.Size != data.Length
                || Table<MatchSymbol>(data, header.Symbols, header.SymbolCount, 8) is not { } symbols
                || Table<MatchObject>(data, header.Objects, header.ObjectCount, 8) is not { } objects
                || Table<MatchOp>(data, header.Ops, header.OpCount, 8) is not { } ops
                || Table<byte>(data, header.Bytes, header.ByteCount, 1) is not { } bytes
                || Table<byte>(data, header.Names, header.NameBytes, 1) is not { Length: > 0 } names
                || names[^1] != 0 || header.ExportCount > header.SymbolCount || header.FunctionCount > header.ObjectCount)
                return null;
            MatchProgram program = new() { Header = header, Symbols = symbols, Objects = objects, Ops = ops, Bytes = bytes, Names = names };
            return program.Check() ? program : null;
        }

        private static T[]? Table<T>(ReadOnlySpan<byte> data, uint offset, uint count, uint alignment) where T : unmanaged
        {
            uint each = (uint)Marshal.SizeOf<T>();
            if (offset < Marshal.SizeOf<MatchHeader>() || offset > data.Length || offset % alignment != 0 || count > (data.Length - offset) / each)
                return null;
            return MemoryMarshal.Cast<byte, T>(data.Slice((int)offset, (int)(count * each))).ToArray();
        }

        private bool Check()
        {
            HashSet<uint> exports = [], functions = [];
            foreach (var symbol in Symbols)
            {
                if (symbol.Name >= Names.Length || symbol.Kind > SymbolKind.Content
                    || (symbol.Object != MatchFormat.None && symbol.Object >= Objects.Length)
                    || (symbol.Export != MatchFormat.None && (symbol.Export >= Header.ExportCount || !exports.Add(symbol.Export)))
                    || symbol.Content > Bytes.Length || symbol.ContentSize > Bytes.Length - symbol.Content)
                    return false;
            }
            foreach (var entry in Objects)
            {
                if (entry.Symbol >= Symbols.Length || entry.Name >= Names.Length || entry.Unit >= Names.Length || entry.Kind > ObjectKind.Data
                    || entry.Op > Ops.Length || entry.OpCount > Ops.Length - entry.Op
                    || (entry.Function != MatchFormat.None
                        && (entry.Function >= Header.FunctionCount || (entry.Flags & ObjectFlags.Replaced) == 0 || !functions.Add(entry.Function)))
                    || !CheckOps(Ops.AsSpan((int)entry.Op, (int)entry.OpCount), 0))
                    return false;
            }
            return exports.Count == Header.ExportCount && functions.Count == Header.FunctionCount;
        }

        private bool CheckOps(ReadOnlySpan<MatchOp> ops, int depth)
        {
            if (depth > MaximalDepth)
                return false;
            for (int i = 0; i < ops.Length; i += Extent(ops[i]))
            {
                if (!CheckOp(ops[i..], depth))
                    return false;
            }
            return true;
        }

        private bool CheckOp(ReadOnlySpan<MatchOp> ops, int depth)
        {
            var op = ops[0];
            int left = ops.Length - 1;
            bool symbol = op.Symbol < Symbols.Length;
            switch (op.Op)
            {
                case OpCode.Literal:
                    return op.Value >= 0 && op.Value <= Bytes.Length && op.Length <= Bytes.Length - op.Value;
                case OpCode.Field:
                    return symbol && op.Kind <= (byte)FieldKind.Pc64;
                case OpCode.Branch:
                    return symbol && op.Kind <= (byte)BranchKind.CsCall;
                case OpCode.Retpoline:
                    return symbol && op.Kind <= (byte)BranchKind.CsCall && op.Value is >= 0 and <= 15;
                case OpCode.Label or OpCode.Fentry or OpCode.Return:
                    return symbol;
                case OpCode.Nops or OpCode.Lock or OpCode.Endbr:
                    return true;
                case OpCode.Alternative:
                    if (op.Value < 1 || op.Value > left)
                        return false;
                    for (int part = 0; part < op.Value; part += Extent(ops[1 + part]))
                    {
                        var variant = ops[1 + part];
                        if (variant.Op != OpCode.Variant || variant.Value < 0 || variant.Value > op.Value - part - 1
                            || !CheckOps(ops.Slice(2 + part, (int)variant.Value), depth + 1))
                            return false;
                    }
                    return true;
                case OpCode.Paravirt:
                    return symbol && op.Value >= 0 && op.Value <= left && CheckOps(ops.Slice(1, (int)op.Value), depth + 1);
                case OpCode.JumpLabel or OpCode.StaticCall:
                    return symbol && left >= 1 && ops[1].Op == OpCode.Key && ops[1].Length == 0 && ops[1].Symbol < Symbols.Length && op.Kind <= (byte)BranchKind.CsCall;
                default:
                    return false;
            }
        }
    }
}
