// SPDX-License-Identifier: MIT
// Matching against the shipped image of 6.12, and against what that kernel makes of its own code: paravirt calls are
// alternatives there, and some constants are written into the code at boot (K5).
using System.Buffers.Binary;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Ksplice.Build.Elf;
using Ksplice.Build.Kernel;
using Ksplice.Build.Matching;
using Ksplice.Build.Matching.Interpreter;
using Ksplice.Build.Tests.Kernel;

namespace Ksplice.Build.Tests.Matching;

public sealed class NewerImageMatchTests
{
    private static readonly RuntimeConstant[] Hash = [new("runtime_ptr_dentry_hashtable"), new("runtime_shift_d_hash_shift")];

    /// <summary>An image with some bytes changed, as the kernel changes them.</summary>
    private sealed class Rewritten(IMatchMemory under) : IMatchMemory
    {
        private readonly Dictionary<ulong, byte> _bytes = [];

        public void Write(ulong address, params ReadOnlySpan<byte> bytes)
        {
            for (int i = 0; i < bytes.Length; i++)
                _bytes[address + (ulong)i] = bytes[i];
        }

        public bool TryRead(ulong address, Span<byte> destination)
        {
            if (!under.TryRead(address, destination))
                return false;
            for (int i = 0; i < destination.Length; i++)
                destination[i] = _bytes.GetValueOrDefault(address + (ulong)i, destination[i]);
            return true;
        }

        public IReadOnlyList<ulong> Candidates(string name) => under.Candidates(name);

        public KernelTables Tables => under.Tables;

        public bool IsFtraceTarget(ulong site, ulong target) => under.IsFtraceTarget(site, target);

        public bool IsProbed(ulong address) => under.IsProbed(address);

        public bool HasEndbr(ulong address) => under.HasEndbr(address);

        public bool TryFindExtent(ulong address, out ulong start, out ulong end) => under.TryFindExtent(address, out start, out end);
    }

    private static async Task<Rewritten> ImageAsync() => new(new ImageMemory((await NewerKernel.PreparedAsync()).Image));

    [Theory]
    [InlineData("fs/open.c")]
    [InlineData("fs/proc/task_mmu.c")]
    [InlineData("kernel/sys.c")]
    public async Task Matches_the_functions_of_a_unit_at_their_symbols(string unit)
    {
        var (_, sites) = await NewerKernel.CompileAsync(unit);
        var memory = await ImageAsync();
        List<string> problems = [];
        foreach (var function in UnitMatch.Functions(sites))
        {
            DiagnosticBag diagnostics = new();
            var data = UnitMatch.Build(sites, unit, function, [], diagnostics);
            var result = data is null ? null : MatchInterpreter.Match(data.Bytes, memory);
            if (result is { IsMatch: true })
                Assert.Contains(result.Functions[0].Start, memory.Candidates(function.Name));
            else if (
                result?.Failure?.Reason is not (MatchReason.Ambiguous or MatchReason.NoRoom)
                && function.Symbols[0].Binding != ElfSymbolBinding.Weak
            )
                problems.Add(result?.Failure?.ToString() ?? string.Join(' ', diagnostics));
        }
        Assert.Empty(problems);
    }

    [Fact]
    public async Task A_paravirt_call_may_be_a_direct_call_of_what_its_table_holds_and_of_nothing_else()
    {
        var (_, sites) = await NewerKernel.CompileAsync("fs/proc/task_mmu.c");
        var node = UnitMatch.Functions(sites).Single(function => function.Name == "make_uffd_wp_pte");
        var site = node.Entries.First(entry => entry.Section.Name == ".altinstructions");
        var call = node.References.Single(reference => reference.External == "pv_ops" && (long)reference.Offset == site.KeyOffset + 2);
        var data = UnitMatch.Build(sites, "fs/proc/task_mmu.c", node, [], [])!;
        var memory = await ImageAsync();
        ulong start = Assert.Single(memory.Candidates(node.Name)),
            at = start + (ulong)site.KeyOffset;
        ulong entry = Assert.Single(memory.Candidates("pv_ops")) + (ulong)call.TargetOffset;
        byte[] held = new byte[8];
        Assert.True(memory.TryRead(entry, held));

        Call(BinaryPrimitives.ReadUInt64LittleEndian(held));
        Assert.True(MatchInterpreter.Match(data.Bytes, memory).IsMatch);
        Call(BinaryPrimitives.ReadUInt64LittleEndian(held) + 16);
        Assert.False(MatchInterpreter.Match(data.Bytes, memory).IsMatch);
        // Of nothing: BUG_func.
        memory.Write(entry, new byte[8]);
        Call(Assert.Single(memory.Candidates("BUG_func")));
        Assert.True(MatchInterpreter.Match(data.Bytes, memory).IsMatch);
        // Of nop_func: no call at all.
        byte[] nop = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(nop, Assert.Single(memory.Candidates("nop_func")));
        memory.Write(entry, nop);
        memory.Write(at, 0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00);
        Assert.True(MatchInterpreter.Match(data.Bytes, memory).IsMatch);

        void Call(ulong target)
        {
            byte[] bytes = [0xe8, 0, 0, 0, 0, 0x90];
            BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(1), (int)(target - at - 5));
            memory.Write(at, bytes);
        }
    }

    // retbleed=stuff: boot writes what counts a call before each function, and has calls begin there.
    [Fact]
    public async Task A_call_may_begin_at_the_count_before_a_function_and_at_nothing_else()
    {
        const int Count = 9;
        var (data, memory, at, callee) = await BranchAsync("vfs_open", (target, memory) =>
            memory.Candidates("do_dentry_open").Contains(target) || memory.Candidates("file_get_write_access").Contains(target)
        );
        Branch(memory, at, callee - Count);
        Assert.Equal(MatchReason.Conflict, MatchInterpreter.Match(data, memory).Failure?.Reason);
        ulong template = Assert.Single(memory.Candidates("skl_call_thunk_template"));
        byte[] count = new byte[Count];
        Assert.True(memory.TryRead(template, count));
        int place = (int)(template - (callee - Count)) + BinaryPrimitives.ReadInt32LittleEndian(count.AsSpan(4));
        Write(place);
        Assert.True(MatchInterpreter.Match(data, memory).IsMatch);
        // What counts elsewhere.
        Write(place + 8);
        Assert.Equal(MatchReason.Conflict, MatchInterpreter.Match(data, memory).Failure?.Reason);
        // A function that is not the one.
        Write(place);
        ulong other = Assert.Single(memory.Candidates("vfs_truncate"));
        memory.Write(other - Count, count);
        Branch(memory, at, other - Count);
        Assert.Equal(MatchReason.Conflict, MatchInterpreter.Match(data, memory).Failure?.Reason);

        void Write(int distance)
        {
            BinaryPrimitives.WriteInt32LittleEndian(count.AsSpan(4), distance);
            memory.Write(callee - Count, count);
        }
    }

    [Fact]
    public async Task An_indirect_call_may_go_through_another_thunk_of_its_register_and_of_no_other()
    {
        var (data, memory, at, thunk) = await BranchAsync("do_dentry_open", (target, memory) => Number(target, memory) is >= 0 and < 16);
        int number = Number(thunk, memory);
        ulong counting = Assert.Single(memory.Candidates("__x86_indirect_call_thunk_array"));
        Go(counting + (ulong)number * 32, matches: true);
        Go(counting + (ulong)(number ^ 1) * 32, matches: false);
        Go(Assert.Single(memory.Candidates("__x86_indirect_jump_thunk_array")) + (ulong)number * 32, matches: false);
        // Against ITS: wherever there is room.
        ulong own = Assert.Single(memory.Candidates("vfs_truncate")) - 8;
        byte[] code = [0x41, 0xff, (byte)(0xe0 | (number & 7)), 0xcc];
        memory.Write(own, number < 8 ? code[1..] : code);
        Go(own, matches: true);
        code[2] ^= 1;
        memory.Write(own, number < 8 ? code[1..] : code);
        Go(own, matches: false);

        void Go(ulong target, bool matches)
        {
            Branch(memory, at, target);
            Assert.Equal(matches, MatchInterpreter.Match(data, memory).IsMatch);
        }
    }

    private static int Number(ulong thunk, Rewritten memory) =>
        (int)((long)(thunk - Assert.Single(memory.Candidates("__x86_indirect_thunk_array"))) / 32);

    /// <summary>The first call of a function of fs/open.c that leads where it is wanted to, its match data and its target.</summary>
    private static async Task<(byte[] Data, Rewritten Memory, ulong At, ulong Target)> BranchAsync(
        string function,
        Func<ulong, Rewritten, bool> isWanted
    )
    {
        var (_, sites) = await NewerKernel.CompileAsync("fs/open.c");
        byte[] data = UnitMatch.Build(sites, "fs/open.c", UnitMatch.Functions(sites).Single(node => node.Name == function), [], [])!.Bytes;
        var memory = await ImageAsync();
        var range = MatchInterpreter.Match(data, memory).Ranges[0];
        byte[] code = new byte[5];
        for (ulong at = range.Start; at < range.End; at++)
        {
            Assert.True(memory.TryRead(at, code));
            ulong target = at + 5 + (ulong)BinaryPrimitives.ReadInt32LittleEndian(code.AsSpan(1));
            if (code[0] == 0xe8 && isWanted(target, memory))
                return (data, memory, at, target);
        }
        throw new InvalidOperationException($"{function} has no such call");
    }

    private static void Branch(Rewritten memory, ulong at, ulong target)
    {
        byte[] distance = new byte[4];
        BinaryPrimitives.WriteInt32LittleEndian(distance, (int)(target - at - 5));
        memory.Write(at + 1, distance);
    }

    [Fact]
    public async Task Runtime_constants_are_read_from_the_code_and_must_agree()
    {
        var (_, sites) = await NewerKernel.CompileAsync("fs/dcache.c");
        var node = UnitMatch.Functions(sites).Single(function => function.Name == "__d_lookup_rcu");
        var places = node
            .Entries.Where(entry => SectionCatalog.IsRuntimeConstant(entry.Section.Name))
            .ToDictionary(entry => entry.Section.Name, entry => (ulong)entry.KeyOffset);
        var data = UnitMatch.Build(sites, "fs/dcache.c", node, Hash, [])!;
        var memory = await ImageAsync();
        Assert.Equal([0x0123456789abcdef, 12ul], MatchInterpreter.Match(data.Bytes, memory).Exports);

        // What a running kernel has there.
        ulong start = Assert.Single(memory.Candidates(node.Name));
        memory.Write(start + places[Hash[0].Name], 0, 0, 0x40, 0, 0, 0x10, 0x88, 0xff);
        memory.Write(start + places[Hash[1].Name], 14);
        Assert.Equal([0xff88100000400000, 14ul], MatchInterpreter.Match(data.Bytes, memory).Exports);

        // Another function of the update still has what the compiler wrote.
        var both = UnitMatch.Functions(sites).Where(function => function.Name is "__d_lookup_rcu" or "__d_lookup").ToList();
        Assert.Equal(2, both.Count);
        var result = MatchInterpreter.Match(MatchDataBuilder.Build([UnitMatch.Diff(sites, "fs/dcache.c", both)], Hash, [])!.Bytes, memory);
        Assert.Equal(MatchReason.Conflict, result.Failure?.Reason);
    }

    [Fact]
    public async Task A_runtime_constant_that_no_code_of_the_unit_has_is_refused()
    {
        var (_, sites) = await NewerKernel.CompileAsync("kernel/sys.c");
        DiagnosticBag diagnostics = [];
        Assert.Null(UnitMatch.Build(sites, "kernel/sys.c", UnitMatch.Functions(sites).First(), Hash, diagnostics));
        Assert.Equal(["KSP4002", "KSP4002"], diagnostics.Select(diagnostic => diagnostic.Id));
    }
}
