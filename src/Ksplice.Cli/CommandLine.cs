// SPDX-License-Identifier: MIT
// Arguments to commands, and errors to exit codes.
using System.CommandLine;
using System.Globalization;
using Ksplice.Cli.Commands;
using Ksplice.Cli.Machines;
using Spectre.Console;

namespace Ksplice.Cli;

/// <summary>The command line of ksplice.</summary>
public static class CommandLine
{
    /// <summary>Parses and runs; returns the exit code. A command that never writes through consoles does not make a session.</summary>
    public static Task<int> RunAsync(string[] arguments, Func<Session> session)
    {
        var (own, resumed) = Waiter.Split(arguments, argument => argument);
        if (resumed is not var (state, end))
            return Root(session).Parse(own).InvokeAsync();
        Lazy<Session> goingOn = new(() => session() with { Resumption = Resumption.FromJson(state, end) });
        return Root(() => goingOn.Value).Parse(own).InvokeAsync();
    }

    /// <summary>The grammar.</summary>
    internal static RootCommand Root(Func<Session> session) =>
        new("Changes the running kernel by an update, and changes it back; compares kernel objects, with each other and with a kernel.")
        {
            Check(session),
            Apply(session),
            Undo(session),
            View(session),
            Info(session),
            Status(session),
            Enable(session),
            Disable(session),
            Restore(session),
            Diff(session),
            Match(session),
            Completion(session),
        };

    private static Option<bool> Json() => new("--json") { Description = "Print JSON." };

    private static Option<int> Wait() =>
        new("--wait")
        {
            Description = "Where threads are in the code, go on trying for so many seconds.",
            HelpName = "SECONDS",
            Validators =
            {
                result =>
                {
                    if (
                        result.Tokens is [var token]
                        && (!int.TryParse(token.Value, CultureInfo.InvariantCulture, out var seconds) || seconds < 0)
                    )
                        result.AddError($"--wait takes seconds, and not '{token.Value}'");
                },
            },
        };

    // What begins with a dash is a misspelt option, which an argument would else take.
    private static Argument<T> NoOption<T>(Argument<T> argument)
    {
        argument.Validators.Add(result =>
        {
            foreach (var token in result.Tokens.Where(token => token.Value is ['-', _, ..]))
                result.AddError($"there is no option '{token.Value}'; a file whose name begins so is './{token.Value}'");
        });
        return argument;
    }

    private static Argument<string> Package() =>
        NoOption(new Argument<string>("PATH") { Description = "The update: its folder or its .tar.zst." });

    // The ids that there are; none for who may not see them.
    private static Argument<T> Offer<T>(Argument<T> id, Func<IEnumerable<string>> ids)
    {
        id.CompletionSources.Add(_ =>
        {
            try
            {
                return ids();
            }
            catch (Exception problem) when (problem is IOException or UnauthorizedAccessException)
            {
                return [];
            }
        });
        return NoOption(id);
    }

    private static Command Check(Func<Session> session)
    {
        var path = Package();
        var command = new Command("check", "Match an update against the running kernel, say whether it fits, and change nothing.") { path };
        command.SetAction(
            (parsed, cancellation) =>
                GuardAsync(session, () => ApplyCommand.CheckAsync(session(), parsed.GetRequiredValue(path), cancellation))
        );
        return command;
    }

    private static Command Info(Func<Session> session)
    {
        var path = NoOption(new Argument<string>("FILE") { Description = "The update: its .tar.zst or its folder." });
        var json = Json();
        var command = new Command("info", "Show what a package is: what it changes, for which kernel, and who signed it.") { path, json };
        command.SetAction((parsed, _) => GuardAsync(session, () =>
                {
                    InfoCommand.Run(session(), parsed.GetRequiredValue(path), parsed.GetValue(json));
                    return Task.CompletedTask;
                }));
        return command;
    }

    private static Command Apply(Func<Session> session)
    {
        var path = Package();
        Option<bool> replace = new("--replace") { Description = "In the place of all updates that are applied, in one stop." };
        var wait = Wait();
        var command = new Command("apply", "Match an update against the running kernel, and apply it.") { path, replace, wait };
        command.SetAction(
            (parsed, cancellation) =>
                GuardAsync(session, () =>
                    ApplyCommand.RunAsync(
                        session(),
                        parsed.GetRequiredValue(path),
                        parsed.GetValue(replace),
                        TimeSpan.FromSeconds(parsed.GetValue(wait)),
                        cancellation
                    )
                )
        );
        return command;
    }

    private static Command Undo(Func<Session> session)
    {
        var id = Offer(
            new Argument<string?>("ID") { Description = "The update's id, as 'ksplice view' shows it.", Arity = ArgumentArity.ZeroOrOne },
            () => session().Machine.Updates().Select(update => update.Id)
        );
        var all = new Option<bool>("--all") { Description = "All updates, in an order in which that can be." };
        var wait = Wait();
        var command = new Command("undo", "Take an update off, and unload it if that is safe.") { id, all, wait };
        command.Validators.Add(result =>
        {
            if (result.GetValue(all) == result.GetValue(id) is not null)
                result.AddError("undo takes either an id or --all");
        });
        command.SetAction((parsed, cancellation) => GuardAsync(session, async () =>
                {
                    var time = TimeSpan.FromSeconds(parsed.GetValue(wait));
                    if (parsed.GetValue(id) is not { } one)
                        return await UndoCommand.AllAsync(session(), time, cancellation);
                    await UndoCommand.RunAsync(session(), one, time, cancellation);
                    return (int)ExitCode.Ok;
                }));
        return command;
    }

    private static Command Enable(Func<Session> session)
    {
        var path = Package();
        var command = new Command("enable", "Have an update applied at every boot; this does not apply it now.") { path };
        command.SetAction(
            (parsed, cancellation) =>
                GuardAsync(session, () => EnableCommand.EnableAsync(session(), parsed.GetRequiredValue(path), cancellation))
        );
        return command;
    }

    private static Command Disable(Func<Session> session)
    {
        var id = Offer(new Argument<string>("ID") { Description = "The update's id." }, () =>
            session().Machine.Enabled.All.Select(update => update.Id)
        );
        var command = new Command("disable", "Have an update applied at boot no more; this does not undo it.") { id };
        command.SetAction(
            (parsed, cancellation) =>
                GuardAsync(session, () => EnableCommand.DisableAsync(session(), parsed.GetRequiredValue(id), cancellation))
        );
        return command;
    }

    private static Command Restore(Func<Session> session)
    {
        var command = new Command("restore", "Apply the updates that are enabled and for this kernel: what the boot does.");
        command.SetAction((_, cancellation) => GuardAsync(session, () => EnableCommand.RestoreAsync(session(), cancellation)));
        return command;
    }

    private static Command View(Func<Session> session)
    {
        var id = Offer(
            new Argument<string?>("ID") { Description = "One update; all when left out.", Arity = ArgumentArity.ZeroOrOne },
            () => session().Machine.Updates().Select(update => update.Id)
        );
        var json = Json();
        var command = new Command("view", "Show the updates that are loaded.") { id, json };
        command.SetAction((parsed, _) => GuardAsync(session, () =>
                {
                    ViewCommand.Run(session(), parsed.GetValue(id), parsed.GetValue(json));
                    return Task.CompletedTask;
                }));
        return command;
    }

    private static Command Status(Func<Session> session)
    {
        var json = Json();
        var prometheus = new Option<bool>("--prometheus") { Description = "Print metrics in the text format of Prometheus." };
        var command = new Command("status", "Tell whether every update that is to be applied at boot is in place.") { json, prometheus };
        command.Validators.Add(result =>
        {
            if (result.GetValue(json) && result.GetValue(prometheus))
                result.AddError("status takes one of --json and --prometheus");
        });
        command.SetAction((parsed, _) => GuardAsync(session, () =>
                {
                    var form =
                        parsed.GetValue(json) ? StatusCommand.Form.Json
                        : parsed.GetValue(prometheus) ? StatusCommand.Form.Prometheus
                        : StatusCommand.Form.Text;
                    return Task.FromResult((int)StatusCommand.Run(session(), form));
                }));
        return command;
    }

    private static Command Completion(Func<Session> session)
    {
        var shell = new Argument<string>("SHELL") { Description = "bash, zsh or fish." };
        shell.AcceptOnlyFromAmong(CompletionCommand.Shells);
        var command = new Command("completion", "Print the script that lets a shell complete this command.") { shell };
        command.SetAction((parsed, _) => GuardAsync(session, () =>
                {
                    CompletionCommand.Run(Console.Out, parsed.GetRequiredValue(shell));
                    return Task.CompletedTask;
                }));
        return command;
    }

    private static Command Diff(Func<Session> session)
    {
        var pre = NoOption(new Argument<string>("PRE") { Description = "The object of the unpatched source." });
        var post = NoOption(new Argument<string>("POST") { Description = "The object of the patched source." });
        var json = Json();
        var command = new Command("diff", "Show which functions differ between two kernel objects, and why.") { pre, post, json };
        command.SetAction(
            (parsed, _) =>
                GuardAsync(session, () =>
                    Task.FromResult(
                        DiffCommand.Run(
                            Console.Out,
                            Console.Error,
                            parsed.GetRequiredValue(pre),
                            parsed.GetRequiredValue(post),
                            parsed.GetValue(json)
                        )
                    )
                )
        );
        return command;
    }

    private static Command Match(Func<Session> session)
    {
        var path = NoOption(new Argument<string>("OBJECT") { Description = "The object, built as an update's unpatched objects are." });
        var image = new Option<string>("--image")
        {
            Description = "A vmlinuz, a vmlinux, a module, /proc/kcore or a dump of a machine's memory.",
            Required = true,
        };
        var kernel = new Option<string?>("--kernel")
        {
            Description = "The kernel's image where --image is a module or memory; else the installed one.",
        };
        var json = Json();
        var command = new Command("match", "Show which functions of an object a kernel has, and where others differ.")
        {
            path,
            image,
            kernel,
            json,
        };
        command.SetAction(
            (parsed, _) =>
                GuardAsync(session, () =>
                    Task.FromResult(
                        MatchCommand.Run(
                            Console.Out,
                            Console.Error,
                            parsed.GetRequiredValue(path),
                            parsed.GetRequiredValue(image),
                            parsed.GetValue(kernel),
                            parsed.GetValue(json)
                        )
                    )
                )
        );
        return command;
    }

    private static Task<int> GuardAsync(Func<Session> session, Func<Task> command) => GuardAsync(session, async () =>
        {
            await command();
            return (int)ExitCode.Ok;
        });

    private static async Task<int> GuardAsync(Func<Session> session, Func<Task<int>> command)
    {
        try
        {
            return await command();
        }
        catch (CommandException e)
        {
            session().Tell(e);
            return (int)e.Code;
        }
        catch (OperationCanceledException)
        {
            session().Error.MarkupLine("[red]ksplice: error:[/] interrupted; what the kernel was asked for goes on, see 'ksplice view'");
            return (int)ExitCode.Unexpected;
        }
    }
}
