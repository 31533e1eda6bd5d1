// SPDX-License-Identifier: MIT
using System.Security.Cryptography;
using System.Text;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Kernel;
using Ksplice.Build.Processes;
using Microsoft.Build.Framework;
using TaskItem = Microsoft.Build.Utilities.TaskItem;

namespace Ksplice.Tasks;

/// <summary>Finds the kernel that the project is for. Runs in every build; opens the image only when something changed.</summary>
public sealed class ResolveKernel : KspliceTask
{
    /// <summary>As <c>uname -r</c> shows it.</summary>
    public string? Release { get; set; }

    /// <summary>The headers folder, if not where the distribution has it.</summary>
    public string? Headers { get; set; }

    /// <summary>The configuration, likewise.</summary>
    public string? Config { get; set; }

    /// <summary>The image, likewise.</summary>
    public string? Image { get; set; }

    /// <summary>The folder of the kernel's modules, likewise.</summary>
    public string? Modules { get; set; }

    /// <summary>The source tree or tarball, likewise.</summary>
    public string? Source { get; set; }

    /// <summary>The C compiler, likewise.</summary>
    public string? Compiler { get; set; }

    /// <summary>The root folder in which compiler, binutils and kbuild run, likewise.</summary>
    public string? Toolchain { get; set; }

    /// <summary>Whether the kernel may be newer than every one on which this project was tested.</summary>
    public bool MayBeUntested { get; set; }

    /// <summary>The folder of the kernel cache, likewise.</summary>
    public string? Cache { get; set; }

    /// <summary>The folder of this project's C sources.</summary>
    [Required]
    public string KernelSources { get; set; } = "";

    /// <summary>The file to write.</summary>
    [Required]
    public string KernelFile { get; set; } = "";

    /// <summary>The kernel: its release, with Ready (the file that says that its tree is prepared), Image and Headers.</summary>
    [Output]
    public ITaskItem? Kernel { get; set; }

    /// <summary>The project, as the place of what is missing in it.</summary>
    [Required]
    public string ProjectFile { get; set; } = "";

    /// <inheritdoc/>
    protected override async Task<bool> RunAsync(CancellationToken cancellation)
    {
        if (string.IsNullOrWhiteSpace(Release))
        {
            Diagnostics.Report(ProjectDiagnostics.NoRelease, new(ProjectFile));
            return false;
        }
        KernelReleaseOptions options = new()
        {
            Release = Release.Trim(),
            Headers = Headers,
            Config = Config,
            Image = Image,
            Modules = Modules,
            Source = Source,
            Compiler = Compiler,
            Toolchain = Toolchain,
            MayBeUntested = MayBeUntested,
            Cache = Cache,
        };
        var known = ResolvedKernel.Read(KernelFile);
        var release =
            known is not null && known.Stamp == Stamp(options, known.Release)
                ? known.Release
                : await KernelReleaseResolver.ResolveAsync(options, Diagnostics, cancellation).ConfigureAwait(false);
        if (
            release is null
            || !ToolRoot.CheckShown("the project's intermediate folder", IntermediateFolder ?? KernelFile, release.Toolchain, Diagnostics)
            || !ToolRoot.CheckShown("the Sdk's folder of kernel sources", KernelSources, release.Toolchain, Diagnostics)
            || !ToolRoot.CheckShown("the folder for temporary files", Path.GetTempPath(), release.Toolchain, Diagnostics)
        )
            return false;
        KernelReleaseResolver.Check(release, Diagnostics);
        new ResolvedKernel(Stamp(options, release), Engine(), release).WriteIfDifferent(KernelFile);
        TaskItem kernel = new(release.Release);
        kernel.SetMetadata("Ready", OpenCache(Cache).ReadyOf(release));
        kernel.SetMetadata("Image", release.Image);
        kernel.SetMetadata("Headers", release.Headers);
        kernel.SetMetadata("Version", release.Version);
        Kernel = kernel;
        return true;
    }

    private static string Stamp(KernelReleaseOptions options, KernelRelease release)
    {
        StringBuilder text = new(options.ToString());
        foreach (string path in (string[])[release.Config, release.ModuleSymvers, release.Image, release.Source, .. ToolFiles(release)])
        {
            FileInfo file = new(path);
            text.Append('|')
                .Append(path)
                .Append(' ')
                .Append(file.Exists ? file.Length : -1)
                .Append(' ')
                .Append(file.LastWriteTimeUtc.Ticks);
        }
        return text.ToString();
    }

    // The programs of a root folder change with its packages.
    private static IEnumerable<string> ToolFiles(KernelRelease release) =>
        release.Toolchain.Length == 0
            ? [Program(release.Compiler)]
            : [Path.Combine(release.Toolchain, "var/lib/dpkg/status"), Path.Combine(release.Toolchain, "packages")];

    private static string Program(string name) =>
        name.Contains('/', StringComparison.Ordinal)
            ? name
            : (Environment.GetEnvironmentVariable("PATH") ?? "")
                .Split(':')
                .Select(folder => Path.Combine(folder, name))
                .FirstOrDefault(File.Exists)
                ?? name;

    // Another engine or other C sources make other modules.
    private string Engine()
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(typeof(KernelCache).Module.ModuleVersionId.ToByteArray());
        hash.AppendData(typeof(ResolveKernel).Module.ModuleVersionId.ToByteArray());
        foreach (string file in Directory.GetFiles(KernelSources, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal))
            hash.AppendData(SHA256.HashData(File.ReadAllBytes(file)));
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }
}
