// SPDX-License-Identifier: MIT
// The pre code as the writer reads it.
using Iced.Intel;
using Ksplice.Build.Differencing;

namespace Ksplice.Build.Matching;

internal sealed partial class ProgramWriter
{
    /// <summary>A decoded function: where its instructions begin and end, what leads into it, what the kernel rewrites.</summary>
    private sealed class Code
    {
        public Code(ObjectNode node)
        {
            Node = node;
            Bytes = node.Bytes.ToArray();
            References = node.References.ToDictionary(reference => (int)reference.Offset);
            var decoder = Decoder.Create(64, Bytes);
            while (decoder.IP < (ulong)Bytes.Length)
            {
                int at = (int)decoder.IP;
                decoder.Decode(out var instruction);
                if (instruction.IsInvalid)
                    throw new UnmatchableException(at, "no instruction can be decoded");
                Instructions.Add(at, (instruction, decoder.GetConstantOffsets(instruction)));
                if (Target(instruction) is long target && !References.ContainsKey(FieldOffset(at)) && target > 0 && target < Bytes.Length)
                {
                    Labels.Add((int)target);
                    if (IsBranch(instruction) && target <= at)
                        LoopHeads.Add((int)target);
                }
            }
            foreach (
                var reference in node.Referrers.Where(reference => reference.TargetOffset > 0 && reference.TargetOffset < Bytes.Length)
            )
                Labels.Add((int)reference.TargetOffset);
            foreach (
                var entry in node
                    .Entries.Concat(node.Root.Entries)
                    .Concat(node.Root.Parts.SelectMany(part => part.Entries))
                    .Where(entry => entry.Section.Name is "__jump_table" or "__ex_table")
            )
            {
                if (entry.References[1].Target == node && entry.References[1].TargetOffset > 0)
                    Labels.Add((int)entry.References[1].TargetOffset);
            }
            Constants = node
                .Entries.Where(entry => SectionCatalog.IsRuntimeConstant(entry.Section.Name))
                .ToDictionary(entry => (int)entry.KeyOffset, entry => entry.Section.Name);
            Alternatives = node.Entries.Where(entry => entry.Section.Name == ".altinstructions").ToLookup(entry => (int)entry.KeyOffset);
            Paravirt = Sites(".parainstructions");
            Locks = Sites(".smp_locks");
            JumpLabels = Sites("__jump_table");
            StaticCalls = Sites(".static_call_sites");
            // What an alternative brings is copied to its place, and entries about the copy's source are about nothing that runs.
            bool runs = node.Kind != NodeKind.Replacement;
            Bugs = node.Entries.Where(entry => runs && entry.Section.Name == "__bug_table").ToLookup(entry => (int)entry.KeyOffset);
            Exceptions = node.Entries.Where(entry => runs && entry.Section.Name == "__ex_table").ToLookup(entry => (int)entry.KeyOffset);
            foreach (int label in Labels.Where(label => !Instructions.ContainsKey(label)))
                throw new UnmatchableException(label, "a branch leads into the middle of an instruction");
        }

        public ObjectNode Node { get; }
        public byte[] Bytes { get; }
        public Dictionary<int, ObjectReference> References { get; }
        public Dictionary<int, (Instruction Instruction, ConstantOffsets Fields)> Instructions { get; } = [];
        public HashSet<int> Labels { get; } = [];

        /// <summary>The labels that a branch leads back to.</summary>
        public HashSet<int> LoopHeads { get; } = [];
        public Dictionary<int, string> Constants { get; }
        public ILookup<int, TableEntry> Alternatives { get; }
        public Dictionary<int, TableEntry> Paravirt { get; }
        public Dictionary<int, TableEntry> Locks { get; }
        public Dictionary<int, TableEntry> JumpLabels { get; }
        public Dictionary<int, TableEntry> StaticCalls { get; }
        public ILookup<int, TableEntry> Bugs { get; }
        public ILookup<int, TableEntry> Exceptions { get; }

        /// <summary>True if the last instruction is a call, or if the kernel may make it one.</summary>
        public bool EndsInCall
        {
            get
            {
                // A label of assembly may stand before no code at all.
                if (Instructions.Count == 0)
                    return false;
                int last = Instructions.Keys.Max();
                return Instructions[last].Instruction.FlowControl is FlowControl.Call or FlowControl.IndirectCall
                    || Alternatives.Any(entries => entries.Key + entries.Max(entry => entry.Bytes[^2]) >= Bytes.Length)
                    || Paravirt.Any(entry => entry.Key + entry.Value.Bytes[9] >= Bytes.Length);
            }
        }

        private Dictionary<int, TableEntry> Sites(string table) =>
            Node.Entries.Where(entry => entry.Section.Name == table).ToDictionary(entry => (int)entry.KeyOffset);

        public int FieldOffset(int at)
        {
            var (instruction, fields) = Instructions[at];
            return at + (IsBranch(instruction) ? fields.ImmediateOffset : fields.DisplacementOffset);
        }

        /// <summary>Where a relative operand points, from the start of the function.</summary>
        public static long? Target(in Instruction instruction) =>
            IsBranch(instruction) ? (long)instruction.NearBranch64
            : instruction.IsIPRelativeMemoryOperand ? (long)instruction.IPRelativeMemoryAddress
            : null;

        public static bool IsBranch(in Instruction instruction) => instruction.OpCount > 0 && instruction.Op0Kind == OpKind.NearBranch64;
    }
}
