// The operator's command. Everything it says of an update comes from the kernel's own files in sysfs.
using System.CommandLine;
using Ksplice.Cli;
using Ksplice.Cli.Commands;
using Ksplice.Cli.Machines;
using Spectre.Console;

return await CommandLine.RunAsync(args, new Session(new Machine(), Terminal(Console.Out, Console.IsOutputRedirected), Terminal(Console.Error, Console.IsErrorRedirected)));

static IAnsiConsole Terminal(TextWriter writer, bool redirected)
{
    var console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(writer) });
    if (redirected)
        console.Profile.Width = 4096; // a log or a pipe: lines stay whole
    return console;
}
