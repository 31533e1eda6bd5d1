// SPDX-License-Identifier: MIT
// What runs again, and why. Each test reads the binary log.
namespace Ksplice.Tasks.Tests;

public sealed class IncrementalTests
{
    private static readonly string[] Stages =
    [
        "KspliceConfigure",
        "KspliceResolveKernel",
        "KspliceVerify",
        "KspliceWriteInputs",
        "KspliceWriteSigning",
        "KspliceWriteOutput",
        "KsplicePatch",
        "KspliceReadUnits",
        "KspliceCompile",
        "KspliceAnalyze",
        "KspliceDiff",
        "KspliceMatch",
        "KspliceGenerate",
        "KspliceReplay",
        "KspliceLink",
        "KsplicePackage",
        "KspliceReport",
        "KspliceReadPackage",
        "KspliceTell",
    ];

    /// <summary>The targets that run in a build in which nothing changed.</summary>
    internal static readonly string[] AlwaysRun =
    [
        "KspliceConfigure",
        "KspliceResolveKernel",
        "KspliceVerify",
        "KspliceWriteInputs",
        "KspliceWriteSigning",
        "KspliceWriteOutput",
        "KspliceReadUnits",
        "KspliceCompile",
        "KspliceReplay",
        "KspliceReadPackage",
        "KspliceTell",
    ];

    private static PatchProject TwoPatches()
    {
        PatchProject project = new(Patches.Release);
        project.Write("1-smaps.patch", Patches.Smaps);
        project.Write("2-kmsg.patch", Patches.Kmsg);
        return project;
    }

    [Fact]
    public async Task Each_stage_is_a_target_and_a_second_build_runs_no_compiler_and_no_kbuild()
    {
        using var project = TwoPatches();
        var first = new BuildLog((await project.BuildAsync()).MustSucceed());
        Assert.Equal(Stages.Order(), first.Ran.Except(["KsplicePrepareKernel"]).Order());
        Assert.Equal(4, first.Compiled.Count);
        foreach (string stage in (string[])["compare: ", "judge: ", "match: ", "generate: "])
            Assert.Single(first.Messages(stage));
        string package = project.Package;
        var before = Directory
            .GetFiles(package, "*", SearchOption.AllDirectories)
            .Append(package + ".html")
            .ToDictionary(file => file, File.GetLastWriteTimeUtc);
        var second = new BuildLog((await project.BuildAsync()).MustSucceed());
        Assert.Equal(AlwaysRun.Order(), second.Ran.Order());
        Assert.Empty(second.Compiled);
        Assert.NotEmpty(first.Warnings);
        Assert.Equal(first.Warnings, second.Warnings);
        Assert.All(before, file => Assert.Equal(file.Value, File.GetLastWriteTimeUtc(file.Key)));
        // Touched and not changed: time stamps alone compile nothing.
        File.SetLastWriteTimeUtc(project.At("1-smaps.patch"), DateTime.UtcNow);
        Assert.Empty(new BuildLog((await project.BuildAsync()).MustSucceed()).Compiled);
    }

    [Fact]
    public async Task A_changed_patch_compiles_its_own_units_only_and_says_why()
    {
        using var project = TwoPatches();
        (await project.BuildAsync()).MustSucceed();
        string old = project.Id;
        project.Write("1-smaps.patch", Patches.Smaps.Replace("Pages: ", "Pages2:", StringComparison.Ordinal));
        var log = new BuildLog((await project.BuildAsync()).MustSucceed());
        string why = Assert.Single(log.Compiled);
        Assert.StartsWith("compiling fs/proc/task_mmu.c (post): ", why, StringComparison.Ordinal);
        Assert.EndsWith("post/fs/proc/task_mmu.c has changed", why, StringComparison.Ordinal);
        // Another update: the old one's package does not stay beside it.
        Assert.NotEqual(old, project.Id);
        Assert.Single(Directory.GetFiles(project.At("bin"), "*.tar.zst", SearchOption.AllDirectories));
        Assert.Equal([project.Package + ".html"], Directory.GetFiles(project.At("bin"), "*.html", SearchOption.AllDirectories));

        File.Delete(project.At("2-kmsg.patch"));
        (await project.BuildAsync()).MustSucceed();
        Assert.Single(Directory.GetFiles(Path.Combine(project.Package, "patches")));
    }

    [Fact]
    public async Task Whatever_is_deleted_or_truncated_is_made_again()
    {
        using PatchProject project = new(Patches.Release);
        project.Write("smaps.patch", Patches.Smaps);
        (await project.BuildAsync()).MustSucceed();
        var outputs = Directory
            .GetFiles(project.At("bin"), "*", SearchOption.AllDirectories)
            .Concat(
                Directory
                    .GetFiles(
                        project.At("obj/Debug/ksplice"),
                        "*",
                        new EnumerationOptions { RecurseSubdirectories = true, AttributesToSkip = FileAttributes.ReparsePoint }
                    )
                    .Where(path => !path.EndsWith(".ksplice-tree.json", StringComparison.Ordinal))
            )
            .ToDictionary(path => path, File.ReadAllBytes);
        Assert.True(outputs.Count > 20);
        bool delete = true;
        // Several at a time, of different stages, or the test would take minutes.
        foreach (var batch in outputs.Keys.Order(StringComparer.Ordinal).Chunk(6))
        {
            foreach (string path in batch)
            {
                if (delete)
                    File.Delete(path);
                else
                    File.WriteAllBytes(path, outputs[path][..(outputs[path].Length / 2)]);
                delete = !delete;
            }
            (await project.BuildAsync()).MustSucceed();
            foreach (string path in batch)
            {
                Assert.True(File.Exists(path), $"{path} was not made again");
                // Records hold times; the order of the types in an object's .BTF is gcc's mood.
                if (
                    !path.Contains("/records/", StringComparison.Ordinal)
                    && !path.EndsWith(".record", StringComparison.Ordinal)
                    && !path.EndsWith(".pre.o", StringComparison.Ordinal)
                    && !path.EndsWith(".post.o", StringComparison.Ordinal)
                )
                    Assert.True(outputs[path].AsSpan().SequenceEqual(File.ReadAllBytes(path)), $"{path} is not what it was");
            }
        }
    }

    [Fact]
    public async Task A_file_that_is_replaced_by_an_older_one_counts()
    {
        using PatchProject project = new(Patches.Release);
        project.Write("smaps.patch", Patches.Smaps);
        (await project.BuildAsync()).MustSucceed();
        string post = project.At($"obj/Debug/ksplice/update/{Patches.Release}/units/fs/proc/task_mmu.post.o");
        Assert.True(File.ReadAllBytes(post).AsSpan().IndexOf("Pages: "u8) >= 0);
        File.Copy(Path.ChangeExtension(Path.ChangeExtension(post, null), ".pre.o"), post, overwrite: true);
        File.SetLastWriteTimeUtc(post, DateTime.UtcNow.AddYears(-1));
        var log = new BuildLog((await project.BuildAsync()).MustSucceed());
        Assert.EndsWith("task_mmu.post.o has changed", Assert.Single(log.Compiled), StringComparison.Ordinal);
        Assert.True(File.ReadAllBytes(post).AsSpan().IndexOf("Pages: "u8) >= 0);
    }

    [Fact]
    public async Task Two_builds_on_two_paths_give_the_same_bytes()
    {
        List<byte[]> archives = [];
        for (int i = 0; i < 2; i++)
        {
            using var project = TwoPatches();
            (await project.BuildAsync()).MustSucceed();
            archives.Add(File.ReadAllBytes(project.Package + ".tar.zst"));
        }
        Assert.True(archives[0].AsSpan().SequenceEqual(archives[1]));
    }

    [Fact]
    public async Task Clean_removes_what_was_built_and_rebuild_builds_it()
    {
        using PatchProject project = new(Patches.Release);
        project.Write("smaps.patch", Patches.Smaps);
        (await project.BuildAsync()).MustSucceed();
        string archive = project.Package + ".tar.zst";
        var bytes = File.ReadAllBytes(archive);
        (await project.BuildAsync("-t:Clean")).MustSucceed();
        Assert.Empty(Directory.GetFiles(project.At("bin"), "*", SearchOption.AllDirectories));
        Assert.False(Directory.Exists(project.At("obj/Debug/ksplice/update/" + Patches.Release)));
        (await project.BuildAsync("-t:Rebuild")).MustSucceed();
        Assert.True(bytes.AsSpan().SequenceEqual(File.ReadAllBytes(archive)));
    }

    [Fact]
    public async Task Two_builds_at_once_are_safe()
    {
        using var one = TwoPatches();
        using var two = TwoPatches();
        var results = await System.Threading.Tasks.Task.WhenAll(one.BuildAsync(), two.BuildAsync());
        Assert.All(results, result => result.MustSucceed());
        Assert.Equal(one.Id, two.Id);
    }

    [Fact]
    public async Task A_design_time_build_runs_no_stage()
    {
        using PatchProject project = new(Patches.Release);
        project.Write("smaps.patch", Patches.Smaps);
        (await project.RunAsync(["restore"])).MustSucceed();
        var log = new BuildLog(
            (
                await project.RunAsync([
                    "msbuild",
                    "-t:ResolveAssemblyReferencesDesignTime;ResolveProjectReferencesDesignTime;Compile",
                    "-p:DesignTimeBuild=true",
                    "-p:BuildingInsideVisualStudio=true",
                    "-p:SkipCompilerExecution=true",
                ])
            ).MustSucceed()
        );
        Assert.Empty(log.Ran);
        Assert.False(Directory.Exists(project.At("obj/Debug/ksplice")));
    }

    [Fact]
    public async Task Later_targets_see_the_update()
    {
        using PatchProject project = new(Patches.Release);
        project.Write("smaps.patch", Patches.Smaps);
        File.WriteAllText(
            project.At("Directory.Build.targets"),
            """
            <Project>
              <Target Name="Tell" AfterTargets="KspliceBuild">
                <Message Importance="high"
                         Text="update %(KspliceUpdate.UpdateId) in %(KspliceUpdate.Identity) and %(KspliceUpdate.Archive)" />
              </Target>
            </Project>
            """
        );
        for (int build = 0; build < 2; build++)
        {
            string output = (await project.BuildAsync()).MustSucceed().Output;
            Assert.Contains($"update {project.Id} in {project.Package} and {project.Package}.tar.zst", output, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task A_cancelled_build_leaves_no_half_file_and_no_process()
    {
        using PatchProject project = new(Patches.Release);
        project.Write("smaps.patch", Patches.Smaps);
        (await project.RunAsync(["restore"])).MustSucceed();
        string units = project.At($"obj/Debug/ksplice/update/{Patches.Release}/units");
        using var dotnet = System.Diagnostics.Process.Start(
            new System.Diagnostics.ProcessStartInfo(
                "env",
                ["--default-signal=INT", "dotnet", "build", "--no-restore", "-nodeReuse:false", "-tl:off"]
            )
            {
                WorkingDirectory = project.Folder,
                RedirectStandardOutput = true,
                RedirectStandardError = true,
            }
        )!;
        while (!Directory.Exists(units) || Directory.GetFiles(units, "*", SearchOption.AllDirectories).Length == 0)
        {
            Assert.False(dotnet.HasExited, "the build ended before it could be cancelled");
            await System.Threading.Tasks.Task.Delay(5, TestContext.Current.CancellationToken);
        }
        Assert.Equal(0, Kill(dotnet.Id, Interrupt));
        await dotnet.WaitForExitAsync(TestContext.Current.CancellationToken);
        Assert.NotEqual(0, dotnet.ExitCode);
        Assert.DoesNotContain(Directory.GetFiles(units, "*", SearchOption.AllDirectories), path =>
            path.EndsWith(".tmp", StringComparison.Ordinal)
        );
        Assert.DoesNotContain(
            Directory.GetDirectories("/proc").Select(folder => Path.Combine(folder, "cmdline")).Where(File.Exists).Select(ReadOrEmpty),
            line => line.Contains(project.Folder, StringComparison.Ordinal)
        );
        (await project.BuildAsync()).MustSucceed();
    }

    private const int Interrupt = 2;

    [System.Runtime.InteropServices.DllImport("libc", EntryPoint = "kill")]
    private static extern int Kill(int process, int signal);

    private static string ReadOrEmpty(string path)
    {
        try
        {
            return File.ReadAllText(path);
        }
        catch (IOException)
        {
            return "";
        }
    }

    // Severities are no part of a module: what is said of the update changes, and with it the report, but nothing is linked again.
    [Fact]
    public async Task A_changed_configuration_of_diagnostics_judges_again_and_runs_no_kbuild()
    {
        using var project = TwoPatches();
        (await project.BuildAsync()).MustSucceed();
        project.Write(".editorconfig", "root = true\n[*.c]\ndotnet_diagnostic.KSP5014.severity = suggestion\n");
        var second = new BuildLog((await project.BuildAsync()).MustSucceed());
        Assert.Equal(["KspliceAnalyze", "KspliceGenerate"], second.Ran.Except([.. AlwaysRun, "KsplicePackage", "KspliceReport"]).Order());
        Assert.Single(second.Messages("compare: "));
    }
}
