// SPDX-License-Identifier: MIT
// The control flow of one function, for questions about paths: is a call made in a loop, what is held when it returns. Blocks
// come from decoding; an indirect call or jump goes nowhere, and what never returns is taken to, so that there are too many
// paths rather than too few. A call that ends the thread ends the path: the thread is no longer in the function.
using Iced.Intel;
using Ksplice.Build.Differencing;

namespace Ksplice.Build.Analysis;

/// <summary>A call.</summary>
/// <param name="Name">The function, or <see cref="CodeFlow.Pointer"/>.</param>
/// <param name="Arguments">Its first four integer arguments where they are constants; null where they are not.</param>
/// <param name="IsConditional">True for a conditional jump to another function, such as a part that the compiler took out (.cold).</param>
internal sealed record FlowCall(string Name, IReadOnlyList<uint?> Arguments, bool IsConditional = false);

/// <summary>Instructions without a branch between them.</summary>
/// <param name="Calls">What is called, in order; a jump to another function is the last.</param>
/// <param name="Next">The blocks that may follow.</param>
/// <param name="Returns">True if the function may end here.</param>
internal sealed record FlowBlock(IReadOnlyList<FlowCall> Calls, IReadOnlyList<int> Next, bool Returns);

/// <summary>A function's blocks; the first is its start.</summary>
/// <param name="Blocks">The blocks.</param>
/// <param name="Handed">What a function's address is handed to, as its first argument: the function and whom it calls with it.</param>
internal sealed record CodeFlow(IReadOnlyList<FlowBlock> Blocks, IReadOnlyList<(string Function, string To)> Handed)
{
    /// <summary>Stands for the function that a call through a pointer reaches.</summary>
    public const string Pointer = "*";

    private const string ReturnThunk = "__x86_return_thunk";

    // A thread that calls one of these leaves the function for good.
    private static readonly HashSet<string> s_threadEnds =
    [
        "do_exit",
        "do_group_exit",
        "do_task_dead",
        "make_task_dead",
        "kthread_exit",
        "kthread_complete_and_exit",
        "__module_put_and_kthread_exit",
    ];

    private const string PointerThunk = "__x86_indirect_";

    // The registers of the first four integer arguments (System V psABI, 3.2.3).
    private static readonly Register[] s_arguments = [Register.RDI, Register.RSI, Register.RDX, Register.RCX];

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

    /// <summary>
    /// True if no path through the function goes round <paramref name="block"/>, which the start leads to. Of a function that does not
    /// return only the start is known to be.
    /// </summary>
    public bool IsOnEveryPath(int block)
    {
        if (block == 0 || !Returns)
            return block == 0;
        HashSet<int> seen = [0, block];
        Stack<int> work = new([0]);
        while (work.TryPop(out int at))
        {
            if (Blocks[at].Returns)
                return false;
            foreach (int next in Blocks[at].Next.Where(seen.Add))
                work.Push(next);
        }
        return true;
    }

    /// <summary>The flow of <paramref name="function"/>.</summary>
    public static CodeFlow Of(ObjectFunction function)
    {
        ArgumentNullException.ThrowIfNull(function);
        List<Step> steps = [];
        List<(string, string)> handed = [];
        for (int part = 0; part < function.Parts.Count; part++)
        {
            var references = function.Parts[part].References.ToLookup(reference => reference.Offset);
            Decode(function.Parts[part].Bytes.ToArray(), part, at => references[at].FirstOrDefault(), _ => null, steps, handed);
        }
        return new(Cut(steps), handed);
    }

    /// <summary>The flow of linked code.</summary>
    /// <param name="code">The function's bytes.</param>
    /// <param name="address">The address of the first.</param>
    /// <param name="nameOf">The name of the function at an address, or null.</param>
    public static CodeFlow Of(byte[] code, ulong address, Func<ulong, string?> nameOf)
    {
        List<Step> steps = [];
        ulong size = (ulong)code.Length;
        Decode(code, 0, _ => null, at => at < size ? null : nameOf(address + at) ?? "", steps, []);
        return new(Cut(steps), []);
    }

    private static long Place(int part, long offset) => ((long)part << 32) + offset;

    /// <summary>An instruction: where control may go from it, and whom it calls.</summary>
    private readonly record struct Step(long Place, long Next, FlowCall? Call, long? Jump, bool Continues, bool Returns);

    // What is left of the arguments' values where code is entered from elsewhere is nothing.
    private static HashSet<ulong> Entries(byte[] code)
    {
        var decoder = Decoder.Create(64, code);
        HashSet<ulong> entries = [];
        while (decoder.IP < (ulong)code.Length)
        {
            decoder.Decode(out var instruction);
            if (instruction.Op0Kind == OpKind.NearBranch64)
                entries.Add(instruction.NearBranchTarget);
        }
        return entries;
    }

    private static void Decode(
        byte[] code,
        int index,
        Func<ulong, CodeReference?> referenceAt,
        Func<ulong, string?> outsideAt,
        List<Step> steps,
        List<(string, string)> handed
    )
    {
        var entries = Entries(code);
        uint?[] constants = new uint?[s_arguments.Length];
        var decoder = Decoder.Create(64, code);
        string? argument = null;
        while (decoder.IP < (ulong)code.Length)
        {
            ulong start = decoder.IP;
            decoder.Decode(out var instruction);
            if (instruction.IsInvalid)
                return;
            var fields = decoder.GetConstantOffsets(instruction);
            CodeReference? Field(bool has, int offset) => has ? referenceAt(start + (ulong)offset) : null;
            var reference = Field(fields.HasImmediate, fields.ImmediateOffset) ?? Field(fields.HasDisplacement, fields.DisplacementOffset);
            bool near = instruction.Op0Kind == OpKind.NearBranch64;
            string? linked = near && reference is null ? outsideAt(instruction.NearBranchTarget) : null;
            long? inside =
                !near || linked is not null ? null
                : reference is null ? Place(index, (long)instruction.NearBranchTarget)
                : reference.Part >= 0 ? Place(reference.Part, reference.TargetOffset)
                : null;
            string? outside = near && inside is null ? linked ?? reference!.Target : null;
            if (entries.Contains(start))
                Array.Clear(constants);
            Track(instruction, reference, constants);
            long here = Place(index, (long)start),
                next = Place(index, (long)decoder.IP);
            if (
                instruction.OpCount > 0
                && instruction.Op0Kind == OpKind.Register
                && instruction.Op0Register is Register.RDI or Register.EDI
            )
                argument = reference is { TakesAddress: true, TargetOffset: 0 } ? reference.Target : null;
            FlowCall? Call(string? name) =>
                name is null ? null
                : name.StartsWith(PointerThunk, StringComparison.Ordinal) ? new(Pointer, [.. constants])
                : new(name, [.. constants], instruction.FlowControl == FlowControl.ConditionalBranch);
            steps.Add(
                instruction.FlowControl switch
                {
                    FlowControl.Call when outside is not null && s_threadEnds.Contains(outside) => new(
                        here,
                        next,
                        Call(outside),
                        null,
                        false,
                        true
                    ),
                    FlowControl.Call => new(here, next, Call(outside), null, true, false),
                    FlowControl.IndirectCall => new(here, next, Call(Pointer), null, true, false),
                    FlowControl.Return => new(here, next, null, null, false, true),
                    FlowControl.UnconditionalBranch when outside is not null => new(
                        here,
                        next,
                        Call(outside == ReturnThunk ? null : outside),
                        null,
                        false,
                        true
                    ),
                    FlowControl.UnconditionalBranch => new(here, next, null, inside, false, false),
                    FlowControl.IndirectBranch => new(here, next, null, null, false, true),
                    FlowControl.ConditionalBranch => new(here, next, Call(outside), inside, true, outside is not null),
                    _ => new(here, next, null, null, true, false),
                }
            );
            if (outside is not null && argument is not null)
                handed.Add((argument, outside));
            if (instruction.FlowControl is FlowControl.Call or FlowControl.IndirectCall)
            {
                argument = null;
                Array.Clear(constants);
            }
        }
    }

    private static void Track(in Instruction instruction, CodeReference? reference, uint?[] constants)
    {
        if (instruction.OpCount == 0 || instruction.Op0Kind != OpKind.Register)
            return;
        int argument = Array.IndexOf(s_arguments, instruction.Op0Register.GetFullRegister());
        if (argument < 0)
            return;
        constants[argument] = instruction.Mnemonic switch
        {
            Mnemonic.Mov when reference is null && instruction.Op1Kind is OpKind.Immediate32 or OpKind.Immediate32to64 =>
                instruction.Immediate32,
            Mnemonic.Xor when instruction.Op1Kind == OpKind.Register && instruction.Op1Register == instruction.Op0Register => 0,
            _ => null,
        };
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
                    [.. run.Steps.Select(step => step.Call).OfType<FlowCall>()],
                    next,
                    run.Steps.Exists(step => step.Returns)
                );
            }),
        ];
    }
}
