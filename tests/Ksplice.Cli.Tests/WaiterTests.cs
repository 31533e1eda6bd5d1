// SPDX-License-Identifier: MIT
// K30: what the process is while it waits. The program that runs is the one that the command has in it.
using System.Diagnostics;
using System.Globalization;
using Ksplice.Cli.Machines;

namespace Ksplice.Cli.Tests;

public sealed class WaiterTests : CommandFixture
{
    private const long Never = long.MaxValue;

    private string Directory => Path.Combine(Package.Scratch, "update");

    // A lock that was given back may be waited for: a child that another test starts has its descriptor until it runs its program.
    private IEnumerable<string> Requests => Kernel.Waits.Where(what => what != Wait.ForLock);

    private Task<(string Errors, string[] Lines)> WaitAsync(
        string what,
        long until = Never,
        Action<int>? meanwhile = null,
        string before = "",
        string[]? program = null
    ) =>
        WaiterProcess.RunAsync(
            Package.Scratch,
            new Wait(what, Directory, until, 0),
            program ?? WaiterProcess.Say,
            Waiter.Resume("state"),
            meanwhile,
            before
        );

    private void Set(string file, string value)
    {
        System.IO.Directory.CreateDirectory(Directory);
        File.WriteAllText(Path.Combine(Directory, file + ".new"), value + "\n");
        File.Move(Path.Combine(Directory, file + ".new"), Path.Combine(Directory, file), overwrite: true);
    }

    private string Get(string file) => File.ReadAllText(Path.Combine(Directory, file));

    private static void Send(string signal, int process) => Process.Start("bash", ["-c", $"kill -{signal} {process}"]).WaitForExit();

    private static void AwaitWaiter(int process)
    {
        while (
            File.ReadAllText($"/proc/{process}/comm") != "ksplice-waiter\n"
            || !File.ReadAllText($"/proc/{process}/status").Contains("SigBlk:\t0000000000004", StringComparison.Ordinal)
        )
            Thread.Sleep(10);
    }

    [Fact]
    public async Task Asks_waits_and_tells_each_try()
    {
        Set("stage", "preparing");
        Set("busy", "1");
        Set("tries", "1");
        Set("max_tries", "5");
        var (errors, lines) = await WaitAsync("applied", meanwhile: process =>
        {
            AwaitWaiter(process);
            foreach (var tries in (string[])["2", "3"])
            {
                Set("tries", tries);
                Thread.Sleep(300);
            }

            Set("busy", "0");
        });
        Assert.Equal(["--resumed", "state", "done"], lines);
        Assert.StartsWith("applied", Get("stage"), StringComparison.Ordinal);
        Assert.Equal("try 2 of 5: the code was in use\ntry 3 of 5: the code was in use\n", errors);
    }

    [Theory]
    [InlineData("INT")]
    [InlineData("TERM")]
    public async Task Ends_with_a_word_when_it_is_interrupted(string signal)
    {
        Set("busy", "1");
        var (_, lines) = await WaitAsync("idle", meanwhile: process =>
        {
            AwaitWaiter(process);
            Send(signal, process);
        });
        Assert.Equal("interrupted", lines[^1]);
    }

    [Fact]
    public async Task Does_not_hear_what_the_command_was_told_to_ignore()
    {
        Set("busy", "1");
        var (_, lines) = await WaitAsync("idle", before: "trap '' INT;", meanwhile: process =>
        {
            AwaitWaiter(process);
            Send("INT", process);
            Thread.Sleep(200);
            Set("busy", "0");
        });
        Assert.Equal("done", lines[^1]);
    }

    [Fact]
    public async Task Gives_up_in_time_and_hands_back_error_numbers()
    {
        Set("busy", "1");
        Assert.Equal("late", (await WaitAsync("idle", Stopwatch.GetTimestamp() + 200_000_000)).Lines[^1]);
        Assert.Equal("2", (await WaitAsync("applied")).Lines[^1]);
        System.IO.Directory.Delete(Directory, recursive: true);
        Assert.Equal("2", (await WaitAsync("idle")).Lines[^1]);
    }

    [Fact]
    public async Task Becomes_the_same_process_with_the_same_surroundings_again()
    {
        Set("busy", "1");
        var waiter = 0;
        var (_, lines) = await WaitAsync(
            "idle",
            before: "cd /usr; export WORD=kept;",
            meanwhile: process =>
            {
                waiter = process;
                AwaitWaiter(process);
                Set("busy", "0");
            },
            program:
            [
                "/bin/bash",
                "-c",
                "echo $$; pwd; echo $WORD; [ -e /proc/self/fd/9 ] || echo closed; "
                    + "while read -r a b; do [ $a != SigBlk: ] || echo $b; done </proc/$$/status; echo ${!#}",
                "bash",
            ]
        );
        Assert.Equal([waiter.ToString(CultureInfo.InvariantCulture), "/usr", "kept", "closed", "0000000000000000", "done"], lines);
    }

    // What an update may replace is met only in passing.
    [Fact]
    public async Task Never_sleeps()
    {
        Set("busy", "1");
        List<string> states = [];
        await WaitAsync("idle", meanwhile: process =>
        {
            AwaitWaiter(process);
            for (var n = 0; n < 50; n++, Thread.Sleep(5))
                states.Add(File.ReadAllText($"/proc/{process}/stat").Split(") ")[1][..1]);
            Set("busy", "0");
        });
        Assert.Equal("R", Assert.Single(states.Distinct()));
    }

    [Fact]
    public async Task Every_request_is_waited_for_by_it()
    {
        await RunAsync("apply", Package.Folder);
        await RunAsync("undo", TestPackage.Id);
        await RunAsync("enable", Package.Folder);
        Assert.Equal(ExitCode.Ok, await RunAsync("restore"));
        Assert.Equal(["applied", "reversed", "applied"], Requests);
        Assert.DoesNotContain("warning", Errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_command_goes_on_without_the_package()
    {
        Kernel.WhileWaiting = _ => System.IO.Directory.Delete(Package.Folder, recursive: true);
        Assert.Equal(ExitCode.Ok, await RunAsync("apply", Package.Folder));
        Assert.Contains("1 function replaced", Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Restore_goes_on_behind_the_update_that_it_was_at()
    {
        await RunAsync("enable", Package.Folder);
        foreach (var other in (string[])["000000-89abcdef", "000002-89abcdef"])
            System.IO.Directory.CreateDirectory(Path.Combine(Package.Scratch, "store", other));
        Kernel.Answer = "probed";
        Kernel.WhileWaiting = _ => System.IO.Directory.CreateDirectory(Path.Combine(Package.Scratch, "store", "000003-89abcdef"));
        Assert.Equal(ExitCode.Damaged, await RunAsync("restore"));
        string[] errors = [.. Errors.Split('\n').Where(line => line.Contains("error:", StringComparison.Ordinal))];
        Assert.Equal(4, errors.Length);
        Assert.Contains("000000-89abcdef is damaged", errors[0], StringComparison.Ordinal);
        Assert.Contains("was not applied: probed", errors[1], StringComparison.Ordinal);
        Assert.Contains("000002-89abcdef is damaged", errors[2], StringComparison.Ordinal);
        Assert.Equal(["applied"], Requests);
    }

    [Fact]
    public async Task Restore_ends_with_the_worst_from_before_the_wait()
    {
        System.IO.Directory.CreateDirectory(Path.Combine(Package.Scratch, "store", "000000-89abcdef"));
        await RunAsync("enable", Package.Folder);
        Assert.Equal(ExitCode.Damaged, await RunAsync("restore"));
        Assert.Equal("applied", Kernel.Find(TestPackage.Id)!.Stage);
    }

    [Fact]
    public async Task Waits_for_the_lock_in_it_and_keeps_the_lock()
    {
        using var other = LockFile.Open(Kernel.LockPath);
        Assert.True(other.TryTake());
        var locked = false;
        Kernel.WhileWaiting = process =>
        {
            if (Kernel.Waits is ["lock"])
            {
                AwaitWaiter(process);
                other.Dispose();
                return;
            }

            using var third = LockFile.Open(Kernel.LockPath);
            locked = !third.TryTake();
        };
        Assert.Equal(ExitCode.Ok, await RunAsync("apply", Package.Folder));
        Assert.Equal(["lock", "applied"], Kernel.Waits);
        Assert.True(locked);
        Assert.Contains("waiting for another ksplice command to end", Errors, StringComparison.Ordinal);
        using var after = LockFile.Open(Kernel.LockPath);
        Assert.True(SpinWait.SpinUntil(after.TryTake, TimeSpan.FromSeconds(30)));
    }

    [Fact]
    public async Task An_interrupted_command_says_what_becomes_of_the_request()
    {
        Kernel.TriesTaken = 20;
        Kernel.WhileWaiting = process =>
        {
            AwaitWaiter(process);
            Send("INT", process);
        };
        Assert.Equal(ExitCode.Unexpected, await RunAsync("apply", Package.Folder));
        Assert.Contains("interrupted; what the kernel was asked for goes on", Errors, StringComparison.Ordinal);
        Assert.True(Kernel.Find(TestPackage.Id)!.IsBusy);
        while (Kernel.Find(TestPackage.Id)!.IsBusy)
            await Task.Delay(20, TestContext.Current.CancellationToken);
        Assert.DoesNotContain(Kernel.Log, line => line.StartsWith('-'));
    }

    [Theory]
    [InlineData("code_busy", ExitCode.Busy)]
    [InlineData("ok", ExitCode.Ok)]
    public async Task Waits_itself_where_it_cannot_be_and_says_so(string answer, ExitCode expected)
    {
        (Kernel.ExecError, Kernel.Answer) = (13, answer);
        Assert.Equal(expected, await RunAsync("apply", Package.Folder));
        Assert.Contains("warning: the command waits as it is, and may be in the update's way itself: ", Errors, StringComparison.Ordinal);
        Assert.Contains("(errno 13)", Errors, StringComparison.Ordinal);
        Assert.Empty(Requests);
    }
}
