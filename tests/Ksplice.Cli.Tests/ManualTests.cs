// SPDX-License-Identifier: MIT
// What an operator reads and what the shell offers is what the command takes.
using System.CommandLine;
using System.Globalization;
using System.Text.RegularExpressions;

namespace Ksplice.Cli.Tests;

public sealed class ManualTests
{
    private static readonly string s_page = Repository.At("src", "Ksplice.Cli", "ksplice.8");

    private static string Manual => File.ReadAllText(s_page);

    [Fact]
    public void The_man_page_names_every_command_option_and_exit_code()
    {
        foreach (var command in CommandLine.Root(() => throw new InvalidOperationException()).Subcommands)
        {
            // From the command's line in the synopsis to the next.
            var synopsis = Manual.Split($".Nm\n.Cm {command.Name}\n")[1].Split(".Nm\n")[0].Split(".Sh")[0];
            Assert.Equal(
                command
                    .Options.Where(option => option is not System.CommandLine.Help.HelpOption)
                    .Select(option => option.Name[1..])
                    .Order(StringComparer.Ordinal),
                Regex.Matches(synopsis, "Fl (-[a-z]+)").Select(match => match.Groups[1].Value).Order(StringComparer.Ordinal)
            );
            Assert.Contains($".It Cm {command.Name}\n", Manual, StringComparison.Ordinal);
        }

        Assert.Equal(
            Enum.GetValues<ExitCode>().Select(code => (int)code),
            Regex
                .Matches(Manual, @"^\.It (\d+)$", RegexOptions.Multiline)
                .Select(match => int.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture))
        );
    }

    [Fact]
    public void The_man_page_is_well_formed()
    {
        Programs.RunOk("mandoc", "-T", "lint", "-W", "warning", s_page);
    }

    [Theory]
    [InlineData("ksplice ap", "apply")]
    [InlineData("ksplice apply --w", "--wait")]
    [InlineData("ksplice completion f", "fish")]
    public void Bash_completes(string line, string expected)
    {
        var script = $$"""
            PATH={{AppContext.BaseDirectory}}:$PATH
            eval "$(ksplice completion bash)"
            COMP_LINE='{{line}}' COMP_POINT={{line.Length}} COMP_WORDS=({{line}}) COMP_CWORD={{line.Split(' ').Length - 1}}
            _ksplice
            echo "${COMPREPLY[*]}"
            """;
        Assert.Equal(expected, Programs.RunOk("bash", "-c", script).Trim());
    }
}
