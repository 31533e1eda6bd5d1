// SPDX-License-Identifier: MIT
// The folders of the engine are its stages. Each may use those before it and none behind it; docs/design.md shows who uses whom. So do
// the files of the core, of which build/core-layers tells.
using System.Text.RegularExpressions;
using CliWrap;
using CliWrap.Buffered;

namespace Ksplice.Build.Tests.Documentation;

public partial class LayeringTests
{
    // What the stages stand on comes first, then the stages in their order.
    private static readonly string[] Order =
    [
        "Files",
        "Elf",
        "Diagnostics",
        "Processes",
        "Dwarf",
        "Patching",
        "Kernel",
        "Differencing",
        "Targets",
        "Matching",
        "Generation",
        "Analysis",
        "Updates",
        "Reporting",
    ];

    [GeneratedRegex(@"^using (?:static )?Ksplice\.Build\.(\w+)", RegexOptions.Multiline)]
    private static partial Regex Using();

    private static Dictionary<string, string[]> Uses() =>
        Directory
            .GetDirectories(Repository.At("src", "Ksplice.Build"))
            .Where(folder => Directory.GetFiles(folder, "*.cs").Length != 0)
            .ToDictionary(
                folder => Path.GetFileName(folder),
                folder =>
                    Directory
                        .GetFiles(folder, "*.cs", SearchOption.AllDirectories)
                        .SelectMany(file => Using().Matches(File.ReadAllText(file)))
                        .Select(match => match.Groups[1].Value)
                        .Where(used => used != Path.GetFileName(folder))
                        .Distinct()
                        .OrderBy(used => Array.IndexOf(Order, used))
                        .ToArray()
            );

    [Fact]
    public void No_stage_uses_a_later_one()
    {
        var uses = Uses();
        Assert.Equal(Order.Order(StringComparer.Ordinal), uses.Keys.Order(StringComparer.Ordinal));
        Assert.Empty(
            from pair in uses
            from used in pair.Value
            where Array.IndexOf(Order, used) > Array.IndexOf(Order, pair.Key)
            select $"{pair.Key} uses {used}, which comes later"
        );
    }

    [Fact]
    public void The_map_in_the_documentation_is_true()
    {
        var uses = Uses();
        string map = string.Concat(Order.Select(folder => $"    {folder, -14}{string.Join(", ", uses[folder])}".TrimEnd() + "\n"));
        Assert.Contains(map, File.ReadAllText(Repository.At("docs", "design.md")), StringComparison.Ordinal);
    }

    private static Task<BufferedCommandResult> CoreLayersAsync(params string[] arguments) =>
        Cli.Wrap(Repository.At("build", "core-layers"))
            .WithArguments(arguments)
            .WithValidation(CommandResultValidation.None)
            .ExecuteBufferedAsync(TestContext.Current.CancellationToken);

    [Fact]
    public async Task The_files_of_the_core_call_downward_only_and_their_map_is_true()
    {
        var layers = await CoreLayersAsync();
        Assert.Equal((0, ""), (layers.ExitCode, layers.StandardError));
        string map = string.Concat(layers.StandardOutput.TrimEnd().Split('\n').Select(line => $"    {line}\n"));
        string page = await File.ReadAllTextAsync(Repository.At("docs", "design.md"), TestContext.Current.CancellationToken);
        Assert.Contains($"<!-- core layers -->\n\n{map}\n<!-- end of core layers -->", page, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("module.c", "\tksplice_report(NULL, KSPLICE_OK, \"\");\n", "")]
    [InlineData("report.c", "\tksplice_stop(NULL, NULL, false);\n", "report.c uses ksplice_stop of stop.c, which is above it")]
    [InlineData("elsewhere.c", "", "elsewhere.c stands in no layer")]
    [InlineData("core.h", null, "ksplice_nowhere is declared and no file defines it")]
    public async Task A_call_upward_in_the_core_is_told(string file, string? added, string error)
    {
        var folder = Directory.CreateTempSubdirectory("ksplice-layers-");
        try
        {
            foreach (string path in Directory.GetFiles(Repository.At("src", "Ksplice.Kernel", "core")))
                File.Copy(path, Path.Combine(folder.FullName, Path.GetFileName(path)));
            await File.AppendAllTextAsync(
                Path.Combine(folder.FullName, file),
                added is null
                    ? "void ksplice_nowhere(void);\n"
                    : $"static void one(void)\n{{\n{added}}}\nvoid ksplice_added(void)\n{{\n}}\n",
                TestContext.Current.CancellationToken
            );
            var layers = await CoreLayersAsync(folder.FullName);
            // The first is downward in the order of the files.
            if (file == "module.c")
                Assert.Equal((0, ""), (layers.ExitCode, layers.StandardError));
            else
                Assert.Equal((1, $"core-layers: error: {error}\n"), (layers.ExitCode, layers.StandardError));
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }
}
