// Updates that outlast a reboot: what is stored, in which order it comes back, and what is said of those that do not.
using Ksplice.Cli.Commands;
using Spectre.Console;

namespace Ksplice.Cli.Tests;

public sealed class EnableTests : IDisposable
{
    private readonly TestPackage _package = new();
    private readonly StringWriter _out = new(), _error = new();

    private FakeKernel Kernel => field ??= new FakeKernel(_package.Scratch);

    private string Units => Path.Combine(_package.Scratch, "units");

    public void Dispose() => _package.Dispose();

    [Fact]
    public async Task Stores_the_package_and_the_unit_and_applies_nothing()
    {
        Assert.Equal(ExitCode.Ok, await RunAsync("enable", _package.Archive));
        Assert.Equal(ExitCode.Ok, await RunAsync("enable", _package.Folder));
        Assert.Empty(Kernel.Log);
        var stored = Assert.Single(Kernel.Enabled.All);
        Assert.Equal(TestPackage.Id, stored.Id);
        Assert.Equal(
            Directory.GetFiles(_package.Folder, "*", SearchOption.AllDirectories).Select(path => Path.GetRelativePath(_package.Folder, path)).Order(StringComparer.Ordinal),
            Directory.GetFiles(stored.Folder, "*", SearchOption.AllDirectories).Select(path => Path.GetRelativePath(stored.Folder, path)).Order(StringComparer.Ordinal));
        Assert.Contains(" restore\n", File.ReadAllText(Path.Combine(Units, "multi-user.target.wants", "ksplice.service")), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Restores_what_is_for_this_kernel_and_names_the_rest()
    {
        Directory.CreateDirectory(Path.Combine(_package.Scratch, "store", $"000001-{TestPackage.Id}.new"));
        await RunAsync("enable", _package.Folder);
        var other = Path.Combine(_package.Scratch, "store", "000000-89abcdef");
        Directory.CreateDirectory(other);
        Assert.Equal(ExitCode.Damaged, await RunAsync("restore"));
        Assert.Contains($"{other} is damaged", _error.ToString(), StringComparison.Ordinal);
        Assert.Equal("applied", Kernel.Find(TestPackage.Id)!.Stage);

        Directory.Delete(other);
        Assert.Equal(ExitCode.Ok, await RunAsync("restore"));
        Assert.Contains("is applied already", _out.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Leaves_out_what_is_for_another_kernel_and_says_what_does_not_match()
    {
        using TestPackage other = new("6.1.0-1-other");
        await RunAsync("enable", other.Folder);
        Assert.Equal(ExitCode.Ok, await RunAsync("restore"));
        Assert.Contains("is for kernel 6.1.0-1-other: left out", _out.ToString(), StringComparison.Ordinal);
        Assert.Empty(Kernel.Log);

        await RunAsync("disable", TestPackage.Id);
        await RunAsync("enable", _package.Folder);
        Kernel.LoadErrors[TestPackage.Helper] = 8;
        Kernel.Reason = "its code differs";
        Assert.Equal(ExitCode.Refused, await RunAsync("restore"));
        Assert.Contains("its code differs", _error.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Forgets_an_update_and_with_the_last_one_the_unit()
    {
        await RunAsync("enable", _package.Folder);
        Assert.Equal(ExitCode.Ok, await RunAsync("disable", TestPackage.Id));
        Assert.Empty(Kernel.Enabled.All);
        Assert.Empty(Directory.GetFiles(Units, "*", SearchOption.AllDirectories));
        Assert.Equal(ExitCode.Unknown, await RunAsync("disable", TestPackage.Id));
    }

    private async Task<ExitCode> RunAsync(params string[] arguments) =>
        (ExitCode)await CommandLine.RunAsync(arguments, () => new Session(Kernel, Console(_out), Console(_error)));

    private static IAnsiConsole Console(StringWriter writer)
    {
        var console = AnsiConsole.Create(new AnsiConsoleSettings { Ansi = AnsiSupport.No, Out = new AnsiConsoleOutput(writer) });
        console.Profile.Width = 4096;
        return console;
    }
}
