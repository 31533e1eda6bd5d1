// SPDX-License-Identifier: MIT
// What tests of commands share: a package, a kernel made of files, and what was written.
using Ksplice.Cli.Commands;
using Spectre.Console;

namespace Ksplice.Cli.Tests;

public abstract class CommandFixture : IDisposable
{
    private readonly StringWriter _out = new(),
        _error = new();

    private protected TestPackage Package { get; } = new();

    private protected FakeKernel Kernel => field ??= new FakeKernel(Package.Scratch);

    private protected string Output => _out.ToString();

    private protected string Errors => _error + Kernel.WaiterErrors;

    public void Dispose()
    {
        Package.Dispose();
        GC.SuppressFinalize(this);
    }

    private protected void ForgetOutput() => _out.GetStringBuilder().Clear();

    private protected Task<ExitCode> RunAsync(params string[] arguments) => RunAsync(Kernel, arguments);

    private protected async Task<ExitCode> RunAsync(FakeKernel kernel, params string[] arguments)
    {
        for (var all = arguments; ; all = [.. arguments, .. await kernel.Resumed.Task])
        {
            kernel.Resumed = new();
            // Once the process is the waiter the command that was is never heard of again.
            var command = CommandLine.RunAsync(all, () => new Session(kernel, Console(_out), Console(_error)));
            if (await Task.WhenAny(command, kernel.Resumed.Task) == command)
                return (ExitCode)await command;
        }
    }

    private static IAnsiConsole Console(StringWriter writer)
    {
        var console = AnsiConsole.Create(new AnsiConsoleSettings { Ansi = AnsiSupport.No, Out = new AnsiConsoleOutput(writer) });
        console.Profile.Width = 4096;
        return console;
    }
}
