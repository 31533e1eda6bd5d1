// SPDX-License-Identifier: MIT
// Code that is the same and has another entry in the bug or exception table is another function.
using System.Runtime.InteropServices;
using Ksplice.Build.Kernel;
using Ksplice.Build.Matching;
using Ksplice.Build.Matching.Interpreter;
using Ksplice.Build.Tests.Kernel;

namespace Ksplice.Build.Tests.Matching;

public sealed class TrapTableTests
{
    private static readonly ImageMemory Shipped = new(KernelUnderTest.Image);

    [Fact]
    public async Task Another_line_file_or_flag_of_a_trap_or_none_at_all_is_a_difference()
    {
        var (data, code) = await FindAsync("kernel/printk/printk.c", OpCode.Bug, Shipped.Tables.Bugs.ContainsKey);
        Assert.True(Shipped.Tables.Bugs.TryGetValue(code, out var bug));
        Assert.True(MatchInterpreter.Match(data, WithBug(code, bug with { Flags = bug.Flags | 4 })).IsMatch); // BUGFLAG_DONE: it was hit
        Refused(data, code, WithBug(code, bug with { Line = bug.Line + 1 }));
        Refused(data, code, WithBug(code, bug with { Flags = bug.Flags ^ 1 }));
        Refused(data, code, WithBug(code, bug with { File = bug.File + 1 }));
        Refused(data, code, WithBug(code, null));
    }

    [Fact]
    public async Task Another_fixup_of_a_fault_or_another_handler_or_none_is_a_difference()
    {
        var (data, code) = await FindAsync("fs/readdir.c", OpCode.Exception, Shipped.Tables.Exceptions.ContainsKey);
        Assert.True(Shipped.Tables.Exceptions.TryGetValue(code, out var exception));
        Assert.True(MatchInterpreter.Match(data, WithException(code, exception)).IsMatch);
        // The fixup is a place in the function, which another op meets, too.
        Assert.Equal(
            MatchReason.Conflict,
            MatchInterpreter.Match(data, WithException(code, exception with { Fixup = exception.Fixup + 1 })).Failure?.Reason
        );
        Refused(data, code, WithException(code, exception with { Data = exception.Data + 1 }));
        Refused(data, code, WithException(code, null));
        var function = MatchInterpreter.Match(data, Shipped).Functions[0];
        Refused(data, function.End, WithException(function.Start + 1, exception));
        Assert.All([function.Start - 1, function.End], outside =>
            Assert.True(MatchInterpreter.Match(data, WithException(outside, exception)).IsMatch)
        );
    }

    // A symbol that nothing looks at could be any number, and would be told with a difference.
    [Theory]
    [InlineData((int)BugKind.None)]
    [InlineData((int)BugKind.Short)]
    public async Task An_entry_without_a_file_name_has_no_symbol(int kind)
    {
        var (data, _) = await FindAsync("kernel/printk/printk.c", OpCode.Bug, Shipped.Tables.Bugs.ContainsKey);
        var ops = MemoryMarshal.Cast<byte, MatchOp>(data.AsSpan((int)MemoryMarshal.Read<MatchHeader>(data).Ops));
        int index = CheckedMatchData.CheckData(data)!.Ops.ToArray().ToList().FindIndex(op => op.Op == OpCode.Bug);
        ops[index].Kind = (byte)kind;
        ops[index].Symbol = 0xfffffff0;
        Assert.Equal(MatchReason.BadData, MatchInterpreter.Match(data, Shipped).Failure?.Reason);
        ops[index].Symbol = MatchFormat.None;
        Assert.Equal(kind == (int)BugKind.None, MatchInterpreter.Match(data, Shipped).Failure?.Reason == MatchReason.Different);
    }

    [Fact]
    public void A_table_whose_entries_have_an_unknown_size_is_taken_for_empty()
    {
        byte[] bytes = new byte[80];
        for (int at = 0; at < bytes.Length; at += 20)
            BitConverter.TryWriteBytes(bytes.AsSpan(at), 0x1000 - at);
        RelativeTable table = new(0x10000, bytes);
        Assert.Equal(0, KernelTables.FindBugSize(table, 0x11000, 0x12000));
        Assert.Empty(KernelTables.Read(default, default, table, 0, default, default).Bugs);
        Assert.Equal(BugEntry.LongSize, KernelUnderTest.Image.Tables.BugSize);
    }

    [Fact]
    public void An_entry_may_have_a_format_before_the_file()
    {
        const ulong Start = 0x10000;
        byte[] bytes = new byte[48];
        for (int at = 0; at < bytes.Length; at += 16)
        {
            BitConverter.TryWriteBytes(bytes.AsSpan(at), 0x1000); // the trap, so far behind its own place
            BitConverter.TryWriteBytes(bytes.AsSpan(at + 4), 0x2000);
            BitConverter.TryWriteBytes(bytes.AsSpan(at + 8), 0x3000);
            BitConverter.TryWriteBytes(bytes.AsSpan(at + 12), (ushort)77);
            BitConverter.TryWriteBytes(bytes.AsSpan(at + 14), (ushort)0x901);
        }
        RelativeTable table = new(Start, bytes);
        int size = KernelTables.FindBugSize(table, 0x11000, 0x12000);
        Assert.Equal(BugEntry.FormatSize, size);
        var bugs = KernelTables.Read(default, default, table, size, default, default).Bugs;
        Assert.Equal([Start + 0x1000, Start + 0x1010, Start + 0x1020], bugs.Keys.Order());
        Assert.Equal(
            new BugEntry(Start + 0x10 + 8 + 0x3000, 77, 0x901) { Format = Start + 0x10 + 4 + 0x2000, Entry = Start + 0x10 },
            bugs[Start + 0x1010]
        );
    }

    // The data of the first function with such an op, and the address of its first entry.
    private static async Task<(byte[] Data, ulong Code)> FindAsync(string unit, OpCode wanted, Predicate<ulong> hasEntry)
    {
        var pre = await KernelObjects.CompileAsync(unit);
        foreach (var function in UnitMatch.Functions(pre))
        {
            if (
                UnitMatch.Build(pre, unit, function, [], []) is not { } data
                || !CheckedMatchData
                    .CheckData(data.Bytes)!
                    .Ops.ToArray()
                    .Any(op => op.Op == wanted && (op.Kind != 0 || wanted == OpCode.Exception))
            )
                continue;
            var result = MatchInterpreter.Match(data.Bytes, Shipped);
            if (!result.IsMatch)
                continue;
            for (ulong code = result.Functions[0].Start; code < result.Functions[0].End; code++)
            {
                if (hasEntry(code))
                    return (data.Bytes, code);
            }
        }
        throw new InvalidOperationException($"no function of {unit} has an entry");
    }

    private static void Refused(byte[] data, ulong code, ChangedMemory memory)
    {
        var failure = MatchInterpreter.Match(data, memory).Failure!;
        Assert.Equal((MatchReason.Different, code), (failure.Reason, failure.Address));
    }

    private static ChangedMemory WithBug(ulong code, BugEntry? entry)
    {
        ChangedMemory memory = new(Shipped);
        memory.SetBug(code, entry);
        return memory;
    }

    private static ChangedMemory WithException(ulong code, ExceptionEntry? entry)
    {
        ChangedMemory memory = new(Shipped);
        memory.SetException(code, entry);
        return memory;
    }
}
