// SPDX-License-Identifier: MIT
// ksplice completion: the scripts by which shells ask this command what could follow. What could is System.CommandLine's to say.
namespace Ksplice.Cli.Commands;

/// <summary>Prints a shell's script.</summary>
public static class CompletionCommand
{
    /// <summary>The shells that there is a script for.</summary>
    public static readonly string[] Shells = ["bash", "zsh", "fish"];

    public static void Run(TextWriter output, string shell)
    {
        using StreamReader script = new(typeof(CompletionCommand).Assembly.GetManifestResourceStream("ksplice." + shell)!);
        output.Write(script.ReadToEnd());
    }
}
