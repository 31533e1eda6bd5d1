// SPDX-License-Identifier: MIT
// What a function's code does with pointers of which it is known where they lead: into its own frame, or to what a parameter points to.
// Debug data says in which registers such parameters come; from there the registers that hold one are followed through the code, as a
// forward data-flow problem: a copy keeps it, so does adding a constant, any other write and a call of the registers that calls may
// change lose it, and where paths meet it is kept if all of them have it. Memory is not followed: what was stored and is read again is
// not known. So "not known" is said too often and never too seldom.
using System.Globalization;
using System.Runtime.InteropServices;
using Iced.Intel;
using Ksplice.Build.Differencing;

namespace Ksplice.Build.Analysis;

/// <summary>Registers that hold a known pointer at a place, as sets of bits by DWARF's numbers.</summary>
/// <param name="Frame">Those that lead into the function's own frame.</param>
/// <param name="Given">Those that lead to what was passed in.</param>
[StructLayout(LayoutKind.Auto)]
internal readonly record struct KnownPointers(uint Frame, uint Given)
{
    public bool Has(int register) => ((Frame | Given) & (1u << register)) != 0;
}

/// <summary>A call or a jump to another function.</summary>
/// <param name="Callee">Its name.</param>
/// <param name="Known">What is known when it is entered.</param>
internal sealed record PointerCall(string Callee, KnownPointers Known);

/// <summary>Follows known pointers through a function.</summary>
internal sealed class PointerFlow
{
    // DWARF's numbers of the registers (System V ABI for x86-64, figure 3.36).
    private static readonly Register[] Registers =
    [
        Register.RAX,
        Register.RDX,
        Register.RCX,
        Register.RBX,
        Register.RSI,
        Register.RDI,
        Register.RBP,
        Register.RSP,
        Register.R8,
        Register.R9,
        Register.R10,
        Register.R11,
        Register.R12,
        Register.R13,
        Register.R14,
        Register.R15,
    ];

    private const int Rsi = 4,
        Rdi = 5;
    private const uint StackPointer = 1 << 7,
        CallerSaved = 0b0000_1111_0011_0111;

    private readonly record struct Step(ObjectNode Part, Instruction Instruction, ConstantOffsets Fields)
    {
        public ulong At => Instruction.IP;
    }

    private readonly ObjectNode _function;
    private readonly List<Step> _steps = [];
    private readonly Dictionary<(ObjectNode, ulong), int> _byPlace = [];
    private readonly ILookup<(ObjectNode, ulong), (ObjectNode Part, ulong Offset)> _tableJumps;
    private readonly Dictionary<(ObjectNode, ulong), ObjectReference> _references = [];
    private readonly KnownPointers?[] _states;
    private readonly List<PointerCall> _calls = [];
    private readonly Dictionary<string, int> _unknown = new(StringComparer.Ordinal);
    private readonly InstructionInfoFactory _info = new();

    /// <summary>Follows the pointers of <paramref name="function"/>.</summary>
    /// <param name="function">A function of an object's graph.</param>
    /// <param name="given">The registers in which known pointers come, as a set of bits.</param>
    /// <param name="size">The size of what they lead to; accesses that lie behind it are not counted.</param>
    public PointerFlow(ObjectNode function, uint given, uint size)
    {
        _function = function;
        List<ObjectNode> parts = [function, .. function.Parts];
        foreach (var part in parts)
        {
            foreach (var reference in part.References)
                _references[(part, reference.Offset)] = reference;
            var decoder = Decoder.Create(64, part.Bytes.ToArray());
            while (decoder.IP < part.Size)
            {
                decoder.Decode(out var instruction);
                if (instruction.IsInvalid)
                    break;
                _byPlace[(part, instruction.IP)] = _steps.Count;
                _steps.Add(new(part, instruction, decoder.GetConstantOffsets(instruction)));
            }
        }
        // Where jump labels may jump, and where a fault leads.
        _tableJumps = parts
            .SelectMany(part => part.Entries.Select(entry => (part, entry)))
            .SelectMany(pair => pair.entry.References.Select(reference => (pair.part, pair.entry.KeyOffset, reference)))
            .Where(jump => jump.reference.Field == TableField.Code && jump.reference.Target?.Root == function)
            .ToLookup(jump => (jump.part, (ulong)jump.KeyOffset), jump => (jump.reference.Target!, (ulong)jump.reference.TargetOffset));
        _states = new KnownPointers?[_steps.Count];
        Solve(parts, given);
        Collect(size);
    }

    /// <summary>Calls of other functions and jumps to them.</summary>
    public IReadOnlyList<PointerCall> Calls => _calls;

    /// <summary>How many accesses to memory through what is not known there are, by form: distance from the pointer, size.</summary>
    public IReadOnlyDictionary<string, int> Unknown => _unknown;

    private void Solve(List<ObjectNode> parts, uint given)
    {
        Queue<int> work = [];
        void Reach((ObjectNode, ulong) place, KnownPointers known)
        {
            if (!_byPlace.TryGetValue(place, out int step))
                return;
            var joined = _states[step] is { } before ? new(before.Frame & known.Frame, before.Given & known.Given) : known;
            if (_states[step] == joined)
                return;
            _states[step] = joined;
            work.Enqueue(step);
        }
        Reach((_function, 0), new(StackPointer, given));
        // Tables of addresses and addresses of labels lead here from anywhere.
        foreach (var part in parts)
        {
            foreach (var reference in part.Referrers.Where(reference => !reference.IsBranch && reference.Field is null))
            {
                if (part != _function || reference.TargetOffset != 0)
                    Reach((part, (ulong)reference.TargetOffset), new(StackPointer, 0));
            }
        }
        while (work.TryDequeue(out int index))
        {
            var (step, known) = (_steps[index], _states[index]!.Value);
            foreach (var jump in _tableJumps[(step.Part, step.At)])
                Reach(jump, known);
            var after = IsTrace(step) ? known : After(step.Instruction, known);
            if (Inside(step) is { } target)
                Reach(target, after);
            // A jump that is a site of a jump label may be a no-op.
            if (
                step.Instruction.FlowControl is not (FlowControl.UnconditionalBranch or FlowControl.IndirectBranch or FlowControl.Return)
                || _tableJumps.Contains((step.Part, step.At))
            )
                Reach((step.Part, step.Instruction.NextIP), after);
        }
    }

    private static bool IsNear(in Instruction instruction) => instruction.OpCount > 0 && instruction.Op0Kind == OpKind.NearBranch64;

    private ObjectReference? Branch(Step step) => _references.GetValueOrDefault((step.Part, step.At + (ulong)step.Fields.ImmediateOffset));

    private (ObjectNode, ulong)? Inside(Step step) =>
        !IsNear(step.Instruction) || step.Instruction.FlowControl == FlowControl.Call ? null
        : Branch(step) is not { } reference ? (step.Part, step.Instruction.NearBranchTarget)
        : reference.Target is { } target && target.Root == _function && (target != _function || reference.TargetOffset != 0)
            ? (target, (ulong)reference.TargetOffset)
        : null;

    // What ftrace calls at the start of a function changes no register.
    private bool IsTrace(Step step) => IsNear(step.Instruction) && Branch(step)?.External == "__fentry__";

    private KnownPointers After(in Instruction instruction, KnownPointers known)
    {
        if (instruction.FlowControl is FlowControl.Call or FlowControl.IndirectCall)
            return new(known.Frame & ~CallerSaved, known.Given & ~CallerSaved);
        uint frame = known.Frame,
            given = known.Given;
        int from =
            instruction.Code is Code.Mov_r64_rm64 or Code.Mov_rm64_r64 && instruction.Op1Kind == OpKind.Register
                ? Number(instruction.Op1Register)
            : instruction.Code == Code.Lea_r64_m && instruction.MemoryIndex == Register.None ? Number(instruction.MemoryBase)
            : instruction.Mnemonic is Mnemonic.Add or Mnemonic.Sub && Is64Register(instruction) && IsImmediate(instruction)
                ? Number(instruction.Op0Register)
            : -1;
        foreach (var used in _info.GetInfo(instruction).GetUsedRegisters())
        {
            if (
                used.Access is OpAccess.Write or OpAccess.ReadWrite or OpAccess.CondWrite or OpAccess.ReadCondWrite
                && Number(used.Register) is >= 0 and var written
            )
            {
                frame &= ~(1u << written);
                given &= ~(1u << written);
            }
        }
        if (from >= 0 && instruction.Op0Kind == OpKind.Register && Number(instruction.Op0Register) is >= 0 and var to)
        {
            frame |= ((known.Frame >> from) & 1) << to;
            given |= ((known.Given >> from) & 1) << to;
        }
        return new(frame | StackPointer, given & ~StackPointer);
    }

    private static bool Is64Register(in Instruction instruction) =>
        instruction.Op0Kind == OpKind.Register && instruction.Op0Register.IsGPR64();

    private static bool IsImmediate(in Instruction instruction) => instruction.Op1Kind is OpKind.Immediate8to64 or OpKind.Immediate32to64;

    private static int Number(Register register) => Array.IndexOf(Registers, register.GetFullRegister());

    private void Collect(uint size)
    {
        string counted = "";
        for (int index = 0; index < _steps.Count; index++)
        {
            var step = _steps[index];
            var known = _states[index] ?? new KnownPointers(StackPointer, 0);
            if (IsNear(step.Instruction))
            {
                if (Branch(step) is { } reference && Inside(step) is null)
                    AddCall(reference, known, counted);
                continue;
            }
            // How much is copied is said in a register: ecx where the instruction repeats, edx where a function does it.
            if (step.Instruction.Code is Code.Mov_r32_imm32 && step.Instruction.Op0Register is Register.ECX or Register.EDX)
                counted = step.Instruction.Immediate32.ToString(CultureInfo.InvariantCulture);
            AddAccess(step, known, size, counted);
        }
    }

    private void AddCall(ObjectReference reference, KnownPointers known, string counted)
    {
        string name = reference.Target?.Root.Name ?? reference.External ?? "";
        _calls.Add(new(name, known));
        bool copies = name is "memcpy" or "__memcpy" or "memmove" or "__memmove" or "memcmp";
        if ((copies || name is "memset" or "__memset") && !(known.Has(Rdi) && (!copies || known.Has(Rsi))))
            Count($"{name} of {counted} bytes");
    }

    private void AddAccess(Step step, KnownPointers known, uint size, string counted)
    {
        var instruction = step.Instruction;
        if (instruction.IsStringInstruction)
        {
            var accesses = _info.GetInfo(instruction).GetUsedMemory();
            if (accesses.Any(memory => !IsKnown(memory.Base, known)))
                Count($"{instruction.Mnemonic} {counted} times");
            return;
        }
        for (int operand = 0; operand < instruction.OpCount; operand++)
        {
            if (
                instruction.GetOpKind(operand) != OpKind.Memory
                || instruction.Mnemonic is Mnemonic.Lea or Mnemonic.Nop
                || instruction.IsIPRelativeMemoryOperand
                || instruction.MemoryBase == Register.None && instruction.MemoryIndex == Register.None
                || IsKnown(instruction.MemoryBase, known)
                || (step.Fields.HasDisplacement && _references.ContainsKey((step.Part, step.At + (ulong)step.Fields.DisplacementOffset)))
            )
                continue;
            long distance = (long)instruction.MemoryDisplacement64;
            bool indexed = instruction.MemoryIndex != Register.None;
            if (indexed || distance < size)
                Count($"{instruction.MemorySize} at {distance}{(indexed ? $" and an index times {instruction.MemoryIndexScale}" : "")}");
        }
    }

    private static bool IsKnown(Register register, KnownPointers known) => Number(register) is >= 0 and var number && known.Has(number);

    private void Count(string form) => _unknown[form] = _unknown.GetValueOrDefault(form) + 1;
}
