// SPDX-License-Identifier: MIT
// Lets kbuild finish the modules, out of tree and from the distribution's headers, so that what is loaded has been
// through the kernel's own modpost and linker script. The work folder has a name of its own each time; prefix maps and
// stripping keep that name, and with it every trace of the machine, out of the modules.
using System.Security.Cryptography;
using System.Text;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Elf;
using Ksplice.Build.Processes;
using Ksplice.Build.Targets;
using Microsoft.Extensions.Logging;

namespace Ksplice.Build.Generation;

/// <summary>The core module as built for one kernel release.</summary>
/// <param name="Module">The path of ksplice.ko.</param>
/// <param name="SymbolVersions">The path of the list of what it exports.</param>
public sealed record CoreModule(string Module, string SymbolVersions);

/// <summary>The modules of an update.</summary>
/// <param name="Targets">Those of each target, in the targets' order.</param>
/// <param name="Data">The path of the data module; null if the update has none.</param>
public sealed record BuiltModules(IReadOnlyList<UpdateModules> Targets, string? Data);

/// <summary>The modules of one target.</summary>
/// <param name="Helper">The path of the helper.</param>
/// <param name="Primary">The path of the primary.</param>
public sealed record UpdateModules(string Helper, string Primary);

/// <summary>Builds modules with the headers of one kernel release.</summary>
/// <param name="release">The kernel's release name, for messages.</param>
/// <param name="headers">The folder with the kernel's headers.</param>
/// <param name="kernelSources">The folder with this project's C files: core, match, update and include.</param>
/// <param name="logger">Takes kbuild's output.</param>
/// <param name="toolchain">The root folder that kbuild runs in; empty for this machine.</param>
public sealed partial class KernelModuleBuilder(string release, string headers, string kernelSources, ILogger logger, string toolchain = "")
{
    /// <summary>The core's module name.</summary>
    public const string CoreName = "ksplice";

    /// <summary>
    /// The folder in which it is kept what kbuild has asked the tools of this kernel; null if kbuild is to ask each time.
    /// </summary>
    public string? Answers { get; init; }

    /// <summary>Builds the core module into <paramref name="outputDirectory"/>; null after an error.</summary>
    public async Task<CoreModule?> BuildCoreAsync(
        string outputDirectory,
        DiagnosticBag diagnostics,
        CancellationToken cancellation = default
    )
    {
        ArgumentNullException.ThrowIfNull(diagnostics);
        if (!CheckHeaders(diagnostics))
            return null;
        using var work = new WorkFolder(outputDirectory);
        foreach (string part in (string[])["include", "core", "match"])
            work.CopyTree(Path.Combine(kernelSources, part), part);
        File.Copy(Path.Combine(kernelSources, "Kbuild"), Path.Combine(work.Path, "Kbuild"));
        string built = Path.Combine(work.Path, CoreName + ".ko"),
            list = Path.Combine(work.Path, "Module.symvers");
        if (
            !await MakeAsync(work.Path, work.Path, CoreName, [], diagnostics, cancellation).ConfigureAwait(false)
            || !await StripAsync(built, diagnostics, cancellation).ConfigureAwait(false)
        )
            return null;
        // The list names the folder; all that users of it need is the module's name.
        File.WriteAllText(list, File.ReadAllText(list).Replace(work.Path + "/", "", StringComparison.Ordinal));
        return new CoreModule(work.Publish(built, CoreName + ".ko"), work.Publish(list, "Module.symvers"));
    }

    /// <summary>The core module in <paramref name="folder"/>, built there if these sources' is not; null after an error.</summary>
    public async Task<CoreModule?> CachedCoreAsync(string folder, DiagnosticBag diagnostics, CancellationToken cancellation = default)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (string file in Directory.GetFiles(kernelSources, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal))
        {
            hash.AppendData(Encoding.UTF8.GetBytes(Path.GetRelativePath(kernelSources, file) + "\0"));
            hash.AppendData(SHA256.HashData(File.ReadAllBytes(file)));
        }
        string place = Path.Combine(folder, "core-" + Convert.ToHexStringLower(hash.GetHashAndReset())[..16]);
        CoreModule core = new(Path.Combine(place, CoreName + ".ko"), Path.Combine(place, "Module.symvers"));
        if (Directory.Exists(place))
            return core;
        string temporary = place + "." + Path.GetRandomFileName();
        try
        {
            if (await BuildCoreAsync(temporary, diagnostics, cancellation).ConfigureAwait(false) is null)
                return null;
            // Whoever is first puts it there; all make the same.
            if (!Directory.Exists(place))
                Directory.Move(temporary, place);
        }
        catch (IOException) when (Directory.Exists(place)) { }
        finally
        {
            if (Directory.Exists(temporary))
                Directory.Delete(temporary, recursive: true);
        }
        return core;
    }

    /// <summary>
    /// Builds helper and primary of each target of update <paramref name="id"/>, and the data module if it has one, into
    /// <paramref name="outputDirectory"/> from what <see cref="ModuleSources.Write"/> put into <paramref name="sources"/>; null after an
    /// error.
    /// </summary>
    public async Task<BuiltModules?> BuildUpdateAsync(
        string id,
        string sources,
        CoreModule core,
        string outputDirectory,
        DiagnosticBag diagnostics,
        CancellationToken cancellation = default
    )
    {
        ArgumentNullException.ThrowIfNull(core);
        ArgumentNullException.ThrowIfNull(diagnostics);
        if (!CheckHeaders(diagnostics) || !CheckWorkFolder(outputDirectory, diagnostics))
            return null;
        using var work = new WorkFolder(outputDirectory);
        work.CopyTree(Path.Combine(kernelSources, "include"), "include");
        work.Write("core.symvers", await File.ReadAllTextAsync(core.SymbolVersions, cancellation).ConfigureAwait(false));
        List<string> symbols = [Path.Combine(work.Path, "core.symvers")];
        List<string> folders = [];
        int count = 0;
        for (; Directory.Exists(ModuleSources.FolderOf(sources, count)); count++)
        {
            string folder = ModuleSources.FolderOf("", count),
                from = ModuleSources.FolderOf(sources, count);
            bool lends = File.Exists(Path.Combine(from, ModuleSources.LentAssembly));
            AddFolder(
                from,
                folder,
                $"{UpdateTarget.HelperOf(id, count)}-y := helper.o exports.o",
                $"{UpdateTarget.PrimaryOf(id, count)}-y := primary.o code.o" + (lends ? " lent.o" : "")
            );
            work.Write(Path.Combine(folder, ".code.o.cmd"), ""); // K3: modpost reads it
        }
        bool hasData = Directory.Exists(ModuleSources.DataFolderOf(sources));
        if (hasData)
            AddFolder(
                ModuleSources.DataFolderOf(sources),
                ModuleSources.DataFolderOf(""),
                $"{UpdateTarget.DataOf(id)}-y := data.o exports.o"
            );
        work.Write("Kbuild", $"obj-m := {string.Join(' ', folders.Select(folder => folder + "/"))}\n");
        if (
            !await MakeAsync(
                    work.Path,
                    work.Path,
                    $"update {id}",
                    ["KBUILD_EXTRA_SYMBOLS=" + string.Join(' ', symbols)],
                    diagnostics,
                    cancellation
                )
                .ConfigureAwait(false)
        )
            return null;
        List<UpdateModules> modules = [];
        for (int i = 0; i < count; i++)
        {
            string folder = ModuleSources.FolderOf("", i);
            if (
                await FinishAsync(folder, UpdateTarget.HelperOf(id, i)).ConfigureAwait(false) is not { } helper
                || await FinishAsync(folder, UpdateTarget.PrimaryOf(id, i)).ConfigureAwait(false) is not { } primary
            )
                return null;
            modules.Add(new UpdateModules(helper, primary));
        }
        string? data = null;
        if (hasData && (data = await FinishAsync(ModuleSources.DataFolderOf(""), UpdateTarget.DataOf(id)).ConfigureAwait(false)) is null)
            return null;
        return new BuiltModules(modules, data);

        // The modules of one folder: the C files that are the same for all, what was generated, and how each is put together.
        void AddFolder(string from, string folder, params string[] modules)
        {
            work.CopyTree(Path.Combine(kernelSources, "update"), folder);
            work.CopyTree(from, folder);
            work.Write(
                Path.Combine(folder, "Kbuild"),
                $"""
                obj-m := {string.Join(' ', modules.Select(module => module[..module.IndexOf("-y ", StringComparison.Ordinal)] + ".o"))}
                {string.Join('\n', modules)}
                ccflags-y := -I$(src)/../include -I$(src)
                asflags-y := -I$(src)

                """
            );
            symbols.Add(Path.Combine(work.Path, folder, ModuleSources.SymbolVersions));
            folders.Add(folder);
        }

        async Task<string?> FinishAsync(string folder, string module)
        {
            string built = Path.Combine(work.Path, folder, module + ".ko");
            return await StripAsync(built, diagnostics, cancellation).ConfigureAwait(false) ? work.Publish(built, module + ".ko") : null;
        }
    }

    // The headers may name the place where their package puts them; they need not be there.
    private IEnumerable<string> Place() =>
        File.ReadLines(Path.Combine(headers, "Makefile")).Any(line => line.StartsWith("KBUILD_OUTPUT=", StringComparison.Ordinal))
            ? ["KBUILD_OUTPUT=" + headers]
            : [];

    private bool CheckHeaders(DiagnosticBag diagnostics)
    {
        if (File.Exists(Path.Combine(headers, "Makefile")) && File.Exists(Path.Combine(headers, "Module.symvers")))
            return true;
        diagnostics.Report(GenerationDiagnostics.HeadersMissing, new SourceLocation(headers), headers, release);
        return false;
    }

    private static bool CheckWorkFolder(string outputDirectory, DiagnosticBag diagnostics) =>
        ToolPath.CheckForKbuild(
            "the folder for temporary files",
            WorkFolder.PlaceOf(outputDirectory),
            "set TMPDIR to another folder, or build in a folder with another name",
            diagnostics
        );

    private async Task<bool> MakeAsync(
        string root,
        string folder,
        string what,
        IReadOnlyList<string> variables,
        DiagnosticBag diagnostics,
        CancellationToken cancellation
    )
    {
        KbuildAnswers? answers = Answers is null ? null : new(Answers, root);
        string[] arguments =
        [
            "-C",
            headers,
            $"M={folder}",
            "-j2",
            "--no-print-directory",
            "modules",
            $"KCFLAGS=-g0 -ffile-prefix-map={root}/=",
            $"KAFLAGS=-ffile-prefix-map={root}/=",
            "LDFLAGS_MODULE=--build-id=none",
            "CONFIG_DEBUG_INFO_BTF_MODULES=", // pahole would want the debug data that -g0 leaves out
            "PAHOLE_FLAGS=", // so nothing reads these, and each make would ask pahole for them
            .. answers is null ? [] : (string[])[answers.Use()],
            .. Place(),
            .. variables,
        ];
        if (
            await new Tool("make", arguments) { Root = toolchain, Logger = logger }
                .RunAsync(diagnostics, cancellation)
                .ConfigureAwait(false)
            is not { } made
        )
            return false;
        LogOutput(logger, made.Output);
        if (!made.Succeeded)
        {
            diagnostics.Report(
                GenerationDiagnostics.KernelBuildFailed,
                null,
                what,
                "make",
                made.Cause.Replace(root + "/", "", StringComparison.Ordinal)
            );
            return false;
        }
        try
        {
            if (answers is not null)
                await answers.KeepAsync(cancellation).ConfigureAwait(false);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // A cache that may only be read: kbuild asks again the next time.
            LogOutput(logger, e.Message);
        }
        foreach (string line in made.Errors.Split('\n'))
        {
            // That gcc's package is another build of the same version is Debian's everyday; the resolver has compared versions.
            if (
                line.Contains("warning:", StringComparison.OrdinalIgnoreCase)
                && !line.Contains("compiler differs", StringComparison.Ordinal)
            )
                diagnostics.Report(
                    GenerationDiagnostics.KernelBuildWarning,
                    null,
                    what,
                    line.Replace(root + "/", "", StringComparison.Ordinal)
                );
        }
        return true;
    }

    private async Task<bool> StripAsync(string module, DiagnosticBag diagnostics, CancellationToken cancellation)
    {
        if (
            await new Tool("strip", "--strip-debug", module) { Root = toolchain, Logger = logger }
                .RunAsync(diagnostics, cancellation)
                .ConfigureAwait(false)
            is not { } stripped
        )
            return false;
        if (!stripped.Succeeded)
            diagnostics.Report(GenerationDiagnostics.KernelBuildFailed, null, Path.GetFileName(module), "strip", stripped.Said);
        return stripped.Succeeded;
    }

    [LoggerMessage(Level = LogLevel.Debug, Message = "{Output}")]
    private static partial void LogOutput(ILogger logger, string output);

    // A folder beside the output, on the same file system, so that results are renamed into place; one for temporary files where kbuild
    // does not take the output's path.
    private sealed class WorkFolder : IDisposable
    {
        private readonly string _output;

        public WorkFolder(string outputDirectory)
        {
            _output = System.IO.Path.GetFullPath(outputDirectory);
            Directory.CreateDirectory(_output);
            Path = System.IO.Path.Combine(PlaceOf(_output), ".build-" + System.IO.Path.GetRandomFileName());
            Directory.CreateDirectory(Path);
        }

        public static string PlaceOf(string output) =>
            ToolPath.IsForKbuild(System.IO.Path.GetFullPath(output)) ? System.IO.Path.GetFullPath(output) : System.IO.Path.GetTempPath();

        public string Path { get; }

        public void Write(string name, string text) => File.WriteAllText(System.IO.Path.Combine(Path, name), text);

        public void CopyTree(string from, string to)
        {
            Directory.CreateDirectory(System.IO.Path.Combine(Path, to));
            foreach (string file in Directory.EnumerateFiles(from, "*", SearchOption.AllDirectories))
            {
                string target = System.IO.Path.Combine(Path, to, System.IO.Path.GetRelativePath(from, file));
                Directory.CreateDirectory(System.IO.Path.GetDirectoryName(target)!);
                File.Copy(file, target);
            }
        }

        public string Publish(string file, string name)
        {
            string target = System.IO.Path.Combine(_output, name);
            File.Move(file, target, overwrite: true);
            return target;
        }

        public void Dispose() => Directory.Delete(Path, recursive: true);
    }
}
