// SPDX-License-Identifier: MIT
// The lock that keeps two commands from changing the kernel at the same time: flock(2) on a file. It belongs to the open file, and so to
// the process whatever program it runs: it is passed through execve by the descriptor's number.
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Ksplice.Cli.Machines;

/// <summary>An open lock file; the lock, once taken, goes with it.</summary>
public sealed partial class LockFile : IDisposable
{
    private const int OpenFlags = 0x80042,
        Mode = 0x180; // O_RDWR | O_CREAT | O_CLOEXEC, 0600
    private const int Exclusive = 2,
        NonBlocking = 4; // LOCK_EX, LOCK_NB
    private const int SetFlags = 2; // F_SETFD; its value is FD_CLOEXEC, 1

    private SafeFileHandle _handle;

    private LockFile(SafeFileHandle handle) => _handle = handle;

    /// <summary>Opens the file, and makes it where it is not there; takes no lock.</summary>
    public static LockFile Open(string path)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        LockFile file = new(new SafeFileHandle(Open(path, OpenFlags, Mode), ownsHandle: true));
        return file._handle.IsInvalid
            ? throw new IOException($"cannot open {path}: {Machine.Describe(Marshal.GetLastPInvokeError())}")
            : file;
    }

    /// <summary>A file that <see cref="PassOn"/> gave a number.</summary>
    public static LockFile Adopt(int descriptor)
    {
        CloseOnExec(descriptor, true);
        return new(new SafeFileHandle(descriptor, ownsHandle: true));
    }

    /// <summary>True if the lock is ours now.</summary>
    public bool TryTake() => Flock((int)_handle.DangerousGetHandle(), Exclusive | NonBlocking) == 0;

    /// <summary>Its number in the program that this process becomes; this object lets go of it.</summary>
    public int PassOn()
    {
        var descriptor = (int)_handle.DangerousGetHandle();
        _handle.SetHandleAsInvalid();
        return descriptor;
    }

    /// <summary>The same file again, after it was passed on to a program that did not start.</summary>
    public void TakeBack(int descriptor) => _handle = Adopt(descriptor)._handle;

    /// <summary>Whether a descriptor ends with the program that has it.</summary>
    internal static void CloseOnExec(int descriptor, bool value) => _ = Control(descriptor, SetFlags, value ? 1 : 0);

    public void Dispose() => _handle.Dispose();

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags, uint mode);

    [LibraryImport("libc", EntryPoint = "flock", SetLastError = true)]
    private static partial int Flock(int descriptor, int operation);

    [LibraryImport("libc", EntryPoint = "fcntl", SetLastError = true)]
    private static partial int Control(int descriptor, int command, int value);
}
