// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.RegularExpressions;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Files;
using Ksplice.Build.Processes;
using Microsoft.Extensions.Logging;

namespace Ksplice.Build.Kernel;

/// <summary>A kernel release with a source tree, a prepared output tree and the list of its units. All of it is read only.</summary>
/// <param name="Release">The release.</param>
/// <param name="SourceDirectory">The source tree.</param>
/// <param name="OutputDirectory">The O= tree after <c>modules_prepare</c>.</param>
/// <param name="Units">Every unit of the configuration.</param>
public sealed record PreparedKernel(KernelRelease Release, string SourceDirectory, string OutputDirectory, UnitDatabase Units);

/// <summary>
/// Prepared kernel trees, shared by all projects: <c>kernels/KEY/{source,output,units.json,ready}</c>. A tree is made in place,
/// because its generated files name its own path, under a lock that is a file beside it; <c>ready</c> is written last, and a folder
/// without it is what a crash left and is made anew.
/// </summary>
public sealed partial class KernelCache(string root, ILogger logger)
{
    /// <summary>The name of the O= tree in a prepared kernel's folder.</summary>
    public const string OutputFolder = "output";

    private const string GeneratorVersion = "10";

    // What the kernel's build needs and units do not: a program that only the linked kernel is put through. Its rule runs in a dry run too.
    // What is not to be made is not handed on, and so make must have no reason to start itself again.
    private static readonly string[] WithoutLinkTools = ["--no-print-directory", "-o", "tools/bpf/resolve_btfids"];

    // What no unit reads and no step of the preparation, as patterns of tar behind the archive's own folder. A * does not match a slash.
    // Kconfig files of other architectures are read, and lib/test_*.c include headers of the folder selftests.
    private static readonly string[] NotUnpacked =
    [
        "Documentation/*/*",
        "arch/[!Kx]*/boot",
        "arch/[!Kx]*/configs",
        "arch/[!Kx]*/include",
        "arch/[!Kx]*/*/*.[chS]",
        "arch/[!Kx]*/*/*/*.[chS]",
        "arch/[!Kx]*/*/*/*/*.[chS]",
        "tools/perf",
        "tools/testing/*/*/*",
    ];

    private static readonly string[] IdentityHeaders = ["compile.h", "utsrelease.h", "utsversion.h", "package.h", "autoconf.h"];

    /// <summary>
    /// Where prepared kernels are kept unless told otherwise: $KSPLICE_CACHE, $XDG_CACHE_HOME/ksplice or ~/.cache/ksplice.
    /// </summary>
    public static string DefaultRoot
    {
        get
        {
            if (Environment.GetEnvironmentVariable("KSPLICE_CACHE") is { Length: > 0 } named)
                return named;
            string caches = Environment.GetEnvironmentVariable("XDG_CACHE_HOME") is { Length: > 0 } xdg
                ? xdg
                : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".cache");
            return Path.Combine(caches, "ksplice");
        }
    }

    /// <summary>
    /// The folder of the cache, without links: kbuild calls its trees by their real paths (<c>abs_srctree</c> of the kernel's Makefile).
    /// </summary>
    public string Root { get; } = RealPath(root);

    /// <summary>The digest that names the prepared tree of <paramref name="release"/>.</summary>
    public static string KeyOf(KernelRelease release)
    {
        ArgumentNullException.ThrowIfNull(release);
        var source = new FileInfo(release.Source);
        string identity = source.Exists ? $"{source.FullName}|{source.Length}|{source.LastWriteTimeUtc.Ticks}" : release.Source;
        string text = string.Join(
            '\n',
            GeneratorVersion,
            release.Release,
            release.Version,
            release.CompilerVersion,
            release.Headers,
            identity,
            Convert.ToHexString(SHA256.HashData(File.ReadAllBytes(release.Config)))
        );
        if (release.Toolchain.Length != 0)
            text += '\n' + release.Toolchain;
        return Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)))[..16];
    }

    /// <summary>The folder of everything that is made for <paramref name="release"/>.</summary>
    public string FolderOf(KernelRelease release) => Path.Combine(Root, "kernels", $"{release.Release}-{KeyOf(release)}");

    /// <summary>The file that says that the tree of <paramref name="release"/> is whole.</summary>
    public string ReadyOf(KernelRelease release) => Path.Combine(FolderOf(release), "ready");

    /// <summary>The folder in which it is kept what kbuild has asked the tools of <paramref name="release"/>.</summary>
    public string AnswersOf(KernelRelease release) => Path.Combine(FolderOf(release), "answers");

    /// <summary>The unpatched source tree of <paramref name="release"/>, once it is prepared.</summary>
    public string SourceOf(KernelRelease release) => SourceOf(release, FolderOf(release));

    /// <summary>What to do if something of a prepared tree is missing or damaged.</summary>
    /// <param name="outputDirectory">Its O= tree.</param>
    internal static string Remedy(string outputDirectory) =>
        $"delete the folder {Path.GetDirectoryName(outputDirectory)} and build again, which makes it anew";

    /// <summary>The prepared tree of <paramref name="release"/>, made if it is not there; null after an error.</summary>
    /// <exception cref="Files.DamagedFileException">The list of its units is damaged.</exception>
    /// <exception cref="IOException">The cache cannot be read or written.</exception>
    public async Task<PreparedKernel?> PrepareAsync(
        KernelRelease release,
        DiagnosticBag diagnostics,
        CancellationToken cancellation = default
    )
    {
        string folder = FolderOf(release);
        string ready = ReadyOf(release);
        if (!File.Exists(ready))
        {
            Directory.CreateDirectory(Path.GetDirectoryName(folder)!);
            using var held = await FileLock
                .TakeAsync(folder + ".lock", () => LogWaiting(logger, folder + ".lock"), cancellation)
                .ConfigureAwait(false);
            if (!File.Exists(ready))
            {
                if (Directory.Exists(folder))
                    Directory.Delete(folder, recursive: true);
                try
                {
                    if (!await MakeAsync(release, folder, diagnostics, cancellation).ConfigureAwait(false))
                        return null;
                    await File.WriteAllTextAsync(ready, release.Release + "\n", CancellationToken.None).ConfigureAwait(false);
                }
                finally
                {
                    if (!File.Exists(ready) && Directory.Exists(folder))
                        Directory.Delete(folder, recursive: true);
                }
            }
        }

        string output = Path.Combine(folder, OutputFolder);
        var units = UnitDatabase.Load(Path.Combine(folder, "units.json"), Remedy(output));
        return new PreparedKernel(release, SourceOf(release, folder), output, units);
    }

    private static string SourceOf(KernelRelease release, string folder) =>
        Directory.Exists(release.Source) ? RealPath(release.Source) : Path.Combine(folder, "source");

    /// <summary>What make is told of <paramref name="release"/>.</summary>
    internal static string[] Variables(KernelRelease release) =>
        ["ARCH=x86", $"CC={release.Compiler}", $"HOSTCC={release.Compiler}", $"KERNELRELEASE={release.Release}"];

    /// <summary>What make is told, in an O= tree, to make of the tree at <paramref name="source"/> what units are compiled with.</summary>
    internal static string[] Making(string source) => ["-f", Path.Combine(source, "Makefile"), .. WithoutLinkTools];

    /// <summary>Tells make how much to do side by side.</summary>
    internal static string Jobs { get; } = string.Create(CultureInfo.InvariantCulture, $"-j{Environment.ProcessorCount}");

    /// <summary><paramref name="path"/> without links.</summary>
    internal static string RealPath(string path)
    {
        string real = "/";
        foreach (string name in Path.GetFullPath(path).Split('/', StringSplitOptions.RemoveEmptyEntries))
        {
            real = Path.Combine(real, name);
            if (new DirectoryInfo(real) is { LinkTarget: not null } link)
                real = RealPath(link.ResolveLinkTarget(returnFinalTarget: true)!.FullName);
        }

        return real;
    }

    private async Task<bool> MakeAsync(KernelRelease release, string folder, DiagnosticBag diagnostics, CancellationToken cancellation)
    {
        string output = Path.Combine(folder, OutputFolder);
        string source = SourceOf(release, folder);
        Directory.CreateDirectory(output);
        if (File.Exists(release.Source))
        {
            Directory.CreateDirectory(source);
            LogUnpacking(logger, release.Source);
            Tool unpack = new("tar", Unpacking(release.Source, source)) { Folder = folder, Logger = logger };
            if (await unpack.RunAsync(diagnostics, cancellation).ConfigureAwait(false) is not { } unpacked)
                return false;
            if (!unpacked.Succeeded)
            {
                diagnostics.Report(KernelDiagnostics.BadSource, new SourceLocation(release.Source), release.Source, unpacked.Cause);
                return false;
            }

            if (!KernelReleaseResolver.CheckSourceVersion(source, release.Source, release.Release, release.Version, diagnostics))
                return false;
        }

        LogPreparing(logger, release.Release);
        File.Copy(release.Config, Path.Combine(output, ".config"));
        // With the kernel's own compiler nothing is new to the configuration, so it is made and asked in one step. A question is an error
        // there: then the defaults are taken.
        foreach (string[] goals in new string[][] { ["syncconfig"], [Jobs, "modules_prepare"] })
        {
            if (await MakeGoalsAsync(goals).ConfigureAwait(false) is not { } made)
                return false;
            if (!made.Succeeded && goals[^1] == "syncconfig")
            {
                goals[^1] = "olddefconfig";
                if (await MakeGoalsAsync(goals).ConfigureAwait(false) is not { } answered)
                    return false;
                made = answered;
            }
            if (!made.Succeeded)
            {
                diagnostics.Report(KernelDiagnostics.PrepareFailed, null, "make " + goals[^1], made.ExitCode, release.Release, made.Cause);
                return false;
            }
            if (!CheckOptions(release, Path.Combine(output, ".config"), diagnostics))
                return false;
        }

        // Who built the kernel, when, and with which options is compiled into it; the headers package has it.
        string generated = Directory.CreateDirectory(Path.Combine(output, "include", "generated")).FullName;
        foreach (string header in IdentityHeaders)
        {
            string shipped = Path.Combine(release.Headers, "include", "generated", header);
            if (File.Exists(shipped))
                File.Copy(shipped, Path.Combine(generated, header), overwrite: true);
        }

        if (
            await new UnitListing(release, source, output, logger).MakeAsync(diagnostics, cancellation).ConfigureAwait(false)
            is not { } units
        )
            return false;
        if (units.Units.Count == 0)
        {
            diagnostics.Report(KernelDiagnostics.NoUnits, null, "make -n vmlinux modules", release.Release, folder);
            return false;
        }
        units.Save(Path.Combine(folder, "units.json"));
        return true;

        Task<ToolResult?> MakeGoalsAsync(string[] goals) =>
            (release.Tool("make", [.. Making(source), .. Variables(release), .. goals]) with { Folder = output, Logger = logger }).RunAsync(
                diagnostics,
                cancellation
            );
    }

    // What tar is told. The blocks of an .xz file are unpacked side by side.
    private static string[] Unpacking(string archive, string target) =>
        [
            "-x",
            "-f",
            archive,
            .. archive.EndsWith(".xz", StringComparison.Ordinal) ? (string[])["--use-compress-program=xz -T0"] : [],
            "-C",
            target,
            "--strip-components=1",
            "--anchored",
            "--no-wildcards-match-slash",
            .. NotUnpacked.Select(pattern => "--exclude=*/" + pattern),
        ];

    // What Kconfig asks the tools for is lost in silence if a tool is not there.
    private static bool CheckOptions(KernelRelease release, string config, DiagnosticBag diagnostics)
    {
        const int Shown = 5;
        string difference = KernelConfiguration
            .Read(release.Config)
            .DifferenceTo(KernelConfiguration.Read(config), Shown, option => !OfTools().IsMatch(option));
        if (difference.Length == 0)
            return true;
        diagnostics.Report(KernelDiagnostics.LostOptions, new SourceLocation(release.Config), release.Release, difference);
        return false;
    }

    // What the tools can do, and not what the kernel is made with: another patch level of a compiler may differ in it. No unit in Rust is
    // compiled, so its tools need not be there; C reads the kernel's own autoconf.h.
    [GeneratedRegex("^CONFIG_(?:CC|AS|LD|GCC|CLANG|LLD|RUSTC|RUST|PAHOLE|TOOLS|BINDGEN)[0-9]*_|_VERSION(?:_TEXT)?$|^CONFIG_RUST$")]
    private static partial Regex OfTools();

    [LoggerMessage(Level = LogLevel.Information, Message = "waiting for another build that prepares the same kernel ({Path})")]
    private static partial void LogWaiting(ILogger logger, string path);

    [LoggerMessage(Level = LogLevel.Information, Message = "unpacking {Source}")]
    private static partial void LogUnpacking(ILogger logger, string source);

    [LoggerMessage(Level = LogLevel.Information, Message = "preparing the tree of kernel {Release}, once")]
    private static partial void LogPreparing(ILogger logger, string release);
}
