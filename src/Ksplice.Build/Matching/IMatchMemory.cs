// SPDX-License-Identifier: MIT
using Ksplice.Build.Kernel;

namespace Ksplice.Build.Matching;

/// <summary>
/// The surroundings of a match, the C interface <c>struct ksp_env</c> once more: the memory of a kernel and its tables.
/// A kernel image is one; tests lay changed bytes over it.
/// </summary>
public interface IMatchMemory
{
    /// <summary>Copies the bytes at <paramref name="address"/>, or returns false if some of them are not there.</summary>
    bool TryRead(ulong address, Span<byte> destination);

    /// <summary>The addresses of all symbols of that exact name.</summary>
    IReadOnlyList<ulong> Candidates(string name);

    /// <summary>The same for a name in UTF-8, as match data has it.</summary>
    IReadOnlyList<ulong> Candidates(ReadOnlySpan<byte> name) => Candidates(System.Text.Encoding.UTF8.GetString(name));

    /// <summary>Where the last symbol at or before <paramref name="address"/> starts, and where the next one does.</summary>
    bool TryFindExtent(ulong address, out ulong start, out ulong end);

    /// <summary>What the kernel says in tables of the code that is here.</summary>
    KernelTables Tables { get; }

    /// <summary>True if a call at the fentry site <paramref name="site"/> to <paramref name="target"/> is ftrace's.</summary>
    bool IsFtraceTarget(ulong site, ulong target);

    /// <summary>True if a kprobe stands at <paramref name="address"/>.</summary>
    bool IsProbed(ulong address);

    /// <summary>False if <paramref name="address"/> is code of a kernel with IBT and an indirect call of it faults (K22).</summary>
    bool HasEndbr(ulong address);
}
