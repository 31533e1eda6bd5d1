// SPDX-License-Identifier: MIT
// What the build writes of include/ksplice/update.h into a primary: the same structs with the same members in the same order.
// What each means is said there. A test compiles the header and compares; a pointer is a field that a relocation fills in.
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Ksplice.Build.Generation;

/// <summary>Values and layouts of include/ksplice/update.h.</summary>
internal static class PrimaryTables
{
    /// <summary><c>KSPLICE_ABI</c>.</summary>
    public const uint Abi = 6;

    /// <summary><c>KSPLICE_IN_NMI</c>, a flag of a redirect.</summary>
    public const uint InNmi = 1;

    /// <summary>How many kinds of hooks there are: <c>KSPLICE_N_HOOKS</c>.</summary>
    public const int HookCount = 10;

    /// <summary>The hooks in the order of <c>enum ksplice_hook</c>, as the macros of hooks.h name their sections.</summary>
    public static readonly string[] HookNames =
    [
        "pre_apply",
        "check_apply",
        "apply",
        "post_apply",
        "fail_apply",
        "pre_reverse",
        "check_reverse",
        "reverse",
        "post_reverse",
        "fail_reverse",
    ];

    /// <summary>Where <paramref name="part"/> stands in <paramref name="whole"/>, as C's <c>offsetof</c> says it.</summary>
    public static int OffsetOf<TWhole, TPart>(ref readonly TWhole whole, ref readonly TPart part)
        where TWhole : unmanaged
        where TPart : unmanaged =>
        (int)
            Unsafe.ByteOffset(
                ref Unsafe.As<TWhole, byte>(ref Unsafe.AsRef(in whole)),
                ref Unsafe.As<TPart, byte>(ref Unsafe.AsRef(in part))
            );

    /// <summary>The bytes of a table.</summary>
    public static byte[] ToBytes<T>(ReadOnlySpan<T> table)
        where T : unmanaged => MemoryMarshal.AsBytes(table).ToArray();
}

/// <summary><c>struct ksplice_redirect</c>.</summary>
[StructLayout(LayoutKind.Sequential, Pack = 8)]
internal struct RedirectEntry
{
    public ulong Code;
    public uint Function;
    public uint Size;
    public uint Flags;
    public uint Reserved;
}

/// <summary><c>struct ksplice_hook_list</c>.</summary>
[StructLayout(LayoutKind.Sequential, Pack = 8)]
internal struct HookList
{
    public ulong Calls;
    public ulong Count;
}

/// <summary>A list for each kind of hook.</summary>
[InlineArray(PrimaryTables.HookCount)]
internal struct HookLists
{
    private HookList _first;
}

/// <summary><c>struct ksplice_relocation</c>.</summary>
[StructLayout(LayoutKind.Sequential, Pack = 8)]
internal struct RelocationEntry
{
    public ulong Place;
    public long Addend;
    public uint Value;
    public uint Type;
}

/// <summary><c>struct ksplice_code</c>.</summary>
[StructLayout(LayoutKind.Sequential, Pack = 8)]
internal struct CodeTable
{
    public uint Abi;
    public uint RedirectCount;
    public ulong Redirects;
    public HookLists Hooks;
    public ulong Relocations;
    public ulong RelocationCount;
}
