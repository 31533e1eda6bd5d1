// SPDX-License-Identifier: MIT
// match/tables.c: entries of the kernel's tables that say what a trap or a fault means.
using Ksplice.Build.Kernel;

namespace Ksplice.Build.Matching.Interpreter;

internal sealed partial class Walk
{
    private MatchReason WalkBug(ReadOnlySpan<MatchOp> ops)
    {
        var op = ops[0];
        var kind = (BugKind)op.Kind;
        bool found = run.Memory.Tables.Bugs.TryGetValue(_at, out var bug);
        if (found != (kind != BugKind.None))
            return Different(op.Symbol);
        if (kind == BugKind.None)
            return MatchReason.Matched;
        if ((bug.Flags & BugEntry.ComparedFlags) != ((uint)(op.Value >> 16) & BugEntry.ComparedFlags))
            return Different(op.Symbol);
        if (kind == BugKind.Short)
            return MatchReason.Matched;
        if (bug.Line != (op.Value & 0xffff))
            return Different(op.Symbol);
        var reason = Meet(op.Symbol, bug.File);
        if (reason == MatchReason.Matched && kind == BugKind.Format)
            reason = Meet(ops[1].Symbol, bug.Format - (ulong)ops[1].Value);
        return reason;
    }

    private MatchReason WalkBugField(MatchOp op)
    {
        if (!run.GetInt32(_at, out int far))
            return Differ(MatchReason.Unreadable, _at, op.Symbol, []);
        ulong entry = _at + (ulong)(long)far - (ulong)op.Value;
        if (!run.GetInt32(entry, out far))
            return Different(op.Symbol);
        ulong code = entry + (ulong)(long)far;
        if (!run.Memory.Tables.Bugs.TryGetValue(code, out var bug) || bug.Entry != entry)
            return Different(op.Symbol);
        var reason = Meet(op.Symbol, code);
        _at += sizeof(int);
        return reason;
    }

    private MatchReason WalkException(MatchOp op) =>
        run.Memory.Tables.Exceptions.TryGetValue(_at, out var exception) && exception.Data == (uint)op.Value
            ? Meet(op.Symbol, exception.Fixup)
            : Different(op.Symbol);

    private bool CountsExceptions()
    {
        int count = 0;
        foreach (var op in run.Data.OpsOf(run.Data.Object(index)))
            count += op.Op == OpCode.Exception ? 1 : 0;
        return run.Memory.Tables.CountExceptions(_start, _at) == count;
    }
}
