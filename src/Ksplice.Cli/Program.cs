// SPDX-License-Identifier: MIT
// The operator's command. Everything it says of an update comes from the kernel's own files in sysfs.
using System.CommandLine;
using Ksplice.Cli;
using Ksplice.Cli.Commands;
using Ksplice.Cli.Machines;
using Spectre.Console;

if (Waiter.Split(args, argument => argument).Resumed is not null)
    Waiter.Rename();
Lazy<Session> session = new(() => new Session(new Machine(), Lines(Console.Out), Lines(Console.Error)));
return await CommandLine.RunAsync(args, () => session.Value);

// A terminal wraps long lines by itself; a log or a pipe wants them whole.
static IAnsiConsole Lines(TextWriter writer)
{
    var console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(writer) });
    console.Profile.Width = 4096;
    return console;
}
