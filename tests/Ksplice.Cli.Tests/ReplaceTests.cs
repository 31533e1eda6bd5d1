// SPDX-License-Identifier: MIT
// apply --replace: what the command asks for, says and takes out; and a core of another version.
namespace Ksplice.Cli.Tests;

public sealed class ReplaceTests : CommandFixture
{
    private const string Next = "89abcdef";

    private static string NextModule(string part) => $"ksplice_{Next}_0_{part}";

    private async Task<ExitCode> ReplaceAsync()
    {
        using var next = TestPackage.Another(Next);
        return await RunAsync("apply", "--replace", next.Folder);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Takes_the_place_of_what_is_applied_and_takes_that_out(bool waitsByItself)
    {
        Kernel.ExecError = waitsByItself ? 1 : 0;
        await RunAsync("apply", Package.Folder);
        ForgetOutput();
        Kernel.Waits.Clear();
        Kernel.Log.Clear();
        Assert.Equal(ExitCode.Ok, await ReplaceAsync());
        Assert.Equal(
            [$"+{NextModule("helper")} replace=1", "+" + NextModule("primary"), "-" + TestPackage.Primary, "-" + TestPackage.Helper],
            Kernel.Log
        );
        Assert.Equal(waitsByItself ? [] : ["replacing"], Kernel.Waits);
        Assert.StartsWith(
            $"update {Next} applied in the place of {TestPackage.Id}: 1 function replaced, the machine stood still",
            Output,
            StringComparison.Ordinal
        );
        Assert.Equal([Next], Kernel.Updates().Select(update => update.Id));
        Assert.Null(Kernel.Applied.Find(TestPackage.Id));
        Assert.NotNull(Kernel.Applied.Find(Next));
        Assert.DoesNotContain("enabled", Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_refusal_leaves_what_is_applied_and_takes_its_own_modules_out()
    {
        await RunAsync("apply", Package.Folder);
        Kernel.Answer = "code_busy";
        Kernel.Reason = "threads are in the code";
        Assert.Equal(ExitCode.Busy, await ReplaceAsync());
        Assert.Equal(["-" + NextModule("primary"), "-" + NextModule("helper")], Kernel.Log[^2..]);
        var left = Assert.Single(Kernel.Updates());
        Assert.Equal((TestPackage.Id, "applied"), (left.Id, left.Stage));
        Assert.NotNull(Kernel.Applied.Find(TestPackage.Id));
    }

    [Fact]
    public async Task Without_anything_applied_it_is_a_mere_apply()
    {
        Assert.Equal(ExitCode.Ok, await ReplaceAsync());
        Assert.StartsWith($"update {Next} applied: 1 function replaced", Output, StringComparison.Ordinal);
        ForgetOutput();
        Assert.Equal(ExitCode.Ok, await ReplaceAsync());
        Assert.Equal($"update {Next} is applied already: unchanged\n", Output);
    }

    [Fact]
    public async Task One_that_is_applied_beside_others_does_not_take_their_place()
    {
        await RunAsync("apply", Package.Folder);
        using (var next = TestPackage.Another(Next))
            await RunAsync("apply", next.Folder);
        Kernel.Log.Clear();
        Assert.Equal(ExitCode.WrongStage, await ReplaceAsync());
        Assert.Contains($"ksplice undo {TestPackage.Id}\n", Errors, StringComparison.Ordinal);
        Assert.Empty(Kernel.Log);
    }

    [Fact]
    public async Task Says_that_the_next_boot_brings_the_old_one_back()
    {
        await RunAsync("enable", Package.Folder);
        await RunAsync("apply", Package.Folder);
        Assert.Equal(ExitCode.Ok, await ReplaceAsync());
        Assert.Contains($"update {TestPackage.Id} is still enabled", Output, StringComparison.Ordinal);
        Assert.Contains($"'ksplice disable {TestPackage.Id}' ends that", Output, StringComparison.Ordinal);
        ForgetOutput();
        Assert.Equal(ExitCode.Refused, await RunAsync("status"));
    }

    // The package's core is no module here, and so of an old version.
    [Theory]
    [InlineData("apply")]
    [InlineData("check")]
    [InlineData("replace")]
    public async Task A_core_of_another_version_is_told_with_the_way_out_before_anything_is_loaded(string command)
    {
        await RunAsync("apply", Package.Folder);
        Kernel.CoreVersion = "7";
        Kernel.Log.Clear();
        using var next = TestPackage.Another(Next);
        Assert.Equal(ExitCode.Refused, await (command == "replace" ? ReplaceAsync() : RunAsync(command, next.Folder)));
        Assert.Contains(
            "its modules are for a core of an old version, and the one that is loaded is of version 7\n",
            Errors,
            StringComparison.Ordinal
        );
        Assert.Contains("'ksplice undo --all' takes off what is applied, and that core with it", Errors, StringComparison.Ordinal);
        Assert.Empty(Kernel.Log);
        Assert.Equal("applied", Assert.Single(Kernel.Updates()).Stage);
    }
}
