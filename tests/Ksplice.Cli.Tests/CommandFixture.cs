// What tests of commands share: a package, a kernel made of files, and what was written.
using Ksplice.Cli.Commands;
using Spectre.Console;

namespace Ksplice.Cli.Tests;

public abstract class CommandFixture : IDisposable
{
    private readonly StringWriter _out = new(), _error = new();

    private protected TestPackage Package { get; } = new();

    private protected FakeKernel Kernel => field ??= new FakeKernel(Package.Scratch);

    private protected string Output => _out.ToString();

    private protected string Errors => _error.ToString();

    public void Dispose()
    {
        Package.Dispose();
        GC.SuppressFinalize(this);
    }

    private protected void ForgetOutput() => _out.GetStringBuilder().Clear();

    private protected Task<ExitCode> RunAsync(params string[] arguments) => RunAsync(Kernel, arguments);

    private protected async Task<ExitCode> RunAsync(FakeKernel kernel, params string[] arguments) =>
        (ExitCode)await CommandLine.RunAsync(arguments, () => new Session(kernel, Console(_out), Console(_error)));

    private static IAnsiConsole Console(StringWriter writer)
    {
        var console = AnsiConsole.Create(new AnsiConsoleSettings { Ansi = AnsiSupport.No, Out = new AnsiConsoleOutput(writer) });
        console.Profile.Width = 4096;
        return console;
    }
}
