// SPDX-License-Identifier: MIT
// undo --all: each update that goes gives those below it another chance; and the hint at what comes back.
namespace Ksplice.Cli.Tests;

public sealed class UndoAllTests : CommandFixture
{
    private const string Upper = "89abcdef";
    private readonly TestPackage _upper = TestPackage.Another(Upper);

    private async Task ApplyBothAsync()
    {
        using (_upper)
        {
            Assert.Equal(ExitCode.Ok, await RunAsync("apply", Package.Folder));
            Assert.Equal(ExitCode.Ok, await RunAsync("apply", _upper.Folder));
        }

        // By its id the lower one comes first.
        Kernel.StandsOn[Upper] = TestPackage.Id;
        ForgetOutput();
    }

    [Fact]
    public async Task Takes_updates_off_from_the_top()
    {
        await ApplyBothAsync();
        Assert.Equal(ExitCode.Refused, await RunAsync("undo", TestPackage.Id));
        Assert.Equal(ExitCode.Ok, await RunAsync("undo", "--all"));
        Assert.Empty(Kernel.Updates());
        Assert.Equal("-ksplice", Kernel.Log[^1]);
        Assert.Equal(
            [$"update {Upper} undone", $"update {TestPackage.Id} undone"],
            Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => line.Split(',')[0])
        );
        Assert.Empty(Directory.GetDirectories(Path.Combine(Package.Scratch, "run", "ksplice")));

        ForgetOutput();
        Assert.Equal(ExitCode.Ok, await RunAsync("undo", "--all"));
        Assert.Equal("no updates are applied\n", Output);
    }

    [Fact]
    public async Task Tells_of_those_that_stay_and_why()
    {
        await ApplyBothAsync();
        Kernel.Answer = "code_busy";
        Kernel.Reason = "threads are in replaced code";
        Assert.Equal(ExitCode.Busy, await RunAsync("undo", "--all"));
        Assert.Contains($"update {Upper} was not undone: code_busy, after 1 try\n", Errors, StringComparison.Ordinal);
        Assert.Contains($"update {TestPackage.Id} was not undone: in_use\n", Errors, StringComparison.Ordinal);
        Assert.Equal(["applied", "applied"], Kernel.Updates().Select(update => update.Stage));
    }

    [Fact]
    public async Task Unloads_what_a_killed_apply_left_too()
    {
        Kernel.Load("ksplice", []);
        Kernel.Load(TestPackage.Helper, []);
        Assert.Equal(ExitCode.Ok, await RunAsync("undo", "--all"));
        Assert.Equal(["-" + TestPackage.Helper, "-ksplice"], Kernel.Log[^2..]);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Says_when_the_next_boot_brings_it_back(bool isEnabled)
    {
        if (isEnabled)
            await RunAsync("enable", Package.Folder);
        await RunAsync("apply", Package.Folder);
        Assert.Equal(ExitCode.Ok, await RunAsync("undo", TestPackage.Id));
        Assert.Equal(isEnabled, Output.Contains($"'ksplice disable {TestPackage.Id}' ends that", StringComparison.Ordinal));
    }
}
