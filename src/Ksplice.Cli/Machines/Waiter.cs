// SPDX-License-Identifier: MIT
// K30: while the kernel works on a request, this process is no .NET program: its threads would sleep in functions that an update may
// replace. It becomes a small program (Waiter/waiter.c), which is in this assembly and runs from memory, and that becomes this one again.
using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace Ksplice.Cli.Machines;

/// <summary>A wait.</summary>
/// <param name="What">What for: <c>lock</c>, <c>idle</c>, or the stage to ask for.</param>
/// <param name="Directory">The update's, in sysfs.</param>
/// <param name="Until">When it is given up, by <see cref="System.Diagnostics.Stopwatch"/>, which is CLOCK_MONOTONIC in nanoseconds.</param>
/// <param name="Lock">The lock file's descriptor.</param>
public sealed record Wait(string What, string Directory, long Until, int Lock)
{
    public const string ForLock = "lock",
        ForIdle = "idle";

    /// <summary>
    /// The waiter's arguments before the command's own: the program to become by its descriptor, the signals that are blocked in it.
    /// </summary>
    public IReadOnlyList<string> Arguments(int program, ulong mask) =>
        ["ksplice-waiter", What, Directory, $"{Until}", $"{program}", $"{Lock}", $"{mask:x}"];
}

/// <summary>Becomes the waiter.</summary>
public static unsafe partial class Waiter
{
    private const string Marker = "--resumed";
    private const uint CloseOnExec = 1,
        Executable = 0x10; // MFD_CLOEXEC, MFD_EXEC
    private const int InvalidArgument = 22;
    private const int SetMask = 2; // SIG_SETMASK
    private const int SignalSet = 1024 / 64; // sigset_t, in words
    private const int Name = 15; // PR_SET_NAME

    /// <summary>The program.</summary>
    public static byte[] Program
    {
        get
        {
            using var resource = typeof(Waiter).Assembly.GetManifestResourceStream("waiter")!;
            var program = new byte[resource.Length];
            resource.ReadExactly(program);
            return program;
        }
    }

    /// <summary>
    /// What stands behind the command's own arguments once it goes on; the waiter puts the end of the wait in the last one's place.
    /// </summary>
    public static string[] Resume(string state) => [Marker, state, "?"];

    /// <summary>Takes that off again: the own arguments, and the state and the wait's end if it goes on.</summary>
    public static (T[] Own, (T State, T End)? Resumed) Split<T>(T[] arguments, Func<T, string> text) =>
        arguments is [.. var own, var marker, var state, var end] && text(marker) == Marker ? (own, (state, end)) : (arguments, null);

    /// <summary>What the process is called once it is the command again: the kernel takes a descriptor's number for its name.</summary>
    public static void Rename() => _ = Prctl(Name, "ksplice");

    /// <summary>
    /// Becomes the waiter, and by it this program again, with the same arguments, <paramref name="state"/> and how the wait ended. Returns
    /// only where that fails: the error number.
    /// </summary>
    public static int Become(Wait wait, string state)
    {
        try
        {
            byte[][] resumed = [.. Split(OwnArguments(), Encoding.UTF8.GetString).Own, .. Resume(state).Select(Encoding.UTF8.GetBytes)];
            using var program = Load();
            if (program.IsInvalid)
                return Marshal.GetLastPInvokeError();
            // By its open file: what lies at its path may be another program by now.
            using SafeFileHandle self = new(Open("/proc/self/exe", 0), ownsHandle: true);
            return self.IsInvalid ? Marshal.GetLastPInvokeError() : Become(wait, program, self, resumed);
        }
        catch (IOException e)
        {
            return e.HResult; // of what the runtime reads and writes itself: the error number
        }
    }

    private static int Become(Wait wait, SafeFileHandle program, SafeFileHandle self, byte[][] resumed)
    {
        LockFile.CloseOnExec(wait.Lock, false);
        // A signal for this thread would meet a program that has no handler.
        ulong* all = stackalloc ulong[SignalSet],
            before = stackalloc ulong[SignalSet];
        new Span<ulong>(all, SignalSet).Fill(ulong.MaxValue);
        SetSignals(SetMask, all, before);
        var first = wait.Arguments((int)self.DangerousGetHandle(), before[0]).Select(Encoding.UTF8.GetBytes);
        var error = Execute($"/proc/self/fd/{program.DangerousGetHandle()}", [.. first, .. resumed]);
        SetSignals(SetMask, before, null);
        return error;
    }

    private static SafeFileHandle Load()
    {
        // Kernels before 6.3 don't know the flag, later ones may be set to want it.
        var file = CreateInMemory("ksplice-waiter", CloseOnExec | Executable);
        if (file < 0 && Marshal.GetLastPInvokeError() == InvalidArgument)
            file = CreateInMemory("ksplice-waiter", CloseOnExec);
        SafeFileHandle program = new(file, ownsHandle: true);
        if (!program.IsInvalid)
            RandomAccess.Write(program, Program, 0);
        return program;
    }

    // What this process was started with: the host's arguments too, where it runs on one.
    private static byte[][] OwnArguments()
    {
        var line = File.ReadAllBytes("/proc/self/cmdline");
        List<byte[]> arguments = [];
        for (int start = 0, end; start < line.Length; start = end + 1)
        {
            end = Array.IndexOf(line, (byte)0, start);
            end = end < 0 ? line.Length : end;
            arguments.Add(line[start..end]);
        }

        return [.. arguments];
    }

    private static int Execute(string path, byte[][] arguments)
    {
        var pointers = (byte**)NativeMemory.AllocZeroed((nuint)arguments.Length + 1, (nuint)sizeof(byte*));
        for (var n = 0; n < arguments.Length; n++)
        {
            pointers[n] = (byte*)NativeMemory.AllocZeroed((nuint)arguments[n].Length + 1);
            arguments[n].CopyTo(new Span<byte>(pointers[n], arguments[n].Length));
        }

        Execv(path, pointers);
        var error = Marshal.GetLastPInvokeError();
        for (var n = 0; n < arguments.Length; n++)
            NativeMemory.Free(pointers[n]);
        NativeMemory.Free(pointers);
        return error;
    }

    [LibraryImport("libc", EntryPoint = "memfd_create", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int CreateInMemory(string name, uint flags);

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags);

    [LibraryImport("libc", EntryPoint = "execv", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Execv(string path, byte** arguments);

    [LibraryImport("libc", EntryPoint = "pthread_sigmask")]
    private static partial int SetSignals(int how, ulong* signals, ulong* before);

    [LibraryImport("libc", EntryPoint = "prctl", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Prctl(int option, string value);
}
