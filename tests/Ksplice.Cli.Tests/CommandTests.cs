// SPDX-License-Identifier: MIT
// apply, undo and view against a kernel made of files: what is loaded in which order, what is taken out again, and
// which exit code and words the operator gets.
using System.Text.Json;

namespace Ksplice.Cli.Tests;

public sealed class CommandTests : CommandFixture
{
    [Fact]
    public async Task Apply_loads_core_helper_and_primary_and_asks_for_applied()
    {
        Assert.Equal(ExitCode.Ok, await RunAsync("apply", Package.Folder));
        Assert.Equal(["+ksplice", "+" + TestPackage.Helper, "+" + TestPackage.Primary], Kernel.Log);
        Assert.Equal(TestPackage.Bytes(TestPackage.Primary + ".ko"), Kernel.Images[TestPackage.Primary]);
        Assert.Equal("applied", Kernel.Find(TestPackage.Id)!.Stage);
        Assert.Contains("1 function replaced, the machine stood still for 0.123 ms", Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Apply_takes_an_archive()
    {
        Assert.Equal(ExitCode.Ok, await RunAsync("apply", Package.Archive));
        Assert.Equal(TestPackage.Bytes("ksplice.ko"), Kernel.Images["ksplice"]);
    }

    [Fact]
    public async Task Apply_of_what_is_applied_changes_nothing_and_ends_well()
    {
        Assert.Equal(ExitCode.Ok, await RunAsync("apply", Package.Folder));
        var before = Kernel.Log.Count;
        Assert.Equal(ExitCode.Ok, await RunAsync("apply", Package.Folder));
        Assert.Equal(before, Kernel.Log.Count);
        Assert.Contains($"update {TestPackage.Id} is applied already: unchanged", Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Apply_needs_root()
    {
        Assert.Equal(ExitCode.NotRoot, await RunAsync(new FakeKernel(Package.Scratch) { Root = false }, "apply", Package.Folder));
        Assert.Contains("must be root", Errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Apply_refuses_aPackage_for_another_kernel()
    {
        using var other = new TestPackage("6.1.0-1-other");
        Assert.Equal(ExitCode.WrongKernel, await RunAsync("apply", other.Folder));
        Assert.Empty(Kernel.Log);
        Assert.Contains("is for kernel 6.1.0-1-other, and 6.1.0-0-test is running", Errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Apply_of_code_in_use_names_who_and_takes_the_modules_out()
    {
        Kernel.Answer = "code_busy";
        Kernel.Reason = "threads are in replaced code";
        Kernel.Conflicts = ["cat 123 devkmsg_read 0xffffffff81100200"];
        Kernel.TriesTaken = 5;
        Assert.Equal(ExitCode.Busy, await RunAsync("apply", Package.Folder));
        Assert.Equal(["-" + TestPackage.Primary, "-" + TestPackage.Helper, "-ksplice"], Kernel.Log[^3..]);
        Assert.Contains("code_busy, after 5 tries", Errors, StringComparison.Ordinal);
        Assert.Matches(@"cat 123 devkmsg_read \w+\s+schedule\+0x5/0x90\s+devkmsg_read\+0x1/0x2", Errors);
        Assert.Contains("try 3 of 5", Errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Apply_of_a_helper_that_does_not_match_tells_why_and_takes_the_core_out()
    {
        Kernel.LoadErrors[TestPackage.Helper] = 8;
        Kernel.Reason = "show_smap at 0xffffffff81234560 differs at +0x12";
        Assert.Equal(ExitCode.Refused, await RunAsync("apply", Package.Folder));
        Assert.Equal(["+ksplice", "+" + TestPackage.Helper, "-ksplice"], Kernel.Log);
        Assert.Contains("no_match", Errors, StringComparison.Ordinal);
        Assert.Contains(Kernel.Reason, Errors, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("base_missing")]
    [InlineData("other_build")]
    [InlineData("overflow")]
    [InlineData("a_cause_of_later_cores")]
    public async Task Every_cause_is_told_with_its_reason(string cause)
    {
        Kernel.Reason = "the update stands on update 89abcdef, which is not applied";
        Kernel.Answer = Kernel.MatchAnswer = cause;
        Assert.Equal(ExitCode.Refused, await RunAsync("apply", Package.Folder));
        Kernel.LoadErrors[TestPackage.Helper] = 22;
        Assert.Equal(ExitCode.Refused, await RunAsync("apply", Package.Folder));
        Assert.Equal(2, Errors.Split($"update {TestPackage.Id} was not applied: {cause}\n  {Kernel.Reason}\n").Length - 1);
        Assert.Equal("-ksplice", Kernel.Log[^1]);
    }

    [Fact]
    public async Task Apply_of_a_module_that_is_not_loaded_says_which_to_load()
    {
        Kernel.LoadErrors[TestPackage.Helper] = 2;
        Kernel.MatchAnswer = "target_not_loaded";
        Assert.Equal(ExitCode.Refused, await RunAsync("apply", Package.Folder));
        Assert.Equal(["+ksplice", "+" + TestPackage.Helper, "-ksplice"], Kernel.Log);
        Assert.Contains("it changes module vmlinux, which is not loaded", Errors, StringComparison.Ordinal);
        Assert.Contains("modprobe vmlinux", Errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Undo_unloads_the_modules_of_every_target_last_loaded_first()
    {
        await RunAsync("apply", Package.Folder);
        string second = $"ksplice_{TestPackage.Id}_1_",
            eleventh = $"ksplice_{TestPackage.Id}_10_";
        foreach (
            var module in (string[])
                [second + "helper", eleventh + "helper", second + "primary", eleventh + "primary", $"ksplice_{TestPackage.Id}0_0_helper"]
        )
            Directory.CreateDirectory(Path.Combine(Package.Scratch, "sys", "module", module));
        Assert.Equal(ExitCode.Ok, await RunAsync("undo", TestPackage.Id));
        Assert.Equal(
            [
                $"-{eleventh}primary",
                $"-{second}primary",
                "-" + TestPackage.Primary,
                $"-{eleventh}helper",
                $"-{second}helper",
                "-" + TestPackage.Helper,
            ],
            Kernel.Log.Where(line => line.StartsWith("-ksplice_", StringComparison.Ordinal))
        );
    }

    [Fact]
    public async Task Apply_tells_when_the_kernel_wants_signed_modules()
    {
        Kernel.LoadErrors["ksplice"] = 129;
        Assert.Equal(ExitCode.Refused, await RunAsync("apply", Package.Folder));
        Assert.Contains("signed modules only", Errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Apply_leaves_a_core_that_was_there_before()
    {
        Kernel.Load("ksplice", []);
        Kernel.Answer = "call_failed";
        Assert.Equal(ExitCode.Refused, await RunAsync("apply", Package.Folder));
        Assert.DoesNotContain("-ksplice", Kernel.Log);
    }

    [Fact]
    public async Task Undo_unloads_primary_helper_and_the_idle_core()
    {
        await RunAsync("apply", Package.Folder);
        Assert.Equal(ExitCode.Ok, await RunAsync("undo", TestPackage.Id));
        Assert.Equal(["-" + TestPackage.Primary, "-" + TestPackage.Helper, "-ksplice"], Kernel.Log[^3..]);
        Assert.Contains("undone", Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Undo_leaves_a_primary_that_the_kernel_holds()
    {
        await RunAsync("apply", Package.Folder);
        Kernel.UnloadErrors[TestPackage.Primary] = 11;
        Assert.Equal(ExitCode.Ok, await RunAsync("undo", TestPackage.Id));
        Assert.Equal("-" + TestPackage.Primary, Kernel.Log[^1]);
        Assert.Equal("reversed", Kernel.Find(TestPackage.Id)!.Stage);
        Assert.Contains($"{TestPackage.Primary} stays loaded: the kernel may still hold addresses in it", Output, StringComparison.Ordinal);
        Assert.Contains($"{TestPackage.Helper} stays loaded with it", Output, StringComparison.Ordinal);
        Assert.Equal(ExitCode.WrongStage, await RunAsync("undo", TestPackage.Id));
    }

    // K20: the strings come before the primaries, which bind to them, and stay.
    [Fact]
    public async Task The_data_module_is_loaded_before_the_primaries_stays_and_is_taken_up()
    {
        using var package = TestPackage.WithData("d1");
        Assert.Equal(ExitCode.Ok, await RunAsync("apply", package.Folder));
        Assert.Equal(["+ksplice", "+" + TestPackage.Helper, "+" + TestPackage.Data, "+" + TestPackage.Primary], Kernel.Log);
        Kernel.UnloadErrors[TestPackage.Data] = 11;
        Assert.Equal(ExitCode.Ok, await RunAsync("undo", TestPackage.Id));
        Assert.Equal(["-" + TestPackage.Primary, "-" + TestPackage.Data, "-" + TestPackage.Helper, "-ksplice"], Kernel.Log[4..]);
        Assert.Contains($"{TestPackage.Data} stays loaded: the kernel may still hold addresses in it", Output, StringComparison.Ordinal);
        Assert.Equal(ExitCode.Ok, await RunAsync("apply", package.Folder));
        Assert.Equal(["+ksplice", "+" + TestPackage.Helper, "+" + TestPackage.Primary], Kernel.Log[8..]);
    }

    [Fact]
    public async Task A_data_module_of_other_content_is_refused_and_left()
    {
        using var package = TestPackage.WithData("d2");
        Kernel.Load(TestPackage.Data, []);
        Assert.Equal(ExitCode.Refused, await RunAsync("apply", package.Folder));
        Assert.Contains($"{TestPackage.Data} is loaded, and its content is not this package's", Errors, StringComparison.Ordinal);
        Assert.Equal(["+" + TestPackage.Data, "+ksplice", "+" + TestPackage.Helper, "-" + TestPackage.Helper, "-ksplice"], Kernel.Log);
    }

    [Fact]
    public async Task A_failed_apply_takes_its_own_data_module_out_and_no_other()
    {
        using var package = TestPackage.WithData("d1");
        Kernel.Answer = "call_failed";
        Assert.Equal(ExitCode.Refused, await RunAsync("apply", package.Folder));
        Assert.Equal(["-" + TestPackage.Primary, "-" + TestPackage.Data, "-" + TestPackage.Helper, "-ksplice"], Kernel.Log[4..]);
        Kernel.Load(TestPackage.Data, []);
        Assert.Equal(ExitCode.Refused, await RunAsync("apply", package.Folder));
        Assert.Equal(["-" + TestPackage.Primary, "-" + TestPackage.Helper, "-ksplice"], Kernel.Log[^3..]);
    }

    // An apply that was killed between data module and primary: nothing was applied, and undo takes out what is left.
    [Fact]
    public async Task Undo_unloads_a_data_module_of_which_nothing_was_applied()
    {
        Kernel.Load("ksplice", []);
        Kernel.Load(TestPackage.Helper, []);
        Kernel.Load(TestPackage.Data, []);
        Assert.Equal(ExitCode.Ok, await RunAsync("undo", TestPackage.Id));
        Assert.Equal(["-" + TestPackage.Data, "-" + TestPackage.Helper, "-ksplice"], Kernel.Log[3..]);
    }

    [Fact]
    public async Task Undo_unloads_the_other_targets_where_one_stays()
    {
        using TestPackage package = new(TestPackage.Release, "loop", "zram");
        await RunAsync("apply", package.Folder);
        Kernel.UnloadErrors[$"ksplice_{TestPackage.Id}_1_primary"] = 11;
        Kernel.UnloadErrors[$"ksplice_{TestPackage.Id}_2_helper"] = 16;
        var before = Kernel.Log.Count;
        Assert.Equal(ExitCode.Ok, await RunAsync("undo", TestPackage.Id));
        Assert.Equal(
            ["2_primary", "1_primary", "0_primary", "2_helper", "0_helper"],
            Kernel.Log.Skip(before).Select(entry => entry[^(entry[^1] == 'y' ? 9 : 8)..])
        );
        Assert.Equal(
            [$"ksplice_{TestPackage.Id}_1_helper", $"ksplice_{TestPackage.Id}_2_helper", $"ksplice_{TestPackage.Id}_1_primary"],
            Kernel.ModulesOf(TestPackage.Id)
        );
        Assert.Contains("2_helper stays loaded: ", Output, StringComparison.Ordinal);
        Assert.DoesNotContain("2_helper stays loaded: the kernel", Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Apply_takes_up_an_update_that_was_undone_and_stayed_loaded()
    {
        await RunAsync("apply", Package.Folder);
        Kernel.UnloadErrors[TestPackage.Primary] = 11;
        await RunAsync("undo", TestPackage.Id);
        var before = Kernel.Log.Count;
        Assert.Equal(ExitCode.Ok, await RunAsync("apply", Package.Folder));
        Assert.Equal(before, Kernel.Log.Count);
        Assert.Equal("applied", Kernel.Find(TestPackage.Id)!.Stage);
    }

    [Fact]
    public async Task Undo_unloads_what_a_killed_apply_left()
    {
        Kernel.Load("ksplice", []);
        Kernel.Load(TestPackage.Helper, []);
        Assert.Equal(ExitCode.Ok, await RunAsync("undo", TestPackage.Id));
        Assert.Equal(["-" + TestPackage.Helper, "-ksplice"], Kernel.Log[^2..]);
        Assert.Contains("was loaded and not applied", Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Undo_of_code_in_use_leaves_the_update_applied()
    {
        await RunAsync("apply", Package.Folder);
        Kernel.Answer = "code_busy";
        Assert.Equal(ExitCode.Busy, await RunAsync("undo", TestPackage.Id));
        Assert.Equal("applied", Kernel.Find(TestPackage.Id)!.Stage);
        Assert.DoesNotContain("-" + TestPackage.Primary, Kernel.Log);
    }

    [Fact]
    public async Task Undo_of_an_unknown_update_names_those_that_are_loaded()
    {
        await RunAsync("apply", Package.Folder);
        Assert.Equal(ExitCode.Unknown, await RunAsync("undo", "ffffffff"));
        Assert.Contains("loaded: " + TestPackage.Id, Errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task View_lists_shows_and_prints_json()
    {
        Assert.Equal(ExitCode.Ok, await RunAsync("view"));
        Assert.Contains("no updates are loaded", Output, StringComparison.Ordinal);
        await RunAsync("apply", Package.Folder);

        ForgetOutput();
        Assert.Equal(ExitCode.Ok, await RunAsync("view", TestPackage.Id));
        Assert.Contains("name:      test\nsignature: none\n", Output, StringComparison.Ordinal);
        Assert.Contains("function:  show_smap 0xffffffff81234560 -> 0xffffffffc0001000 (vmlinux)", Output, StringComparison.Ordinal);

        ForgetOutput();
        Assert.Equal(ExitCode.Ok, await RunAsync("view", "--json"));
        var update = JsonDocument.Parse(Output).RootElement[0];
        Assert.Equal(TestPackage.Id, update.GetProperty("id").GetString());
        Assert.Equal("applied", update.GetProperty("stage").GetString());
        Assert.Equal(123456, update.GetProperty("pauseNanoseconds").GetInt64());
        Assert.Equal("show_smap", update.GetProperty("functions")[0].GetProperty("name").GetString());
        Assert.Equal("vmlinux", update.GetProperty("functions")[0].GetProperty("target").GetString());
        Assert.Equal("ready", update.GetProperty("targets")[0].GetProperty("state").GetString());
        Assert.Equal(ExitCode.Unknown, await RunAsync("view", "ffffffff"));
    }

    [Theory]
    [InlineData("apply")]
    [InlineData("undo")]
    [InlineData("apply", "a", "b")]
    [InlineData("destroy", "everything")]
    [InlineData("view", "--jsn")]
    [InlineData("info", "--josn")]
    [InlineData("apply", "--wait=5")]
    [InlineData("undo", "--all", "0123abcd")]
    [InlineData("undo", "--al")]
    [InlineData("status", "--json", "--prometheus")]
    public async Task Wrong_arguments_change_nothing(params string[] arguments)
    {
        Assert.Equal(ExitCode.Usage, await RunAsync(arguments));
        Assert.Empty(Kernel.Log);
    }

    [Fact]
    public async Task Waits_as_long_as_it_is_told_for_code_that_is_in_use()
    {
        Kernel.Answer = "code_busy";
        Kernel.Conflicts = ["cat 123 devkmsg_read 0xffffffff81100200"];
        Kernel.BusyRequests = 2;
        Assert.Equal(ExitCode.Ok, await RunAsync("apply", Package.Folder, "--wait", "60"));
        Assert.Equal(2, Errors.Split("in use by cat 123 devkmsg_read").Length - 1);
        Assert.Equal("applied", Kernel.Find(TestPackage.Id)!.Stage);
        Assert.DoesNotContain(Kernel.Log, line => line.StartsWith('-'));

        Kernel.BusyRequests = int.MaxValue;
        Assert.Equal(ExitCode.Busy, await RunAsync("undo", TestPackage.Id, "--wait", "1"));
        Assert.Equal("applied", Kernel.Find(TestPackage.Id)!.Stage);
    }

    [Fact]
    public async Task Waits_for_what_the_kernel_is_at_work_on()
    {
        await RunAsync("apply", Package.Folder);
        Kernel.BusyFor(TestPackage.Id, TimeSpan.FromMilliseconds(300));
        Assert.Equal(ExitCode.WrongStage, await RunAsync("undo", TestPackage.Id));
        Assert.Equal(ExitCode.Ok, await RunAsync("undo", TestPackage.Id, "--wait", "60"));
        Assert.Contains("waiting for the kernel", Errors, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("-1")]
    [InlineData("soon")]
    public async Task Waits_for_seconds_only(string wait) =>
        Assert.Equal(ExitCode.Usage, await RunAsync("apply", Package.Folder, "--wait", wait));
}
