// SPDX-License-Identifier: MIT
// The machine that a command works on: who we are, which kernel runs, its modules, and the core module's directory
// in sysfs. Tests put a directory of their own and a kernel of their own making in its place.
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using Ksplice.Build.Generation;
using Ksplice.Cli.Packages;
using Microsoft.Win32.SafeHandles;

namespace Ksplice.Cli.Machines;

/// <summary>A loaded module with the strings and constants of an update, which stays when the update is undone.</summary>
/// <param name="Id">The update.</param>
/// <param name="Module">The module's name.</param>
/// <param name="Digest">That of its content.</param>
public sealed record DataModule(string Id, string Module, string Digest);

/// <summary>The running machine.</summary>
public partial class Machine
{
    private const int InitModule = 175,
        DeleteModule = 176; // __NR_* of x86-64
    private const int ReadOnlyDirectory = 0x90000; // O_RDONLY | O_DIRECTORY | O_CLOEXEC
    private const int NonBlocking = 0x800; // O_NONBLOCK: delete_module fails at once while the module is in use

    /// <summary>The machine itself.</summary>
    public Machine()
        : this("/sys", "/run", "/var/lib/ksplice", "/etc/systemd/system", "/usr/lib/systemd/system", "/etc/ksplice/trusted") { }

    /// <summary>
    /// For tests: other places for sysfs, the lock, the updates that are applied at boot, systemd's units (the administrator's, and those
    /// of packages) and the trusted certificates.
    /// </summary>
    internal Machine(string sysfs, string run, string store, string units, string packagedUnits, string trusted)
    {
        Trusted = new TrustedCertificates(trusted);
        Sysfs = sysfs;
        Enabled = new EnabledUpdates(store, units, packagedUnits);
        Applied = new AppliedPackages(Path.Combine(run, "ksplice"));
        LockPath = Path.Combine(run, "ksplice.lock");
    }

    /// <summary>Where the lock file is that keeps two commands from working at the same time.</summary>
    public string LockPath { get; }

    /// <summary>The updates that are applied at boot.</summary>
    public EnabledUpdates Enabled { get; }

    /// <summary>What is known of the packages of applied updates.</summary>
    public AppliedPackages Applied { get; }

    /// <summary>Whose packages are taken.</summary>
    public TrustedCertificates Trusted { get; }

    /// <summary>True if we may load modules.</summary>
    public virtual bool IsRoot => Environment.IsPrivilegedProcess;

    /// <summary>The release of the running kernel, as uname tells it.</summary>
    public virtual string KernelRelease => File.ReadAllText("/proc/sys/kernel/osrelease").Trim();

    /// <summary>The word on the kernel's command line by which the core does not load, or null.</summary>
    public string? KeptOutBy => KernelCommandLine.KeepsOut(CommandLine);

    /// <summary>The running kernel's command line.</summary>
    protected virtual string CommandLine => File.ReadAllText("/proc/cmdline");

    /// <summary>The core module's directory; it exists while that module is loaded.</summary>
    public string UpdatesDirectory => Path.Combine(Sysfs, "kernel", "ksplice");

    /// <summary>
    /// How the kernel's function tracer is, <c>alive</c> or <c>dead</c>: then it found its own data damaged, and takes no handler on or off
    /// any more. Null if the core does not tell, or not this user.
    /// </summary>
    public string? Tracer => Path.Combine(UpdatesDirectory, "ftrace") is var file && File.Exists(file) ? Allowed(() => Read(file)) : null;

    private string Sysfs { get; }

    /// <summary>True if a module of that name is loaded.</summary>
    public bool IsLoaded(string module) => Directory.Exists(Path.Combine(Sysfs, "module", module));

    /// <summary>The version that a loaded module says it has; null if it says none.</summary>
    public string? VersionOf(string module) =>
        Path.Combine(Sysfs, "module", module, "version") is var file && File.Exists(file) ? Read(file) : null;

    /// <summary>True if a loaded module is bound to symbols of that one.</summary>
    public bool IsUsedByModule(string module) =>
        Path.Combine(Sysfs, "module", module, "holders") is var holders
        && Directory.Exists(holders)
        && Directory.EnumerateFileSystemEntries(holders).Any();

    /// <summary>The loaded modules of an update, in the order in which they were loaded: helpers, then primaries, each by number.</summary>
    public IReadOnlyList<string> ModulesOf(string id)
    {
        var prefix = $"ksplice_{id}_";
        return
        [
            .. Directory
                .GetDirectories(Path.Combine(Sysfs, "module"), prefix + "*")
                .Select(path => Path.GetFileName(path)[prefix.Length..].Split('_'))
                .Where(parts => parts.Length == 2 && int.TryParse(parts[0], NumberStyles.None, CultureInfo.InvariantCulture, out _))
                .OrderBy(parts => parts[1], StringComparer.Ordinal)
                .ThenBy(parts => int.Parse(parts[0], CultureInfo.InvariantCulture))
                .Select(parts => prefix + parts[0] + "_" + parts[1]),
        ];
    }

    /// <summary>The data modules that are loaded, by id of their updates.</summary>
    public IReadOnlyList<DataModule> DataModules() =>
        [
            .. Directory
                .GetDirectories(Path.Combine(Sysfs, "module"), "ksplice_*_data")
                .Select(path => (path, parts: Path.GetFileName(path).Split('_')))
                .Where(module => module.parts.Length == 3)
                .OrderBy(module => module.parts[1], StringComparer.Ordinal)
                .Select(module => new DataModule(
                    module.parts[1],
                    Path.GetFileName(module.path),
                    Read(Path.Combine(module.path, "version"))
                )),
        ];

    /// <summary>The data module of an update, or null if none is loaded.</summary>
    public DataModule? DataOf(string id) => DataModules().FirstOrDefault(module => module.Id == id);

    /// <summary>All updates that the core module knows, by id.</summary>
    public IReadOnlyList<Update> Updates() =>
        !Directory.Exists(UpdatesDirectory)
            ? []
            : [.. Directory.GetDirectories(UpdatesDirectory).Order(StringComparer.Ordinal).Select(path => new Update(this, path))];

    /// <summary>One update, or null if the core module does not know it.</summary>
    public Update? Find(string id)
    {
        var path = Path.Combine(UpdatesDirectory, id);
        return UpdateId.IsWellFormed(id) && Directory.Exists(path) ? new Update(this, path) : null;
    }

    /// <summary>What a file of sysfs holds.</summary>
    internal string Read(string path)
    {
        try
        {
            return Text(path).Trim();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new CommandException(
                e is UnauthorizedAccessException ? ExitCode.NotRoot : ExitCode.Unexpected,
                $"cannot read {path}",
                e.Message
            );
        }
    }

    /// <summary>What <paramref name="read"/> reads; null if that is for root alone.</summary>
    internal static T? Allowed<T>(Func<T> read)
    {
        try
        {
            return read();
        }
        catch (CommandException problem) when (problem.Code == ExitCode.NotRoot)
        {
            return default;
        }
    }

    /// <summary>A file of sysfs as it is.</summary>
    protected virtual string Text(string path) => File.ReadAllText(path);

    /// <summary>Writes to a file of sysfs: one write(2), and no truncation or creation, which sysfs does not take.</summary>
    public virtual void Write(string path, string text)
    {
        using var file = new FileStream(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite, bufferSize: 0);
        file.Write(Encoding.ASCII.GetBytes(text));
    }

    /// <summary>
    /// Has the process wait as another program (K30), and go on as the same command with <paramref name="state"/>. Ends only
    /// where that cannot be: with the error number.
    /// </summary>
    public virtual Task<int> BecomeWaiterAsync(Wait wait, string state) => Task.FromResult(Waiter.Become(wait, state));

    /// <summary>Where a thread is in the kernel, the innermost function first; nothing if it is gone or the kernel does not tell.</summary>
    public virtual IReadOnlyList<string> StackOf(int thread)
    {
        try
        {
            return [.. File.ReadAllLines($"/proc/{thread}/stack").Select(line => line.Split(' ')[^1])];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }

    /// <summary>
    /// Loads a module from memory: the very bytes whose hash was checked, so that nobody can change them in between; with its parameters.
    /// Returns 0 or the kernel's error number.
    /// </summary>
    public virtual int Load(string module, ReadOnlySpan<byte> image, string parameters = "") =>
        Syscall(InitModule, in MemoryMarshal.GetReference(image), (nuint)image.Length, Encoding.ASCII.GetBytes(parameters + "\0")) == 0
            ? 0
            : Marshal.GetLastPInvokeError();

    /// <summary>Unloads a module. Returns 0 or the kernel's error number.</summary>
    public virtual int Unload(string module) => Syscall(DeleteModule, module, NonBlocking) == 0 ? 0 : Marshal.GetLastPInvokeError();

    /// <summary>Has the names in a directory on the disk before it returns.</summary>
    /// <exception cref="IOException">The file system does not take it.</exception>
    public static void SyncDirectory(string path)
    {
        // The runtime opens no directories.
        using SafeFileHandle directory = new(Open(path, ReadOnlyDirectory), ownsHandle: true);
        if (directory.IsInvalid || Sync(directory) != 0)
            throw new IOException($"cannot sync {path}: {Describe(Marshal.GetLastPInvokeError())}");
    }

    /// <summary>The text of an error number.</summary>
    public static string Describe(int error) => $"{Marshal.GetPInvokeErrorMessage(error)} (errno {error})";

    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    private static partial int Sync(SafeFileHandle descriptor);

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags);

    [LibraryImport("libc", EntryPoint = "syscall", SetLastError = true)]
    private static partial long Syscall(long number, in byte image, nuint length, ReadOnlySpan<byte> parameters);

    [LibraryImport("libc", EntryPoint = "syscall", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial long Syscall(long number, string module, int flags);
}
