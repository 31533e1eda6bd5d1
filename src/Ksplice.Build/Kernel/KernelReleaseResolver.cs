// SPDX-License-Identifier: MIT
using System.Text.RegularExpressions;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Processes;

namespace Ksplice.Build.Kernel;

/// <summary>
/// Finds what Debian installs for a kernel release and checks that the parts belong together: the compiler against the
/// configuration's CONFIG_CC_VERSION_TEXT, the configuration against that of the headers, the image against its banner, a source
/// tree against the version in that banner.
/// (A tarball's version is checked once it is unpacked, by <see cref="KernelCache"/>.)
/// </summary>
public static partial class KernelReleaseResolver
{
    // The newest series on which updates were applied and undone (docs/results/).
    private static readonly Version s_newestTested = new(7, 2);

    /// <summary>Resolves <paramref name="options"/>, or reports everything that is missing or wrong and returns null.</summary>
    public static async Task<KernelRelease?> ResolveAsync(
        KernelReleaseOptions options,
        DiagnosticBag diagnostics,
        CancellationToken cancellation = default
    )
    {
        ArgumentNullException.ThrowIfNull(options);
        string release = options.Release;
        string series = SeriesOf(release);
        string cache = options.Cache ?? KernelCache.DefaultRoot;

        if (!ToolPath.CheckForKbuild("the kernel cache", KernelCache.RealPath(cache), "set KernelCache to another folder", diagnostics))
            return null;
        string unpacked = Path.Combine(cache, "images", release);
        if (await KernelToolchain.FindAsync(options, unpacked, diagnostics, cancellation).ConfigureAwait(false) is not { } toolchain)
            return null;
        string? headers = Find(
            options.Headers,
            Directory.Exists,
            diagnostics,
            KernelDiagnostics.MissingHeaders,
            release,
            series,
            Others(cache),
            [
                .. InToolchain($"usr/src/linux-headers-{release}"),
                .. new[] { $"/usr/src/linux-headers-{release}", $"/lib/modules/{release}/build" }.Where(place =>
                    ToolRoot.Shows(toolchain, place)
                ),
                Path.Combine(unpacked, "usr", "src", "linux-headers-" + release),
            ]
        );
        string? config = Find(
            options.Config,
            File.Exists,
            diagnostics,
            KernelDiagnostics.MissingConfig,
            release,
            series,
            "",
            headers is null ? $"/usr/src/linux-headers-{release}/.config" : Path.Combine(headers, ".config"),
            $"/boot/config-{release}"
        );
        string? image = FindImage(release, options.Image, cache, diagnostics, toolchain);
        string? source = Find(
            options.Source,
            path => File.Exists(path) || Directory.Exists(path),
            diagnostics,
            KernelDiagnostics.MissingSource,
            release,
            series,
            "",
            [
                .. new[] { toolchain, unpacked, "/" }
                    .Where(root => root.Length != 0)
                    .SelectMany(root =>
                        new[] { ".tar.xz", ".tar.zst", ".tar.gz", ".tar.bz2", "" }.Select(suffix =>
                            Path.Combine(root, "usr/src", $"linux-source-{series}{suffix}")
                        )
                    ),
            ]
        );
        if (config is not null && !UnsupportedKernel.Check(release, config, diagnostics))
            return null;
        if (headers is null || config is null || image is null || source is null)
            return null;

        if (!CheckPaths(headers, source, diagnostics) || !CheckShown(toolchain, cache, headers, source, diagnostics))
            return null;
        if (!CheckConfig(config, Path.Combine(headers, ".config"), release, diagnostics))
            return null;
        var compiler = await FindCompilerAsync(options, toolchain, config, diagnostics, cancellation).ConfigureAwait(false);
        if (compiler is null || ReadVersion(image, release, diagnostics) is not { } version)
            return null;
        if (!options.MayBeUntested && !CheckTested(image, release, version.Version, diagnostics))
            return null;
        if (Directory.Exists(source) && !CheckSourceVersion(source, source, release, version.Version, diagnostics))
            return null;
        return new KernelRelease
        {
            Release = release,
            Version = version.Version,
            Revision = version.Revision,
            Headers = headers,
            Config = config,
            Image = image,
            Modules = string.IsNullOrEmpty(options.Modules) ? "" : Path.GetFullPath(options.Modules),
            Source = source,
            Compiler = compiler.Value.Program,
            CompilerVersion = compiler.Value.Version,
            AssemblerVersion = await VersionOfAsync("as", toolchain, cancellation).ConfigureAwait(false) ?? "",
            Toolchain = toolchain,
        };

        IEnumerable<string> InToolchain(string path) => toolchain.Length == 0 ? [] : [Path.Combine(toolchain, path)];
    }

    /// <summary>The image of <paramref name="release"/>; null after an error.</summary>
    /// <param name="release">The release.</param>
    /// <param name="given">The image's path, if it is known.</param>
    /// <param name="cache">The folder of the kernel cache.</param>
    /// <param name="diagnostics">Takes that it is nowhere.</param>
    /// <param name="toolchain">The root folder of the toolchain, which may have the image too; empty if there is none.</param>
    public static string? FindImage(string release, string? given, string cache, DiagnosticBag diagnostics, string toolchain = "") =>
        Find(
            given,
            File.Exists,
            diagnostics,
            KernelDiagnostics.MissingImage,
            release,
            SeriesOf(release),
            "",
            [
                .. toolchain.Length == 0 ? [] : (string[])[Path.Combine(toolchain, "boot", "vmlinuz-" + release)],
                $"/boot/vmlinuz-{release}",
                $"/lib/modules/{release}/vmlinuz",
                Path.Combine(cache, "images", release, "boot", "vmlinuz-" + release),
            ]
        );

    private static string SeriesOf(string release) => SeriesPattern().Match(release) is { Success: true } match ? match.Value : release;

    /// <summary>
    /// Warns if the compiler has another patch level than the one that built the kernel, and if the source is of another revision of
    /// Debian's package. Each build asks, also one that resolves nothing: nobody shall miss it.
    /// </summary>
    public static void Check(KernelRelease release, DiagnosticBag diagnostics)
    {
        ArgumentNullException.ThrowIfNull(release);
        ArgumentNullException.ThrowIfNull(diagnostics);
        string wanted = WantedCompiler(release.Config);
        if (AfterName(release.CompilerVersion) != AfterName(wanted))
            diagnostics.Report(
                KernelDiagnostics.OtherPatchLevel,
                new SourceLocation(release.Config),
                release.Release,
                wanted,
                Shown(release.Compiler, release.Toolchain),
                release.CompilerVersion,
                wanted.Split(' ')[0]
            );
        if (release.Revision.Length != 0 && DebianRevision.OfSource(release.Source) is { } found && found != release.Revision)
            diagnostics.Report(
                KernelDiagnostics.OtherRevision,
                new SourceLocation(release.Source),
                release.Source,
                found,
                release.Release,
                release.Revision
            );
    }

    /// <summary>Checks VERSION, PATCHLEVEL and SUBLEVEL of the tree's Makefile.</summary>
    internal static bool CheckSourceVersion(string tree, string shownAs, string release, string wanted, DiagnosticBag diagnostics)
    {
        string makefile = Path.Combine(tree, "Makefile");
        if (!File.Exists(makefile))
        {
            diagnostics.Report(KernelDiagnostics.BadSource, new SourceLocation(shownAs), shownAs, "it has no Makefile");
            return false;
        }

        var values = File.ReadLines(makefile)
            .Take(10)
            .Select(line => line.Split('=', 2))
            .Where(parts => parts.Length == 2)
            .ToDictionary(parts => parts[0].Trim(), parts => parts[1].Trim(), StringComparer.Ordinal);
        string found =
            $"{values.GetValueOrDefault("VERSION")}.{values.GetValueOrDefault("PATCHLEVEL")}.{values.GetValueOrDefault("SUBLEVEL")}";
        if (found == wanted)
            return true;
        diagnostics.Report(KernelDiagnostics.WrongSourceVersion, new SourceLocation(shownAs), shownAs, found, release, wanted);
        return false;
    }

    private static string? Find(
        string? given,
        Predicate<string> exists,
        DiagnosticBag diagnostics,
        DiagnosticDescriptor missing,
        string release,
        string series,
        string others,
        params string[] places
    )
    {
        string[] candidates = string.IsNullOrEmpty(given) ? places : [given];
        if (candidates.FirstOrDefault(place => exists(place)) is { } found)
            return Path.GetFullPath(found);
        diagnostics.Report(missing, null, release, string.Join(", ", candidates), series, others);
        return null;
    }

    // The release may be misspelt.
    private static string Others(string cache)
    {
        const int Shown = 8;
        const string Prefix = "linux-headers-";
        string images = Path.Combine(cache, "images");
        IEnumerable<string> folders =
        [
            "/usr/src",
            .. Directory.Exists(images) ? Directory.GetDirectories(images).Select(image => Path.Combine(image, "usr", "src")) : [],
        ];
        string[] releases =
        [
            .. folders
                .Where(Directory.Exists)
                .SelectMany(folder => Directory.GetDirectories(folder, Prefix + "*"))
                .Where(folder => File.Exists(Path.Combine(folder, ".config")))
                .Select(folder => Path.GetFileName(folder)[Prefix.Length..])
                .Distinct(StringComparer.Ordinal)
                .Order(StringComparer.Ordinal),
        ];
        return releases.Length == 0
            ? ""
            : "; there are headers of "
                + string.Join(", ", releases.Take(Shown))
                + (releases.Length > Shown ? $" and {releases.Length - Shown} more" : "");
    }

    // What kbuild works in. A tarball is unpacked into the cache.
    private static bool CheckPaths(string headers, string source, DiagnosticBag diagnostics) =>
        ToolPath.CheckForKbuild("the folder of the headers", headers, "put them elsewhere, and set KernelHeaders", diagnostics)
        & (
            File.Exists(source)
            || ToolPath.CheckForKbuild(
                "the source tree",
                KernelCache.RealPath(source),
                "put it elsewhere, and set KernelSource",
                diagnostics
            )
        );

    private static bool CheckShown(string toolchain, string cache, string headers, string source, DiagnosticBag diagnostics) =>
        ToolRoot.CheckShown("the kernel cache", cache, toolchain, diagnostics)
        & ToolRoot.CheckShown("the folder of the headers", headers, toolchain, diagnostics)
        & (File.Exists(source) || ToolRoot.CheckShown("the source tree", source, toolchain, diagnostics));

    // Units are compiled by the configuration, the update's modules by the headers: both must be the running kernel's.
    private static bool CheckConfig(string config, string ofHeaders, string release, DiagnosticBag diagnostics)
    {
        if (config == ofHeaders || !File.Exists(ofHeaders))
            return true;
        const int Shown = 3;
        string difference = KernelConfiguration.Read(config).DifferenceTo(KernelConfiguration.Read(ofHeaders), Shown);
        if (difference.Length == 0)
            return true;
        diagnostics.Report(KernelDiagnostics.WrongConfig, new SourceLocation(config), config, release, ofHeaders, difference);
        return false;
    }

    private static async Task<(string Program, string Version)?> FindCompilerAsync(
        KernelReleaseOptions options,
        string toolchain,
        string config,
        DiagnosticBag diagnostics,
        CancellationToken cancellation
    )
    {
        string wanted = WantedCompiler(config);
        string named = wanted.Split(' ')[0];
        string[] programs = string.IsNullOrEmpty(options.Compiler) ? [named.Length > 0 ? named : "gcc", "gcc"] : [options.Compiler];
        string place = toolchain.Length == 0 ? "" : $" in the toolchain's root {toolchain}";
        string found = $"'{string.Join("' and '", programs.Distinct(StringComparer.Ordinal))}' cannot be run{place}";
        (string Program, string Version)? near = null;
        foreach (string program in programs.Distinct(StringComparer.Ordinal))
        {
            if (await VersionOfAsync(program, toolchain, cancellation).ConfigureAwait(false) is not { } version)
                continue;
            if (AfterName(version) == AfterName(wanted))
                return (program, version);
            if (MajorOf(version) is { } major && major == MajorOf(wanted))
                near ??= (program, version);
            found = $"'{Shown(program, toolchain)}' is '{version}'";
        }
        if (near is not null)
            return near;

        diagnostics.Report(KernelDiagnostics.WrongCompiler, new SourceLocation(config), options.Release, wanted, found, named);
        return null;
    }

    // That the compiler is missing is said together with which one is wanted.
    private static async Task<string?> VersionOfAsync(string program, string toolchain, CancellationToken cancellation) =>
        await new Tool(program, "--version") { Root = toolchain }
            .RunAsync([], cancellation)
            .ConfigureAwait(false)
            is { Succeeded: true } result
            ? result.Output.Split('\n')[0].Trim()
            : null;

    private static string Shown(string program, string toolchain) => toolchain.Length == 0 ? program : $"{program} in {toolchain}";

    private static string WantedCompiler(string config) =>
        File.ReadLines(config).Select(line => CompilerPattern().Match(line)).FirstOrDefault(match => match.Success)?.Groups[1].Value ?? "";

    /// <summary>The first number of gcc's version, or null of what is no gcc.</summary>
    private static string? MajorOf(string version) =>
        GccVersionPattern().Match(version) is { Success: true } match ? match.Groups["major"].Value : null;

    /// <summary>gcc-12 and gcc are one program under two names; what follows the name tells compilers apart.</summary>
    private static string AfterName(string version) => version.Split(' ', 2) is [_, var rest] ? rest : version;

    private static (string Version, string Revision)? ReadVersion(string path, string release, DiagnosticBag diagnostics)
    {
        if (KernelImage.Open(path, diagnostics) is not { } image)
            return null;
        if (image.Release != release)
        {
            diagnostics.Report(KernelDiagnostics.WrongImage, new SourceLocation(path), path, image.Release, release);
            return null;
        }

        // Debian writes the version of the source package at the end; elsewhere the release begins with it.
        var match = DebianVersionPattern().Match(image.Banner);
        return (match.Success ? match.Groups[1].Value : release.Split('-')[0], DebianRevision.OfBanner(image.Banner));
    }

    private static bool CheckTested(string image, string release, string version, DiagnosticBag diagnostics)
    {
        if (!Version.TryParse(SeriesOf(version), out var series) || series <= s_newestTested)
            return true;
        diagnostics.Report(KernelDiagnostics.UntestedKernel, new SourceLocation(image), release, version, s_newestTested);
        return false;
    }

    [GeneratedRegex(@"^\d+\.\d+")]
    private static partial Regex SeriesPattern();

    [GeneratedRegex("^CONFIG_CC_VERSION_TEXT=\"(.*)\"$")]
    private static partial Regex CompilerPattern();

    [GeneratedRegex(@"^\S*cc(-\d+)? \(.*\) (?<major>\d+)\.\d+\.\d+$")]
    private static partial Regex GccVersionPattern();

    [GeneratedRegex(@"#.*Debian (\d+\.\d+\.\d+)-")]
    private static partial Regex DebianVersionPattern();
}
