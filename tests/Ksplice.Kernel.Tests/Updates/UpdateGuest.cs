// SPDX-License-Identifier: MIT
using System.Collections.Concurrent;
using System.Text.Json;
using CliWrap;
using Ksplice.Build.Kernel;

namespace Ksplice.Kernel.Tests.Updates;

/// <summary>Guests with the command and packages in them.</summary>
internal static class UpdateGuest
{
    // An update that several tests use as it is, is built once.
    private static readonly ConcurrentDictionary<string, Lazy<Task<PatchProject>>> Built = new();
    private static readonly ConcurrentDictionary<string, Lazy<Task<GuestFile>>> Programs = new();

    public static GuestFile Command { get; } = new(Repository.Command, "/bin/ksplice");

    /// <summary>Where a guest has a package.</summary>
    public static string Place(PatchProject project) => "/root/" + Path.GetFileName(project.Package);

    public static GuestFile Package(PatchProject project) => new(project.Package, Place(project));

    /// <summary>A module of the kernel, unpacked, at /NAME.ko.</summary>
    public static GuestFile Module(string release, string path)
    {
        string shipped = Path.Combine(KernelCache.DefaultRoot, "images", release, "lib/modules", release, "kernel", path + ".ko");
        if (!File.Exists(shipped))
        {
            string packed = shipped + ".xz";
            shipped = Path.Combine(Directory.CreateTempSubdirectory("ksplice-module-").FullName, Path.GetFileName(shipped));
            File.WriteAllBytes(shipped, KernelPayload.Decompress(File.ReadAllBytes(packed)));
        }
        return new(shipped, "/" + Path.GetFileName(shipped));
    }

    /// <summary>
    /// Where the body of a function begins whose address is taken: behind its ENDBR, if the kernel has them, and the call of the tracer.
    /// </summary>
    public static int Body(string release) =>
        KernelConfiguration.Read(Path.Combine(TestModule.Headers(release), ".config")).Has("CONFIG_X86_KERNEL_IBT") ? 9 : 5;

    /// <summary>Compiles one of this project's C programs, once for all tests, for a guest's /bin.</summary>
    public static Task<GuestFile> ProgramAsync(string source) => Programs.GetOrAdd(source, _ => new(() => CompileAsync(source))).Value;

    private static async Task<GuestFile> CompileAsync(string source)
    {
        string program = Path.Combine(
            Directory.CreateTempSubdirectory("ksplice-program-").FullName,
            Path.GetFileNameWithoutExtension(source)
        );
        await Cli.Wrap("gcc")
            .WithArguments(["-static", "-O1", Repository.At("tests/Ksplice.Kernel.Tests", source), "-o", program])
            .ExecuteAsync(TestContext.Current.CancellationToken);
        return new GuestFile(program, "/bin/" + Path.GetFileName(program));
    }

    /// <summary>Runs a script in a guest with the command and one package, $package, whose update is $id.</summary>
    public static Task<GuestResult> RunAsync(Guest guest, PatchProject project, string script, params GuestFile[] files) =>
        guest.RunAsync($"package={Place(project)} id={project.Id}\n{script}", [Command, Package(project), .. files]);

    /// <summary>A sample of this clone, built.</summary>
    public static Task<PatchProject> SampleAsync(string name, string release) =>
        BuiltAsync($"{release} {name}", PatchProject.Sample(name, release));

    /// <summary>Builds a project, or gives the one that was built of the same files. It is not to be built again.</summary>
    public static Task<PatchProject> BuiltAsync(PatchProject project)
    {
        var files = Directory.GetFiles(project.Folder).Order(StringComparer.Ordinal);
        return BuiltAsync(string.Concat(files.Select(file => $"{Path.GetFileName(file)}\n{File.ReadAllText(file)}")), project);
    }

    private static async Task<PatchProject> BuiltAsync(string key, PatchProject project)
    {
        Lazy<Task<PatchProject>> own = new(async () =>
        {
            (await project.BuildAsync()).MustSucceed();
            project.Share();
            return project;
        });
        var shared = Built.GetOrAdd(key, own);
        if (shared != own)
            project.Dispose();
        return await shared.Value;
    }

    /// <summary>A change of devkmsg_read, where a reader of /dev/kmsg sleeps, for any kernel: sample c is for one.</summary>
    public static async Task<PatchProject> BuildKmsgAsync(string release)
    {
        PatchProject project = new(release);
        project.Write(
            "kmsg.patch",
            await KernelTree.ChangeAsync(
                release,
                "kernel/printk/printk.c",
                ("/* LMM(devkmsg_read:A) */\n", "/* LMM(devkmsg_read:A) */\n\t\tif (count == 0x76543210)\n\t\t\tret = -EFBIG;\n")
            )
        );
        return await BuiltAsync(project);
    }

    /// <summary>The replaced functions that the manifest names.</summary>
    public static string[] Replaced(PatchProject project)
    {
        using var manifest = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(project.Package, "manifest.json")));
        return
        [
            .. manifest
                .RootElement.GetProperty("targets")[0]
                .GetProperty("functions")
                .EnumerateArray()
                .Select(function => function.GetProperty("name").GetString()!)
                .Order(StringComparer.Ordinal),
        ];
    }

    /// <summary>What of the new code's needs the helper resolves, from the build's report.</summary>
    public static string MatchReport(PatchProject project) =>
        File.ReadAllText(
            Assert.Single(Directory.GetFiles(project.At("obj"), "match.txt", SearchOption.AllDirectories), report =>
                report.Contains(Path.GetFileName(Path.GetDirectoryName(project.Package)!), StringComparison.Ordinal)
            )
        );
}
