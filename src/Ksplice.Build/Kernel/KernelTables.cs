// SPDX-License-Identifier: MIT
// What a kernel, or a module, says in tables of its code: which instructions it rewrites, what a trap means, where a fault goes on,
// and which ENDBR it overwrites. Tables are laid out as on x86-64.
using System.Runtime.InteropServices;

namespace Ksplice.Build.Kernel;

/// <summary>An entry of the jump table (struct jump_entry, include/linux/jump_label.h).</summary>
/// <param name="Target">Where the branch goes if it is a jump.</param>
/// <param name="Key">The key, with flags in its low bits, of which bit 0 is the branch's sense.</param>
[StructLayout(LayoutKind.Auto)]
public readonly record struct JumpLabel(ulong Target, ulong Key);

/// <summary>An entry of the bug table (struct bug_entry, include/asm-generic/bug.h).</summary>
/// <param name="File">The address of the source file's name, 0 where the kernel keeps none.</param>
/// <param name="Line">The line, 0 where the kernel keeps none.</param>
/// <param name="Flags">BUGFLAG_ bits.</param>
[StructLayout(LayoutKind.Auto)]
public readonly record struct BugEntry(ulong File, uint Line, uint Flags)
{
    /// <summary>Bytes of an entry with format, file and line, with file and line (CONFIG_DEBUG_BUGVERBOSE), and without.</summary>
    internal const int FormatSize = 16,
        LongSize = 12,
        ShortSize = 8;

    /// <summary>The address of the warning's format, 0 where the kernel keeps none.</summary>
    public ulong Format { get; init; }

    /// <summary>The address of the entry.</summary>
    public ulong Entry { get; init; }

    /// <summary>All flags but BUGFLAG_DONE, which the kernel sets when a warning was given.</summary>
    internal const uint ComparedFlags = 0xfffb;
}

/// <summary>An entry of the exception table (struct exception_table_entry, arch/x86/include/asm/extable.h).</summary>
/// <param name="Fixup">Where the kernel goes on after a fault.</param>
/// <param name="Data">What it does before: an EX_TYPE_, a register, a number.</param>
[StructLayout(LayoutKind.Auto)]
public readonly record struct ExceptionEntry(ulong Fixup, uint Data)
{
    /// <summary>Bytes of an entry.</summary>
    internal const int Size = 12;
}

/// <summary>The tables of a kernel, of a module, or of both. An entry is found by the address of the code that it is about.</summary>
public sealed class KernelTables
{
    private const int JumpLabelSize = 16,
        StaticCallSize = 8,
        SealSize = 4;

    private readonly ulong[] _exceptions;

    /// <summary>Tables of these entries, by the address of the code.</summary>
    /// <param name="jumpLabels">The branches on static keys.</param>
    /// <param name="staticCalls">The static calls, with the addresses of their keys.</param>
    /// <param name="bugs">The traps.</param>
    /// <param name="exceptions">The instructions that may fault.</param>
    /// <param name="seals">Each ENDBR that is overwritten (K22).</param>
    public KernelTables(
        IReadOnlyDictionary<ulong, JumpLabel> jumpLabels,
        IReadOnlyDictionary<ulong, ulong> staticCalls,
        IReadOnlyDictionary<ulong, BugEntry> bugs,
        IReadOnlyDictionary<ulong, ExceptionEntry> exceptions,
        IReadOnlySet<ulong> seals
    )
    {
        ArgumentNullException.ThrowIfNull(exceptions);
        (JumpLabels, StaticCalls, Bugs, Exceptions, Seals) = (jumpLabels, staticCalls, bugs, exceptions, seals);
        _exceptions = [.. exceptions.Keys.Order()];
    }

    /// <summary>The branches on static keys.</summary>
    public IReadOnlyDictionary<ulong, JumpLabel> JumpLabels { get; }

    /// <summary>The static calls, with the addresses of their keys.</summary>
    public IReadOnlyDictionary<ulong, ulong> StaticCalls { get; }

    /// <summary>The traps.</summary>
    public IReadOnlyDictionary<ulong, BugEntry> Bugs { get; }

    /// <summary>The instructions that may fault.</summary>
    public IReadOnlyDictionary<ulong, ExceptionEntry> Exceptions { get; }

    /// <summary>Each ENDBR that is overwritten when kernel or module start (K22); a kernel that runs has freed its table.</summary>
    public IReadOnlySet<ulong> Seals { get; }

    /// <summary>Bytes of an entry of the bug table that these were read from, or 0.</summary>
    internal int BugSize { get; private init; }

    /// <summary>How many exceptions are for code from <paramref name="start"/> to <paramref name="end"/>, one past the last byte.</summary>
    public int CountExceptions(ulong start, ulong end) => CountBelow(end) - CountBelow(start);

    /// <summary>These entries and those of <paramref name="kernel"/>.</summary>
    public KernelTables Over(KernelTables kernel)
    {
        ArgumentNullException.ThrowIfNull(kernel);
        return new(
            Join(JumpLabels, kernel.JumpLabels),
            Join(StaticCalls, kernel.StaticCalls),
            Join(Bugs, kernel.Bugs),
            Join(Exceptions, kernel.Exceptions),
            Seals.Union(kernel.Seals).ToHashSet()
        );
    }

    /// <summary>Reads the tables of a kernel or of a module.</summary>
    /// <param name="jumpLabels">The table <c>__jump_table</c>.</param>
    /// <param name="staticCalls">The table of static call sites.</param>
    /// <param name="bugs">The table <c>__bug_table</c>.</param>
    /// <param name="bugSize">Bytes of an entry of it; 0 if it is to be taken for empty.</param>
    /// <param name="exceptions">The table <c>__ex_table</c>.</param>
    /// <param name="seals">The table of each ENDBR to overwrite (arch/x86/kernel/alternative.c, apply_seal_endbr).</param>
    /// <param name="keyOf">The key of what the table of static call sites has for one; null if that is the key.</param>
    internal static KernelTables Read(
        RelativeTable jumpLabels,
        RelativeTable staticCalls,
        RelativeTable bugs,
        int bugSize,
        RelativeTable exceptions,
        RelativeTable seals,
        Func<ulong, ulong>? keyOf = null
    ) =>
        new(
            ReadJumpLabels(jumpLabels),
            ReadStaticCalls(staticCalls).ToDictionary(call => call.Key, call => keyOf?.Invoke(call.Value) ?? call.Value),
            ReadBugs(bugs, bugSize),
            ReadExceptions(exceptions),
            seals.Entries(SealSize).Select(seals.Address).ToHashSet()
        )
        {
            BugSize = bugSize,
        };

    /// <summary>
    /// The size of an entry of a kernel's bug table, which depends on the configuration: that by which each entry leads into the
    /// kernel's text. 0 if none does; then the table is taken for empty, and what wants an entry does not match.
    /// </summary>
    internal static int FindBugSize(RelativeTable bugs, ulong textStart, ulong textEnd) =>
        ((int[])[BugEntry.FormatSize, BugEntry.LongSize, BugEntry.ShortSize]).FirstOrDefault(size =>
            bugs.Bytes.Length % size == 0 && bugs.Entries(size).Select(bugs.Address).All(code => code >= textStart && code < textEnd)
        );

    /// <summary>
    /// Two addresses an entry (struct static_call_site, struct static_call_tramp_key); the second has flags in its low bits.
    /// </summary>
    internal static Dictionary<ulong, ulong> ReadStaticCalls(RelativeTable table)
    {
        const ulong Flags = 3;
        Dictionary<ulong, ulong> entries = [];
        foreach (int at in table.Entries(StaticCallSize))
            entries[table.Address(at)] = table.Address(at + 4) & ~Flags;
        return entries;
    }

    private static Dictionary<ulong, JumpLabel> ReadJumpLabels(RelativeTable table)
    {
        Dictionary<ulong, JumpLabel> entries = [];
        foreach (int at in table.Entries(JumpLabelSize))
            entries[table.Address(at)] = new JumpLabel(table.Address(at + 4), table.WideAddress(at + 8));
        return entries;
    }

    private static Dictionary<ulong, BugEntry> ReadBugs(RelativeTable table, int size)
    {
        Dictionary<ulong, BugEntry> entries = [];
        foreach (int at in size == 0 ? [] : table.Entries(size))
            entries.TryAdd(
                table.Address(at),
                size switch
                {
                    BugEntry.FormatSize => new BugEntry(table.Address(at + 8), table.UInt16(at + 12), table.UInt16(at + 14))
                    {
                        Format = table.Address(at + 4),
                    },
                    BugEntry.LongSize => new BugEntry(table.Address(at + 4), table.UInt16(at + 8), table.UInt16(at + 10)),
                    _ => new BugEntry(0, 0, table.UInt16(at + 4)),
                } with
                {
                    Entry = table.Start + (ulong)at,
                }
            );
        return entries;
    }

    private static Dictionary<ulong, ExceptionEntry> ReadExceptions(RelativeTable table)
    {
        Dictionary<ulong, ExceptionEntry> entries = [];
        foreach (int at in table.Entries(ExceptionEntry.Size))
            entries.TryAdd(table.Address(at), new ExceptionEntry(table.Address(at + 4), table.UInt32(at + 8)));
        return entries;
    }

    private static Dictionary<ulong, T> Join<T>(IReadOnlyDictionary<ulong, T> module, IReadOnlyDictionary<ulong, T> kernel)
    {
        Dictionary<ulong, T> joined = new(kernel);
        foreach (var (code, entry) in module)
            joined[code] = entry;
        return joined;
    }

    private int CountBelow(ulong address)
    {
        int index = Array.BinarySearch(_exceptions, address);
        return index < 0 ? ~index : index;
    }
}
