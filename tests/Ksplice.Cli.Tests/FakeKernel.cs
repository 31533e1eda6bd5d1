// SPDX-License-Identifier: MIT
// A kernel made of files: what the core module does behind sysfs, as far as the command can see it. The real one is
// tested in guests; here the command meets what a real kernel does only rarely. The process of the tests cannot become the
// waiter: the waiter runs beside it, the real program on these files, and hands back the arguments with which the command goes on.
using Ksplice.Cli.Machines;

namespace Ksplice.Cli.Tests;

internal sealed class FakeKernel : Machine
{
    private readonly string _sysfs;

    public FakeKernel(string folder)
        : base(
            Path.Combine(folder, "sys"),
            Path.Combine(folder, "run"),
            Path.Combine(folder, "store"),
            Path.Combine(folder, "units"),
            Path.Combine(folder, "packaged-units"),
            Path.Combine(folder, "trusted")
        )
    {
        _sysfs = Path.Combine(folder, "sys");
        Directory.CreateDirectory(Path.Combine(_sysfs, "module"));
    }

    public bool Root { get; set; } = true;

    /// <summary>The updates that stand on others, with the ids of these: what is below is not undone before them.</summary>
    public Dictionary<string, string> StandsOn { get; } = [];

    // The files of an update that everybody may read.
    private static readonly string[] s_public = ["stage", "busy", "abort_cause", "tries", "pause_ns"];

    protected override string Text(string path) =>
        Root || !path.StartsWith(UpdatesDirectory, StringComparison.Ordinal) || s_public.Contains(Path.GetFileName(path))
            ? base.Text(path)
            : throw new UnauthorizedAccessException("Permission denied");

    public override bool IsRoot => Root;

    public override string KernelRelease => TestPackage.Release;

    /// <summary>What the kernel was booted with.</summary>
    public string Words { get; set; } = "quiet";

    protected override string CommandLine => Words + "\n";

    public override IReadOnlyList<string> StackOf(int thread) => thread == 123 ? ["schedule+0x5/0x90", "devkmsg_read+0x1/0x2"] : [];

    /// <summary>Loads and unloads, in order: "+module", "-module".</summary>
    public List<string> Log { get; } = [];

    /// <summary>Bytes given to the kernel, by module.</summary>
    public Dictionary<string, byte[]> Images { get; } = [];

    /// <summary>What the core answers to a request: the cause; anything but ok leaves the stage as it is.</summary>
    public string Answer { get; set; } = "ok";

    public string Reason { get; set; } = "";

    /// <summary>How many requests, from now on, get <see cref="Answer"/>; those after them get ok.</summary>
    public int BusyRequests { get; set; } = int.MaxValue;

    public string[] Conflicts { get; set; } = [];

    public int TriesTaken { get; set; } = 1;

    /// <summary>The version that a data module has.</summary>
    public string DataVersion { get; set; } = "d1";

    /// <summary>Error numbers of loads and unloads, by module.</summary>
    public Dictionary<string, int> LoadErrors { get; } = [];

    public Dictionary<string, int> UnloadErrors { get; } = [];

    /// <summary>The cause that the helper leaves when it does not load.</summary>
    public string MatchAnswer { get; set; } = "no_match";

    public override int Load(string module, ReadOnlySpan<byte> image, string parameters = "")
    {
        Log.Add("+" + module + (parameters.Length == 0 ? "" : " " + parameters));
        Images[module] = image.ToArray();
        var failed = LoadErrors.TryGetValue(module, out var error);
        if (module == "ksplice" && !failed)
            Directory.CreateDirectory(UpdatesDirectory);
        if (module.EndsWith("_helper", StringComparison.Ordinal))
        {
            var id = module.Split('_')[1];
            if (!Directory.Exists(Path.Combine(UpdatesDirectory, id)))
                Create(id);
            Set(id, "abort_cause", failed ? MatchAnswer : "ok");
            Set(id, "reason", failed ? Reason : "");
        }

        if (!failed)
            Directory.CreateDirectory(Path.Combine(_sysfs, "module", module));
        if (!failed && module.EndsWith("_data", StringComparison.Ordinal))
            File.WriteAllText(Path.Combine(_sysfs, "module", module, "version"), DataVersion + "\n");
        return error;
    }

    public override int Unload(string module)
    {
        Log.Add("-" + module);
        if (UnloadErrors.TryGetValue(module, out var error))
            return error;
        Directory.Delete(Path.Combine(_sysfs, "module", module), recursive: true);
        if (module.EndsWith("_helper", StringComparison.Ordinal) && ModulesOf(module.Split('_')[1]).Count == 0)
            Directory.Delete(Path.Combine(UpdatesDirectory, module.Split('_')[1]), recursive: true);
        return 0;
    }

    /// <summary>The core works on a request of somebody else's for a while.</summary>
    public void BusyFor(string id, TimeSpan time)
    {
        Set(id, "busy", "1");
        _ = Task.Run(async () =>
        {
            await Task.Delay(time);
            Set(id, "busy", "0");
        });
    }

    /// <summary>Why the process cannot become the waiter; 0 if it can.</summary>
    public int ExecError { get; set; }

    /// <summary>Runs while the process is the waiter, with its process id.</summary>
    public Action<int>? WhileWaiting { get; set; }

    /// <summary>What the process was, by what each waited for.</summary>
    public List<string> Waits { get; } = [];

    /// <summary>What the waiter wrote to standard error.</summary>
    public string WaiterErrors { get; private set; } = "";

    /// <summary>Ends when the process would be the command again: what stands behind its arguments.</summary>
    public TaskCompletionSource<string[]> Resumed { get; set; } = new();

    public override async Task<int> BecomeWaiterAsync(Wait wait, string state)
    {
        if (ExecError != 0)
            return ExecError;
        Waits.Add(wait.What);
        if (wait.What is not (Wait.ForLock or Wait.ForIdle))
        {
            Set(Path.GetFileName(wait.Directory), "busy", "1"); // as the real one is before the waiter's write returns
            _ = AnswerAsync(Path.Combine(wait.Directory, "stage"), File.ReadAllText(Path.Combine(wait.Directory, "stage")));
        }

        var (errors, arguments) = await WaiterProcess.RunAsync(
            _sysfs,
            wait with
            {
                Lock = 8,
            },
            WaiterProcess.Say,
            Waiter.Resume(state),
            WhileWaiting,
            $"exec 8<>{LockPath};"
        );
        WaiterErrors += errors;
        Resumed.SetResult(arguments);
        await Task.Delay(Timeout.Infinite);
        return 0;
    }

    // The core, asked by the waiter.
    private async Task AnswerAsync(string file, string before)
    {
        string now;
        while ((now = await File.ReadAllTextAsync(file)) == before)
            await Task.Delay(5);
        Set(Path.GetFileName(Path.GetDirectoryName(file)!), "stage", before.TrimEnd());
        string[] requests = [Update.Applied, Update.Replacing, Update.Reversed];
        Write(file, requests.Single(request => now.StartsWith(request, StringComparison.Ordinal)));
    }

    /// <summary>The version that the loaded core has.</summary>
    public string CoreVersion
    {
        set => File.WriteAllText(Path.Combine(_sysfs, "module", "ksplice", "version"), value + "\n");
    }

    private void Create(string id)
    {
        Directory.CreateDirectory(Path.Combine(UpdatesDirectory, id));
        Set(id, "stage", Update.Preparing);
        Set(id, "busy", "0");
        Set(id, "conflicts", "");
        Set(id, "tries", "0");
        Set(id, "max_tries", "5");
        Set(id, "retry_ms", "1");
        Set(id, "pause_ns", "0");
        Set(id, "functions", "show_smap 0xffffffff81234560 0xffffffffc0001000 vmlinux");
        Set(id, "targets", "vmlinux ready");
    }

    public override void Write(string path, string text)
    {
        Assert.True(File.Exists(path), path);
        Assert.Equal("stage", Path.GetFileName(path));
        var id = Path.GetFileName(Path.GetDirectoryName(path)!);
        Set(id, "busy", "1");
        var answer = BusyRequests-- > 0 ? Answer : "ok";
        var reason = Reason;
        if (StandsOn.FirstOrDefault(pair => pair.Value == id && Find(pair.Key)?.Stage == Update.Applied).Key is { } upper)
            (answer, reason) = ("in_use", $"update {upper} stands on it: undo that first");
        _ = Task.Run(async () =>
        {
            for (var n = 1; n <= TriesTaken; n++)
            {
                Set(id, "tries", $"{n}");
                await Task.Delay(60);
            }

            Set(id, "abort_cause", answer);
            Set(id, "reason", reason);
            Set(id, "conflicts", string.Join('\n', Conflicts));
            if (answer == "ok")
            {
                var replaces = text.Trim() == Update.Replacing;
                foreach (var other in replaces ? Updates().Where(update => update.Stage == Update.Applied) : [])
                    Set(other.Id, "stage", Update.Reversed);
                Set(id, "stage", replaces ? Update.Applied : text.Trim());
                Set(id, "pause_ns", "123456");
            }

            Set(id, "busy", "0");
        });
    }

    /// <summary>A core that tells more: how calls are led on, what a livepatch overrides, how the tracer is.</summary>
    public void Tell(string id, string functions, string overridden, string ftrace)
    {
        Set(id, "functions", functions);
        Set(id, "overridden", overridden);
        Set("", "ftrace", ftrace);
    }

    /// <summary>Renames, as a reader must never see half a file: sysfs shows none either.</summary>
    private void Set(string id, string file, string value)
    {
        var path = Path.Combine(UpdatesDirectory, id, file);
        File.WriteAllText(path + ".new", value + "\n");
        File.Move(path + ".new", path, overwrite: true);
    }
}
