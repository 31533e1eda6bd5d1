// SPDX-License-Identifier: MIT
// The control flow of one function, for questions about paths: is a call made in a loop, what is held when it returns. Blocks
// come from decoding; an indirect call or jump goes nowhere, and what never returns is taken to, so that there are too many
// paths rather than too few.
using Iced.Intel;
using Ksplice.Build.Differencing;

namespace Ksplice.Build.Analysis;

/// <summary>Instructions without a branch between them.</summary>
/// <param name="Calls">What is called, in order; a jump to another function is the last.</param>
/// <param name="Next">The blocks that may follow.</param>
/// <param name="Returns">True if the function may end here.</param>
internal sealed record FlowBlock(IReadOnlyList<string> Calls, IReadOnlyList<int> Next, bool Returns);

/// <summary>A function's blocks; the first is its start.</summary>
/// <param name="Blocks">The blocks.</param>
/// <param name="Handed">What a function's address is handed to, as its first argument: the function and whom it calls with it.</param>
internal sealed record CodeFlow(IReadOnlyList<FlowBlock> Blocks, IReadOnlyList<(string Function, string To)> Handed)
{
    private const string ReturnThunk = "__x86_return_thunk";

    /// <summary>True if any path leads out of the function.</summary>
    public bool Returns => Blocks.Any(block => block.Returns);

    /// <summary>
    /// The blocks that the start leads to, each before those that follow it, loops' ways back apart (reverse post-order).
    /// </summary>
    public IReadOnlyList<int> Forward => field ??= Order();

    private List<int> Order()
    {
        List<int> order = [];
        HashSet<int> seen = [0];
        Stack<(int Block, int Next)> work = new([(0, 0)]);
        while (work.TryPop(out var at))
        {
            if (at.Next == Blocks[at.Block].Next.Count)
            {
                order.Add(at.Block);
                continue;
            }
            work.Push((at.Block, at.Next + 1));
            if (seen.Add(Blocks[at.Block].Next[at.Next]))
                work.Push((Blocks[at.Block].Next[at.Next], 0));
        }
        order.Reverse();
        return order;
    }

    /// <summary>Every block that control may come back to.</summary>
    public IReadOnlyList<FlowBlock> InLoops()
    {
        List<FlowBlock> found = [];
        for (int start = 0; start < Blocks.Count; start++)
        {
            HashSet<int> seen = [];
            Stack<int> work = new(Blocks[start].Next);
            while (work.TryPop(out int at) && at != start)
            {
                if (!seen.Add(at))
                    continue;
                foreach (int next in Blocks[at].Next)
                    work.Push(next);
                if (Blocks[at].Next.Contains(start))
                    break;
            }
            if (Blocks[start].Next.Contains(start) || seen.Any(at => Blocks[at].Next.Contains(start)))
                found.Add(Blocks[start]);
        }
        return found;
    }

    /// <summary>The flow of <paramref name="function"/>.</summary>
    public static CodeFlow Of(ObjectFunction function)
    {
        ArgumentNullException.ThrowIfNull(function);
        List<Step> steps = [];
        List<(string, string)> handed = [];
        for (int part = 0; part < function.Parts.Count; part++)
            Decode(function.Parts[part], part, steps, handed);
        return new(Cut(steps), handed);
    }

    private static long Place(int part, long offset) => ((long)part << 32) + offset;

    /// <summary>An instruction: where control may go from it, and whom it calls.</summary>
    private readonly record struct Step(long Place, long Next, string? Call, long? Jump, bool Continues, bool Returns);

    private static void Decode(CodePart part, int index, List<Step> steps, List<(string, string)> handed)
    {
        var references = part.References.ToLookup(reference => reference.Offset);
        byte[] code = part.Bytes.ToArray();
        var decoder = Decoder.Create(64, code);
        string? argument = null;
        while (decoder.IP < (ulong)code.Length)
        {
            ulong start = decoder.IP;
            decoder.Decode(out var instruction);
            if (instruction.IsInvalid)
                return;
            var constants = decoder.GetConstantOffsets(instruction);
            CodeReference? Field(bool has, int offset) => has ? references[start + (ulong)offset].FirstOrDefault() : null;
            var reference = Field(constants.HasImmediate, constants.ImmediateOffset)
                ?? Field(constants.HasDisplacement, constants.DisplacementOffset);
            bool near = instruction.Op0Kind == OpKind.NearBranch64;
            long? inside =
                !near ? null
                : reference is null ? Place(index, (long)instruction.NearBranchTarget)
                : reference.Part >= 0 ? Place(reference.Part, reference.TargetOffset)
                : null;
            string? outside = near && inside is null ? reference!.Target : null;
            long here = Place(index, (long)start),
                next = Place(index, (long)decoder.IP);
            if (
                instruction.OpCount > 0
                && instruction.Op0Kind == OpKind.Register
                && instruction.Op0Register is Register.RDI or Register.EDI
            )
                argument = reference is { TakesAddress: true, TargetOffset: 0 } ? reference.Target : null;
            steps.Add(
                instruction.FlowControl switch
                {
                    FlowControl.Call or FlowControl.IndirectCall => new(here, next, outside, null, true, false),
                    FlowControl.Return => new(here, next, null, null, false, true),
                    FlowControl.UnconditionalBranch when outside is not null => new(
                        here,
                        next,
                        outside == ReturnThunk ? null : outside,
                        null,
                        false,
                        true
                    ),
                    FlowControl.UnconditionalBranch => new(here, next, null, inside, false, false),
                    FlowControl.IndirectBranch => new(here, next, null, null, false, true),
                    FlowControl.ConditionalBranch => new(here, next, outside, inside, true, outside is not null),
                    _ => new(here, next, null, null, true, false),
                }
            );
            if (outside is not null && argument is not null)
                handed.Add((argument, outside));
            if (instruction.FlowControl is FlowControl.Call or FlowControl.IndirectCall)
                argument = null;
        }
    }

    private static List<FlowBlock> Cut(List<Step> steps)
    {
        HashSet<long> starts = [.. steps.Where(step => step.Jump is not null).Select(step => step.Jump!.Value)];
        List<(long Start, List<Step> Steps)> runs = [];
        bool open = false;
        foreach (var step in steps)
        {
            if (!open || starts.Contains(step.Place))
                runs.Add((step.Place, []));
            runs[^1].Steps.Add(step);
            open = step.Jump is null && step.Continues && !step.Returns;
        }
        var byStart = runs.Select((run, index) => (run.Start, index))
            .DistinctBy(run => run.Start)
            .ToDictionary(run => run.Start, run => run.index);
        return
        [
            .. runs.Select(run =>
            {
                var last = run.Steps[^1];
                List<int> next = [];
                if (last.Jump is { } jump && byStart.TryGetValue(jump, out int target))
                    next.Add(target);
                if (last.Continues && byStart.TryGetValue(last.Next, out int following))
                    next.Add(following);
                return new FlowBlock(
                    [.. run.Steps.Select(step => step.Call).OfType<string>()],
                    next,
                    run.Steps.Exists(step => step.Returns)
                );
            }),
        ];
    }
}
