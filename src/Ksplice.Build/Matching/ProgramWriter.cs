// Compiles one function or constant of the pre object to a match program (ksplice/format.h): what cannot vary becomes
// literal bytes; what the linker fills in, the assembler chooses or the kernel rewrites becomes an op of its own. Where
// the kernel rewrites is told by the object's own special sections and by the names of the thunks.
using System.Buffers.Binary;
using Iced.Intel;
using Ksplice.Build.Differencing;
using Ksplice.Build.Elf;
using Ksplice.Build.Kernel;

namespace Ksplice.Build.Matching;

internal sealed class ProgramWriter(MatchTables tables)
{
    private static readonly string[] Registers =
        ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"];

    private const string ThunkPrefix = "__x86_indirect_thunk_";

    private (List<MatchOp>? Ops, int Count) _closed;

    /// <summary>What the writer does not understand, with its offset.</summary>
    public sealed class UnmatchableException(long offset, string problem) : Exception(problem)
    {
        public long Offset { get; } = offset;
    }

    /// <summary>The program of constant data.</summary>
    public List<MatchOp> WriteData(ObjectNode node)
    {
        List<MatchOp> ops = [];
        Literals(ops, node, 0, (int)node.Size);
        return ops;
    }

    /// <summary>The program of a function.</summary>
    public List<MatchOp> WriteCode(ObjectNode node)
    {
        List<MatchOp> ops = [];
        WriteRange(ops, new Code(node), 0, (int)node.Size, 0);
        return ops;
    }

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
                    Labels.Add((int)target);
            }
            foreach (var reference in node.Referrers.Where(reference => reference.TargetOffset > 0 && reference.TargetOffset < Bytes.Length))
                Labels.Add((int)reference.TargetOffset);
            foreach (var entry in node.Entries.Concat(node.Root.Entries).Concat(node.Root.Parts.SelectMany(part => part.Entries)).Where(entry => entry.Section.Name is "__jump_table" or "__ex_table"))
            {
                if (entry.References[1].Target == node && entry.References[1].TargetOffset > 0)
                    Labels.Add((int)entry.References[1].TargetOffset);
            }
            Constants = node.Entries.Where(entry => SectionCatalog.IsRuntimeConstant(entry.Section.Name))
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
        public Dictionary<int, string> Constants { get; }
        public ILookup<int, TableEntry> Alternatives { get; }
        public Dictionary<int, TableEntry> Paravirt { get; }
        public Dictionary<int, TableEntry> Locks { get; }
        public Dictionary<int, TableEntry> JumpLabels { get; }
        public Dictionary<int, TableEntry> StaticCalls { get; }
        public ILookup<int, TableEntry> Bugs { get; }
        public ILookup<int, TableEntry> Exceptions { get; }

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

    // Sites nest: an alternative's original may be a paravirt call. The depth (1 in a variant, 2 in a paravirt call) tells which
    // site at the range's start is the one being written.
    private void WriteRange(List<MatchOp> ops, Code code, int start, int end, int depth)
    {
        for (int at = start; at < end;)
        {
            bool reopened = at == start && depth > 0;
            if (!reopened && code.Labels.Contains(at))
                ops.Add(new MatchOp { Op = OpCode.Label, Symbol = tables.Place(code.Node, at) });
            if (!reopened)
                TrapEntries(ops, code, at);
            int length;
            if (!reopened && code.Alternatives.Contains(at))
                length = Alternative(ops, code, at, depth);
            else if (!(reopened && depth == 2) && code.Paravirt.TryGetValue(at, out var site))
                length = ParavirtCall(ops, code, at, site.Bytes[9]); // struct paravirt_patch_site: the address, a type, the length
            else if (!code.Instructions.ContainsKey(at))
                throw new UnmatchableException(at, "a site begins or ends in the middle of an instruction");
            else
                length = Instruction(ops, code, at);
            at += length;
            if (at > end)
                throw new UnmatchableException(at, "a site ends in the middle of an instruction");
        }
    }

    // What the kernel's tables say of the instruction: struct bug_entry, with or without file and line, and struct exception_table_entry.
    private void TrapEntries(List<MatchOp> ops, Code code, int at)
    {
        if (code.Bugs[at].Count() > 1 || code.Exceptions[at].Count() > 1)
            throw new UnmatchableException(at, "two entries of a table are about one instruction");
        if (code.Bugs[at].FirstOrDefault() is { } bug)
        {
            var (kind, file, line, flags) = bug.Bytes.Length switch
            {
                BugEntry.LongSize => (BugKind.Long, FileName(bug, at), BinaryPrimitives.ReadUInt16LittleEndian(bug.Bytes[8..]), BinaryPrimitives.ReadUInt16LittleEndian(bug.Bytes[10..])),
                BugEntry.ShortSize => (BugKind.Short, MatchFormat.None, (ushort)0, BinaryPrimitives.ReadUInt16LittleEndian(bug.Bytes[4..])),
                _ => throw new UnmatchableException(at, $"an entry of the bug table has {bug.Bytes.Length} bytes"),
            };
            ops.Add(new MatchOp { Op = OpCode.Bug, Kind = (byte)kind, Symbol = file, Value = (flags << 16) | line });
        }
        else if (code.Instructions.TryGetValue(at, out var trap) && trap.Instruction.Mnemonic == Mnemonic.Ud2)
        {
            ops.Add(new MatchOp { Op = OpCode.Bug, Kind = (byte)BugKind.None, Symbol = MatchFormat.None });
        }
        if (code.Exceptions[at].FirstOrDefault() is { } exception)
        {
            if (exception.Bytes.Length != ExceptionEntry.Size || exception.References.Count != 2)
                throw new UnmatchableException(at, $"an entry of the exception table has {exception.Bytes.Length} bytes");
            var (fixup, value) = Resolve(exception.References[1]);
            if (value != 0)
                throw new UnmatchableException(at, "the fixup of an entry of the exception table is no code");
            ops.Add(new MatchOp { Op = OpCode.Exception, Symbol = fixup, Value = BinaryPrimitives.ReadUInt32LittleEndian(exception.Bytes[8..]) });
        }
    }

    private uint FileName(TableEntry bug, int at) => bug.References is [_, { Target.Kind: NodeKind.String or NodeKind.Constant } reference]
        ? tables.Content(reference.Target.Bytes[(int)reference.TargetOffset..])
        : throw new UnmatchableException(at, "the file of an entry of the bug table is no string");

    // struct alt_instr ends with the lengths of the original and of the replacement (arch/x86/include/asm/alternative.h). Of several
    // entries for one place, which nested alternatives make, the longest original counts (apply_alternatives).
    private int Alternative(List<MatchOp> ops, Code code, int at, int depth)
    {
        if (depth > 0)
            throw new UnmatchableException(at, "an alternative stands within an alternative");
        int length = code.Alternatives[at].Max(entry => entry.Bytes[^2]);
        List<List<MatchOp>> variants = [[]];
        foreach (var entry in code.Alternatives[at])
        {
            List<MatchOp> variant = [];
            if (IsDirectCall(entry))
            {
                ParavirtCall(variant, code, at, length);
            }
            else if (entry.Bytes[^1] != 0)
            {
                var node = entry.References[1].Target!;
                WriteRange(variant, new Code(node), 0, (int)node.Size, 1);
            }
            variants.Add(variant);
        }
        if (length == 0 || at + length > code.Bytes.Length)
            throw new UnmatchableException(at, "an alternative reaches over the function's end");
        WriteRange(variants[0], code, at, at + length, 1);
        ops.Add(new MatchOp { Op = OpCode.Alternative, Kind = (byte)variants.Count, Length = (ushort)length, Symbol = MatchFormat.None, Value = variants.Sum(variant => 1 + variant.Count) });
        foreach (var variant in variants)
        {
            ops.Add(new MatchOp { Op = OpCode.Variant, Symbol = MatchFormat.None, Value = variant.Count });
            ops.AddRange(variant);
        }
        _closed = (ops, ops.Count);
        return length;
    }

    // ALT_FLAG_DIRECT_CALL: the replacement's target is what the original calls through. The flags are there since 6.4.
    private static bool IsDirectCall(TableEntry entry) => entry.Bytes.Length >= 14 && (entry.Bytes[^4] & 2) != 0;

    private int ParavirtCall(List<MatchOp> ops, Code code, int at, int length)
    {
        if (!code.Instructions.TryGetValue(at, out var call) || call.Instruction.Length > length || at + length > code.Bytes.Length
            || code.References.GetValueOrDefault(code.FieldOffset(at)) is not { External: { } table } reference
            || reference.TargetOffset < 0 || reference.TargetOffset % 8 != 0 || reference.TargetOffset / 8 > byte.MaxValue)
            throw new UnmatchableException(at, "a paravirt site does not hold a call of a table's entry");
        List<MatchOp> original = [];
        WriteRange(original, code, at, at + length, 2);
        ops.Add(new MatchOp
        {
            Op = OpCode.Paravirt,
            Kind = (byte)(reference.TargetOffset / 8),
            Length = (ushort)length,
            Symbol = tables.Global(table),
            Value = original.Count,
        });
        ops.AddRange(original);
        _closed = (ops, ops.Count);
        return length;
    }

    private int Instruction(List<MatchOp> ops, Code code, int at)
    {
        var (instruction, _) = code.Instructions[at];
        int length = instruction.Length;
        if (code.JumpLabels.TryGetValue(at, out var label))
        {
            var key = label.References[2];
            var (target, value) = Resolve(label.References[1]);
            ops.Add(new MatchOp { Op = OpCode.JumpLabel, Kind = (byte)(key.TargetOffset & 1), Length = (ushort)length, Symbol = target, Value = value });
            ops.Add(Key(key, ~3L));
        }
        else if (NopLength(code.Bytes.AsSpan(at)) == length)
        {
            // One run may be split differently; a label ends it.
            if (ops.Count != 0 && ops[^1].Op == OpCode.Nops && !code.Labels.Contains(at))
                ops[^1] = ops[^1] with { Length = (ushort)(ops[^1].Length + length) };
            else
                ops.Add(new MatchOp { Op = OpCode.Nops, Length = (ushort)length, Symbol = MatchFormat.None });
        }
        else if (instruction.Mnemonic == Mnemonic.Endbr64)
        {
            ops.Add(new MatchOp { Op = OpCode.Endbr, Length = (ushort)length, Symbol = MatchFormat.None });
        }
        else if (Code.IsBranch(instruction))
        {
            Branch(ops, code, at);
        }
        else if (code.Locks.TryGetValue(at, out _))
        {
            ops.Add(new MatchOp { Op = OpCode.Lock, Length = 1, Symbol = MatchFormat.None });
            Fields(ops, code, at, at + 1);
        }
        else
        {
            Fields(ops, code, at, at);
        }
        return length;
    }

    private MatchOp Key(ObjectReference key, long mask)
    {
        // The loader's flags stand in the low bits of the addend. A module that may call but not change names the trampoline
        // for the key, and the loader finds the key (tools/objtool/check.c, create_static_call_sections).
        uint symbol = key.External is { } name ? tables.Global(name.StartsWith("__SCT__", StringComparison.Ordinal) ? "__SCK__" + name["__SCT__".Length..] : name) : tables.Start(key.Target!);
        return new MatchOp { Op = OpCode.Key, Symbol = symbol, Value = key.TargetOffset & mask };
    }

    private void Branch(List<MatchOp> ops, Code code, int at)
    {
        var (instruction, _) = code.Instructions[at];
        var bytes = code.Bytes.AsSpan(at, instruction.Length);
        // A prefix of a conditional jump that says what is likely; the bytes behind it are a jump like any other.
        if (bytes[0] is 0x2e or 0x3e && KindOf(bytes[1..]) < (byte)BranchKind.Jmp)
        {
            Literal(ops, bytes[..1]);
            bytes = bytes[1..];
        }
        ushort length = (ushort)bytes.Length;
        byte kind = KindOf(bytes) ?? throw new UnmatchableException(at, $"the branch '{instruction}' has an unknown encoding");
        var reference = code.References.GetValueOrDefault(code.FieldOffset(at));
        if (code.StaticCalls.TryGetValue(at, out var site))
        {
            if (reference is null)
                throw new UnmatchableException(at, "a static call does not call a trampoline");
            var (trampoline, value) = Resolve(reference);
            ops.Add(new MatchOp { Op = OpCode.StaticCall, Kind = kind, Length = length, Symbol = trampoline, Value = value });
            ops.Add(Key(site.References[1], ~3L));
        }
        else if (reference is null)
        {
            long target = Code.Target(instruction)!.Value;
            uint symbol = target == 0 ? tables.Start(code.Node) : tables.Place(code.Node, target);
            ops.Add(new MatchOp { Op = OpCode.Branch, Kind = kind, Length = length, Symbol = symbol });
        }
        else if (reference.External == "__fentry__")
        {
            ops.Add(new MatchOp { Op = OpCode.Fentry, Length = length, Symbol = tables.Global("__fentry__") });
        }
        else if (reference.External == "__x86_return_thunk")
        {
            ops.Add(new MatchOp { Op = OpCode.Return, Length = length, Symbol = tables.Global("__x86_return_thunk") });
        }
        else if (reference.External is { } thunk && thunk.StartsWith(ThunkPrefix, StringComparison.Ordinal) && Array.IndexOf(Registers, thunk[ThunkPrefix.Length..]) is >= 0 and var register)
        {
            ops.Add(new MatchOp { Op = OpCode.Retpoline, Kind = kind, Length = length, Symbol = tables.Global(thunk), Value = register });
        }
        else
        {
            var (symbol, value) = Resolve(reference);
            ops.Add(new MatchOp { Op = OpCode.Branch, Kind = kind, Length = length, Symbol = symbol, Value = value });
        }
    }

    private static byte? KindOf(ReadOnlySpan<byte> code) => code[0] switch
    {
        >= 0x70 and <= 0x7f => (byte)(code[0] & 15),
        0x0f when code[1] is >= 0x80 and <= 0x8f => (byte)(code[1] & 15),
        0xeb or 0xe9 => (byte)BranchKind.Jmp,
        0xe8 => (byte)BranchKind.Call,
        >= 0xe0 and <= 0xe3 => (byte)((byte)BranchKind.Loopne + code[0] - 0xe0),
        0x2e when code[1] is 0xeb or 0xe9 => (byte)BranchKind.CsJmp,
        0x2e when code[1] == 0xe8 => (byte)BranchKind.CsCall,
        _ => null,
    };

    private (uint Symbol, long Value) Resolve(ObjectReference reference)
    {
        if (reference.External is { } name)
            return (tables.Global(name), reference.TargetOffset);
        if (reference.Target is not { } target)
            throw new UnmatchableException((long)reference.Offset, "a reference leads to nothing that is loaded");
        return target.IsCode && reference.TargetOffset != 0
            ? (tables.Place(target, reference.TargetOffset), 0)
            : (tables.Start(target), reference.TargetOffset);
    }

    // An instruction that is no branch, from `from` on; a relative operand without relocation points into the function itself.
    private void Fields(List<MatchOp> ops, Code code, int at, int from)
    {
        var (instruction, _) = code.Instructions[at];
        int end = at + instruction.Length;
        int field = code.FieldOffset(at);
        if (Code.Target(instruction) is long target && !code.References.ContainsKey(field))
        {
            if (target < 0 || target >= code.Bytes.Length)
                throw new UnmatchableException(at, "an operand leads out of the function without a relocation");
            Literals(ops, code.Node, from, field);
            uint symbol = target == 0 ? tables.Start(code.Node) : tables.Place(code.Node, target);
            ops.Add(new MatchOp { Op = OpCode.Field, Kind = (byte)FieldKind.Pc32, Length = 4, Symbol = symbol, Value = field - end });
            from = field + 4;
        }
        for (int place = from; place < end; place++)
        {
            if (!code.Constants.TryGetValue(place, out string? constant))
                continue;
            Literals(ops, code.Node, from, place);
            int size = SectionCatalog.RuntimeConstantSize(constant);
            var kind = size == 8 ? FieldKind.Abs64 : FieldKind.Abs8;
            ops.Add(new MatchOp { Op = OpCode.Field, Kind = (byte)kind, Length = (ushort)size, Symbol = tables.Constant(constant) });
            from = place + size;
            if (from > end)
                throw new UnmatchableException(place, "a runtime constant reaches over the end of its instruction");
        }
        Literals(ops, code.Node, from, end);
    }

    // Bytes and the relocated fields between them.
    private void Literals(List<MatchOp> ops, ObjectNode node, int from, int to)
    {
        foreach (var reference in node.References)
        {
            int offset = (int)reference.Offset;
            if (offset < from || offset >= to)
                continue;
            if (offset + reference.FieldSize > to)
                throw new UnmatchableException(offset, "a relocation reaches over the end of its instruction");
            Literal(ops, node.Bytes[from..offset]);
            var (symbol, value) = Resolve(reference);
            ops.Add(new MatchOp { Op = OpCode.Field, Kind = (byte)KindOf(reference), Length = (ushort)reference.FieldSize, Symbol = symbol, Value = value + reference.Adjustment });
            from = offset + reference.FieldSize;
        }
        Literal(ops, node.Bytes[from..to]);
    }

    private static FieldKind KindOf(ObjectReference reference) => reference.Type switch
    {
        ElfRelocationType.Abs64 => FieldKind.Abs64,
        ElfRelocationType.Abs32 => FieldKind.Abs32,
        ElfRelocationType.Abs32Signed => FieldKind.Abs32S,
        ElfRelocationType.Pc32 or ElfRelocationType.Plt32 => FieldKind.Pc32,
        ElfRelocationType.Pc64 => FieldKind.Pc64,
        _ => throw new UnmatchableException((long)reference.Offset, $"relocation type {(uint)reference.Type} is unknown"),
    };

    // The last op of a site's nested ops belongs to the site; what follows the site must not grow it.
    private int ClosedIn(List<MatchOp> ops) => ReferenceEquals(ops, _closed.Ops) ? _closed.Count : 0;

    private void Literal(List<MatchOp> ops, ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            int room = ushort.MaxValue;
            bool grows = ops.Count > ClosedIn(ops) && ops[^1].Op == OpCode.Literal && ops[^1].Value + ops[^1].Length == tables.LiteralEnd && ops[^1].Length < ushort.MaxValue;
            if (grows)
                room -= ops[^1].Length;
            int part = Math.Min(room, bytes.Length);
            long at = tables.Literal(bytes[..part]);
            if (grows)
                ops[^1] = ops[^1] with { Length = (ushort)(ops[^1].Length + part) };
            else
                ops.Add(new MatchOp { Op = OpCode.Literal, Length = (ushort)part, Symbol = MatchFormat.None, Value = at });
            bytes = bytes[part..];
        }
    }

    /// <summary>The length of the no-op at the start of <paramref name="code"/>, or 0: <c>ksp_nop_length</c> of match/code.c.</summary>
    public static int NopLength(ReadOnlySpan<byte> code)
    {
        if (code.Length > 15)
            code = code[..15];
        int at = 0;
        while (at < code.Length && code[at] is 0x66 or 0x2e)
            at++;
        if (at < code.Length && code[at] == 0x90)
            return at + 1;
        if (at + 2 >= code.Length || code[at] != 0x0f || code[at + 1] != 0x1f || (code[at + 2] & 0x38) != 0)
            return 0;
        int length = at + 3, mode = code[at + 2] >> 6, memory = code[at + 2] & 7;
        if (mode != 3 && memory == 4)
        {
            if (length >= code.Length)
                return 0;
            if (mode == 0 && (code[length] & 7) == 5)
                length += 4;
            length++;
        }
        else if (mode == 0 && memory == 5)
        {
            length += 4;
        }
        length += mode switch { 1 => 1, 2 => 4, _ => 0 };
        return length <= code.Length ? length : 0;
    }
}
