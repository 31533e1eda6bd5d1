// SPDX-License-Identifier: MIT
// match/tables.c: entries of the kernel's tables that say what a trap or a fault means.
using Ksplice.Build.Kernel;

namespace Ksplice.Build.Matching.Interpreter;

internal sealed partial class Walk
{
    private MatchReason WalkBug(MatchOp op)
    {
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
        return bug.Line == (op.Value & 0xffff) ? Meet(op.Symbol, bug.File) : Different(op.Symbol);
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
