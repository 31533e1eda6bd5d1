// SPDX-License-Identifier: MIT
// Files by which stages tell each other what they did, damaged. Whoever reads one says which it is and what to do; an exception that left a
// task would be MSB4018, with a stack and no file's name.
using System.Text.Json.Nodes;
using Ksplice.Build.Kernel;
using Microsoft.Build.Framework;
using Microsoft.Build.Utilities;
using Microsoft.Extensions.Logging.Abstractions;

namespace Ksplice.Tasks.Tests;

/// <summary>A project that was built once.</summary>
public sealed class BuiltProject : IAsyncLifetime
{
    internal PatchProject Project { get; } = new(Patches.Release);

    public async ValueTask InitializeAsync()
    {
        Project.Write("smaps.patch", Patches.Smaps);
        (await Project.BuildAsync()).MustSucceed();
    }

    public ValueTask DisposeAsync()
    {
        Project.Dispose();
        return ValueTask.CompletedTask;
    }
}

public sealed class DamagedFileTests(BuiltProject built) : IClassFixture<BuiltProject>, IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("ksplice-damaged-");

    public void Dispose() => _folder.Delete(recursive: true);

    private string Built(string name) => built.Project.At($"obj/Debug/ksplice/update/{Patches.Release}/{name}");

    // A file to damage, and a task that reads it. What else the task reads is whole.
    private static readonly string[] Files =
    [
        "units.json",
        "units.json, for the place of a diagnostic",
        "kernel.json",
        "configuration.json",
        "bases.json",
        "update.json, for the package",
        "update.json, for the report",
        "manifest.json",
        "units.json of the cache",
    ];

    private string SourceOf(string file) =>
        file switch
        {
            "manifest.json" => Path.Combine(built.Project.Package, file),
            "units.json of the cache" => Path.Combine(
                new KernelCache(KernelCache.DefaultRoot, NullLogger.Instance).FolderOf(ResolvedKernel.Open(Built("kernel.json")).Release),
                "units.json"
            ),
            _ => Built(file.Split(',')[0]),
        };

    private (KspliceTask Task, string Damaged) Reader(string file, byte[] content)
    {
        string damaged = Path.Combine(_folder.FullName, file.Split(',')[0]);
        File.WriteAllBytes(damaged, content);
        switch (file)
        {
            case "units.json":
                return (new ReadUnits { UnitsFile = damaged, ObjectFolder = _folder.FullName }, damaged);
            case "units.json, for the place of a diagnostic":
                return (Diff(Built("kernel.json"), damaged, Built("bases.json")), damaged);
            case "bases.json":
                return (Diff(Built("kernel.json"), Built("units.json"), damaged), damaged);
            case "configuration.json":
                return (
                    new ReadUnits
                    {
                        UnitsFile = Built("units.json"),
                        ObjectFolder = _folder.FullName,
                        Configuration = damaged,
                    },
                    damaged
                );
            case "kernel.json":
                return (Diff(damaged, Built("units.json"), Built("bases.json")), damaged);
            case "units.json of the cache":
                KernelCache cache = new(_folder.FullName, NullLogger.Instance);
                string ready = cache.ReadyOf(ResolvedKernel.Open(Built("kernel.json")).Release);
                Directory.CreateDirectory(Path.GetDirectoryName(ready)!);
                File.WriteAllText(ready, "");
                File.Move(damaged, damaged = Path.Combine(Path.GetDirectoryName(ready)!, "units.json"));
                return (new PrepareKernel { KernelFile = Built("kernel.json"), Cache = _folder.FullName }, damaged);
            case "update.json, for the package":
                return (
                    new PackageUpdate
                    {
                        UpdateFile = damaged,
                        UpdateName = "update",
                        BasesFile = Built("bases.json"),
                        ModuleFolder = Built("modules"),
                        OutputFolder = _folder.CreateSubdirectory("package").FullName,
                        IdFile = Path.Combine(_folder.FullName, "path"),
                    },
                    damaged
                );
            default:
                bool isManifest = file == "manifest.json";
                string package = Path.Combine(_folder.FullName, Path.GetFileName(built.Project.Package)),
                    manifest = Path.Combine(package, "manifest.json"),
                    path = Path.Combine(_folder.FullName, "path");
                Assert.Equal(0, Programs.Run("cp", ["-r", built.Project.Package, package]).ExitCode);
                if (isManifest)
                    File.Copy(damaged, manifest, overwrite: true);
                File.WriteAllText(path, built.Project.Id);
                return (
                    new WriteReport
                    {
                        UpdateFile = isManifest ? Built("update.json") : damaged,
                        IdFile = path,
                        OutputFolder = _folder.FullName,
                    },
                    isManifest ? manifest : damaged
                );
        }
    }

    private DiffUnits Diff(string kernel, string units, string bases) =>
        new()
        {
            KernelFile = kernel,
            UnitsFile = units,
            BasesFile = bases,
            PostTree = Built("post"),
            CompileRecord = Built("records/KspliceCompile.json"),
            ReportFolder = _folder.FullName,
            Units =
            [
                new TaskItem(
                    "fs/proc/task_mmu.c",
                    new Dictionary<string, string>
                    {
                        ["Module"] = "vmlinux",
                        ["Pre"] = Built("units/fs/proc/task_mmu.pre.o"),
                        ["Post"] = Built("units/fs/proc/task_mmu.post.o"),
                    }
                ),
            ],
        };

    private List<BuildErrorEventArgs> Run(string file, byte[] content, out string damaged, out bool succeeded)
    {
        (var task, damaged) = Reader(file, content);
        using (task)
        {
            RecordingEngine engine = new();
            task.BuildEngine = engine;
            succeeded = task.Execute();
            Assert.Equal(succeeded, engine.Errors.Count == 0);
            return engine.Errors;
        }
    }

    public static TheoryData<string> DamagedFiles => [.. Files];

    [Theory]
    [MemberData(nameof(DamagedFiles))]
    public void Is_read_when_it_is_whole_and_named_when_it_is_damaged(string file)
    {
        var whole = File.ReadAllBytes(SourceOf(file));
        Assert.Empty(Run(file, whole, out _, out bool succeeded));
        Assert.True(succeeded);
        bool isList = whole[0] == '[';
        List<byte[]> damages =
        [
            [],
            whole[..(whole.Length / 2)],
            "null"u8.ToArray(),
            "no JSON"u8.ToArray(),
            "[null]"u8.ToArray(),
            "7"u8.ToArray(),
        ];
        damages.Add("{}"u8.ToArray());
        if (!isList)
        {
            damages.Add("[]"u8.ToArray());
            foreach (string member in JsonNode.Parse(whole)!.AsObject().Select(pair => pair.Key).Where(name => IsNeeded(file, name)))
            {
                var less = JsonNode.Parse(whole)!.AsObject();
                less.Remove(member);
                damages.Add(Bytes(less));
                // An update without such strings has no data module.
                if (member == "data")
                    continue;
                var without = JsonNode.Parse(whole)!.AsObject();
                without[member] = null;
                damages.Add(Bytes(without));
            }
        }
        // A later format's member would be lost in silence. The manifest may have further ones, and the list in the cache was always whole.
        if (file is not ("manifest.json" or "units.json of the cache") && !isList)
        {
            var more = JsonNode.Parse(whole)!.AsObject();
            more["schema"] = 99;
            damages.Add(Bytes(more));
        }
        foreach (var damage in damages)
        {
            foreach (var entry in _folder.EnumerateFileSystemInfos())
            {
                if (entry is DirectoryInfo folder)
                    folder.Delete(recursive: true);
                else
                    entry.Delete();
            }
            string shown = System.Text.Encoding.UTF8.GetString(damage.AsSpan(0, Math.Min(200, damage.Length)));
            var errors = Run(file, damage, out string damaged, out _);
            Assert.True(errors.Count == 1, shown);
            Assert.Equal(("KSP2028", damaged), (errors[0].Code, errors[0].File));
            Assert.StartsWith($"'{damaged}' is damaged: ", errors[0].Message, StringComparison.Ordinal);
            Assert.Contains("build again, which makes it anew", errors[0].Message, StringComparison.Ordinal);
        }
    }

    private static byte[] Bytes(JsonNode node) => System.Text.Encoding.UTF8.GetBytes(node.ToJsonString());

    // The manifest of an update that takes nothing over, stands on nothing, hands out no strings and says nothing of itself may lack these.
    private static bool IsNeeded(string file, string member) =>
        file != "manifest.json" || member is not ("acknowledged" or "base" or "data" or "version" or "description" or "advisories");

    // Whatever one value becomes: a task ends with its work done or with an error that has an id.
    [Theory]
    [MemberData(nameof(DamagedFiles))]
    public void No_value_lets_an_exception_out(string file)
    {
        var whole = File.ReadAllBytes(SourceOf(file));
        if (file == "bases.json")
            whole = """[{"Id":"01234567","Patches":[{"Name":"1-a.patch","Path":"/a.patch","Content":""}]}]"""u8.ToArray();
        if (file == "units.json of the cache")
            whole =
                """
                {"Strings":["gcc"],"Units":[{"Source":"a.c","Object":"a.o","Module":null,"Compiler":[0],"Objtool":[],"LinkObjtool":[]}]}
                """u8.ToArray();
        Random random = new(1);
        int refused = 0;
        for (int times = 0; times < 40; times++)
        {
            var root = JsonNode.Parse(whole)!;
            List<JsonNode> nodes = [];
            Collect(root, nodes);
            var victim = nodes[random.Next(nodes.Count)];
            JsonNode? value = random.Next(7) switch
            {
                0 => null,
                1 => new JsonObject(),
                2 => new JsonArray(),
                3 => JsonValue.Create(-1),
                4 => JsonValue.Create(""),
                5 => JsonValue.Create(long.MaxValue),
                _ => JsonValue.Create("../x"),
            };
            if (victim.Parent is JsonObject parent)
                parent[victim.GetPropertyName()] = value;
            else
                victim.Parent!.AsArray()[victim.GetElementIndex()] = value;
            foreach (var folder in _folder.EnumerateDirectories())
                folder.Delete(recursive: true);
            var errors = Run(file, Bytes(root), out _, out bool succeeded);
            Assert.All(errors, error => Assert.StartsWith("KSP", error.Code, StringComparison.Ordinal));
            refused += succeeded ? 0 : 1;
        }
        Assert.NotEqual(0, refused);
    }

    private static void Collect(JsonNode node, List<JsonNode> nodes)
    {
        var children =
            node is JsonObject members ? members.Select(pair => pair.Value)
            : node is JsonArray elements ? elements
            : [];
        foreach (var child in children.OfType<JsonNode>())
        {
            nodes.Add(child);
            Collect(child, nodes);
        }
    }

    // What it names is deleted before the next package is written.
    [Theory]
    [InlineData("")]
    [InlineData("/")]
    [InlineData("/home/user/project")]
    [InlineData("../0123456")]
    [InlineData("01234567/..")]
    public void The_file_that_names_the_package_names_nothing_else(string named)
    {
        string path = Path.Combine(_folder.FullName, "path");
        File.WriteAllText(path, named);
        RecordingEngine engine = new();
        using ReadPackage task = new()
        {
            BuildEngine = engine,
            IdFile = path,
            OutputFolder = _folder.FullName,
        };
        Assert.False(task.Execute());
        Assert.Equal("KSP2028", Assert.Single(engine.Errors).Code);
        Assert.Empty(task.Updates);
    }

    [Fact]
    public void A_damaged_path_of_a_package_deletes_nothing()
    {
        string keep = _folder.CreateSubdirectory("keep").FullName;
        var (task, _) = Reader("update.json, for the package", File.ReadAllBytes(SourceOf("update.json")));
        File.WriteAllText(Path.Combine(_folder.FullName, "path"), keep);
        task.BuildEngine = new RecordingEngine();
        using (task)
            Assert.True(task.Execute());
        Assert.True(Directory.Exists(keep));
        Assert.Equal(built.Project.Id, File.ReadAllText(Path.Combine(_folder.FullName, "path")));
    }

    [Fact]
    public void A_damaged_record_is_none()
    {
        var records = Directory.GetFiles(Built("records"));
        Assert.NotEmpty(records);
        byte[] whole = File.ReadAllBytes(records[0]);
        foreach (
            byte[] damage in (byte[][])
                [
                    [],
                    whole[..(whole.Length / 2)],
                    """{"Path":"/","Command":"","Inputs":[null],"Outputs":[]}"""u8.ToArray(),
                    """{"Path":"/","Command":"","Inputs":null,"Outputs":[]}"""u8.ToArray(),
                    """{"Command":"","Inputs":[{"Path":"","Size":0,"Time":0,"Sha256":""}],"Outputs":[]}"""u8.ToArray(),
                ]
        )
        {
            string record = Path.Combine(_folder.FullName, "KspliceDiff.json");
            File.WriteAllBytes(record, damage);
            using VerifyRecords task = new() { BuildEngine = new RecordingEngine(), Records = [new TaskItem(record)] };
            Assert.True(task.Execute());
            Assert.False(File.Exists(record));
        }
    }

    [Fact]
    public void Every_task_goes_through_the_one_place_where_exceptions_end()
    {
        var tasks = typeof(KspliceTask)
            .Assembly.GetTypes()
            .Where(type => typeof(ITask).IsAssignableFrom(type) && !type.IsAbstract)
            .ToList();
        Assert.True(tasks.Count > 10);
        Assert.All(tasks, type => Assert.Equal(typeof(KspliceTask), type.GetMethod(nameof(ITask.Execute))!.DeclaringType));
    }

    // What is damaged while a build runs, and what the message promises: the next build makes it anew.
    [Fact]
    public async System.Threading.Tasks.Task A_build_names_the_file_and_the_next_one_makes_it_anew()
    {
        using PatchProject project = new(Patches.Release);
        project.Write("smaps.patch", Patches.Smaps);
        File.WriteAllText(
            project.At("Directory.Build.targets"),
            """
            <Project>
              <Target Name="Damage" AfterTargets="$(DamageAfter)" Condition="'$(DamageAfter)' != ''">
                <WriteLinesToFile File="$(KspliceIntermediatePath)$(DamagedFile)" Lines="{}" Overwrite="true" />
              </Target>
            </Project>
            """
        );
        foreach (
            var (file, target) in ((string, string)[])
                [
                    ("configuration.json", "KspliceConfigure"),
                    ("kernel.json", "KspliceVerify"),
                    ("units.json", "KsplicePatch"),
                    ("bases.json", "KspliceReadUnits"),
                    ("units.json", "KspliceCompile"),
                    ("update.json", "KspliceLink"),
                    ("update.json", "KsplicePackage"),
                ]
        )
        {
            var build = await project.BuildAsync($"-p:DamageAfter={target}", $"-p:DamagedFile={file}");
            Assert.Contains($"/{file} : error KSP2028: ", build.MustFailWith("KSP2028"), StringComparison.Ordinal);
            Assert.DoesNotContain("MSB4018", build.Output, StringComparison.Ordinal);
        }
        (await project.BuildAsync()).MustSucceed();
        Assert.Equal(built.Project.Id, project.Id);
    }
}
