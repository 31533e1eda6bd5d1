// SPDX-License-Identifier: MIT
// A user's project in a folder of its own, built by `dotnet build` as a user would, with the Sdk of this clone.
using System.Text;
using System.Xml.Linq;
using CliWrap;
using CliWrap.Buffered;

namespace Ksplice.Tests;

/// <summary>How a build ended.</summary>
/// <param name="ExitCode">0 after success.</param>
/// <param name="Output">What it wrote.</param>
/// <param name="BinaryLog">The path of its binary log.</param>
internal sealed record BuildResult(int ExitCode, string Output, string BinaryLog)
{
    /// <summary>Fails the test, with all that was written, unless the build succeeded.</summary>
    public BuildResult MustSucceed()
    {
        Assert.True(ExitCode == 0, Output);
        return this;
    }

    /// <summary>Fails the test unless the build failed with that diagnostic; returns its line.</summary>
    public string MustFailWith(string id)
    {
        Assert.True(ExitCode != 0, $"the build succeeded, wanted {id}\n{Output}");
        return Output.Split('\n').FirstOrDefault(line => line.Contains($"error {id}:", StringComparison.Ordinal))
            ?? throw new Xunit.Sdk.XunitException($"no {id} in\n{Output}");
    }
}

/// <summary>A patch project.</summary>
internal sealed class PatchProject : IDisposable
{
    // Builds in this clone restore the same projects: one at a time.
    private static readonly SemaphoreSlim InClone = new(1);

    private const string ItemsFile = "items.props";

    private readonly bool _owned;
    private string? _release;
    private int _builds;
    private bool _shared;

    private PatchProject(string folder, bool owned) => (Folder, _owned) = (folder, owned);

    /// <summary>Makes a project in a fresh folder.</summary>
    public PatchProject(string release, params (string Name, string Value)[] properties)
        : this(Directory.CreateTempSubdirectory("ksplice-project-").FullName, owned: true)
    {
        string source = Repository.At("src", "Ksplice.Tasks");
        XElement settings = new(
            "PropertyGroup",
            new XElement("KernelRelease", release),
            new XElement("KspliceTasksAssembly", Repository.At("artifacts", "bin", "Ksplice.Tasks", "debug", "Ksplice.Tasks.dll")),
            new XElement("KspliceKernelSources", Repository.At("src", "Ksplice.Kernel")),
            new XElement("KspliceHelpFolder", Repository.At("docs", "diagnostics")),
            properties.Select(property => new XElement(property.Name, property.Value))
        );
        XElement project = new(
            "Project",
            new XElement("Import", new XAttribute("Project", source + "/Sdk/Sdk.props")),
            settings,
            new XElement("ItemGroup", new XElement("KernelPatch", new XAttribute("Include", "*.patch"))),
            new XElement("Import", new XAttribute("Project", ItemsFile), new XAttribute("Condition", $"Exists('{ItemsFile}')")),
            new XElement("Import", new XAttribute("Project", source + "/Sdk/Sdk.targets"))
        );
        File.WriteAllText(At("update.csproj"), project.ToString());
        foreach (string stop in (string[])["Directory.Build.props", "Directory.Build.targets"])
            File.WriteAllText(At(stop), "<Project />");
    }

    /// <summary>A sample of this clone, where it stands, for a kernel.</summary>
    public static PatchProject Sample(string name, string release) =>
        new(Repository.At("samples", name), owned: false) { _release = release };

    /// <summary>PATH of its builds, if not that of the tests.</summary>
    public string? ProgramPath { get; init; }

    /// <summary>The project's folder.</summary>
    public string Folder { get; }

    /// <summary>A path in it.</summary>
    public string At(string path) => Path.Combine(Folder, path);

    /// <summary>The package's folder: the only one there is for the kernel.</summary>
    public string Package =>
        Assert.Single(Directory.GetDirectories(At("bin"), "ksplice-????????", SearchOption.AllDirectories), package =>
            _release is null || Path.GetFileName(Path.GetDirectoryName(package)) == _release
        );

    /// <summary>The update's id.</summary>
    public string Id => Path.GetFileName(Package)["ksplice-".Length..];

    /// <summary>Adds or changes a patch.</summary>
    public void Write(string name, string patch) => File.WriteAllText(At(name), patch);

    /// <summary>Gives the project further items, as XML, in place of those that it was given before.</summary>
    public void Items(params string[] items) => Write(ItemsFile, $"<Project><ItemGroup>{string.Concat(items)}</ItemGroup></Project>");

    /// <summary>Puts the project on top of updates that are built.</summary>
    public void OnTopOf(params PatchProject[] lower) =>
        Items([.. lower.Select(project => $"<KernelBaseUpdate Include=\"{project.Package}\" />")]);

    /// <summary>Runs <c>dotnet build</c>.</summary>
    public Task<BuildResult> BuildAsync(params string[] arguments) =>
        RunAsync(["build", .. _release is null ? [] : (string[])[$"-p:KernelRelease={_release}"], .. arguments]);

    /// <summary>Runs <c>dotnet</c> in the project's folder.</summary>
    public async Task<BuildResult> RunAsync(IEnumerable<string> arguments)
    {
        var cancellation = TestContext.Current.CancellationToken;
        if (!_owned)
            await InClone.WaitAsync(cancellation);
        try
        {
            return await RunNowAsync(arguments, cancellation);
        }
        finally
        {
            if (!_owned)
                InClone.Release();
        }
    }

    private async Task<BuildResult> RunNowAsync(IEnumerable<string> arguments, CancellationToken cancellation)
    {
        string log = Path.Combine(_owned ? Folder : Path.GetTempPath(), $"build-{Environment.ProcessId}-{++_builds}.binlog");
        var result = await Cli.Wrap("dotnet")
            .WithArguments([.. arguments, $"-bl:{log}", "-nodeReuse:false", "-tl:off"])
            .WithWorkingDirectory(Folder)
            .WithEnvironmentVariables(variables =>
                variables
                    .Set("MSBUILDDISABLENODEREUSE", "1")
                    .Set("DOTNET_CLI_TELEMETRY_OPTOUT", "1")
                    .Set("DOTNET_NOLOGO", "1")
                    .Set("PATH", ProgramPath ?? Environment.GetEnvironmentVariable("PATH"))
            )
            .WithValidation(CommandResultValidation.None)
            .ExecuteBufferedAsync(Encoding.UTF8, cancellation);
        return new BuildResult(result.ExitCode, result.StandardOutput + result.StandardError, log);
    }

    /// <summary>Lets several tests use it: it stays until the process ends, whoever disposes of it.</summary>
    public void Share()
    {
        _shared = true;
        if (_owned)
            AppDomain.CurrentDomain.ProcessExit += (_, _) => Directory.Delete(Folder, recursive: true);
    }

    public void Dispose()
    {
        if (_owned && !_shared)
            Directory.Delete(Folder, recursive: true);
    }
}
