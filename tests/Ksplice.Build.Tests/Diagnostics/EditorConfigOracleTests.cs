// SPDX-License-Identifier: MIT
// The C# compiler reads the same files, and people expect a severity to reach where the compiler lets it reach. Its own reader is the
// oracle.
using System.Reflection;
using CsCheck;
using Ksplice.Build.Diagnostics;
using Microsoft.CodeAnalysis;
using Diagnostic = Ksplice.Build.Diagnostics.Diagnostic;
using DiagnosticDescriptor = Ksplice.Build.Diagnostics.DiagnosticDescriptor;
using DiagnosticSeverity = Ksplice.Build.Diagnostics.DiagnosticSeverity;

namespace Ksplice.Build.Tests.Diagnostics;

public class EditorConfigOracleTests
{
    private const string Folder = "/p/q";
    private const string Key = "dotnet_diagnostic.OWN0001.severity";

    private static readonly DiagnosticDescriptor Rule = new("OWN0001", "A rule", "text", DiagnosticSeverity.Warning) { Category = "House" };

    // The compiler's matchers of names are internal. Null for a name that is no glob.
    private static readonly MethodInfo Compile = typeof(AnalyzerConfig).GetMethod(
        "TryCreateSectionNameMatcher",
        BindingFlags.Static | BindingFlags.NonPublic
    )!;

    private static Predicate<string>? Compiled(string glob)
    {
        object? matcher;
        try
        {
            matcher = Compile.Invoke(null, [glob]);
        }
        catch (TargetInvocationException error) when (error.InnerException is ArgumentException)
        {
            // [z-a]: the compiler fails.
            return null;
        }
        if (matcher is null)
            return null;
        var matches = matcher.GetType().GetMethod("IsMatch")!;
        return path => (bool)matches.Invoke(matcher, [path])!;
    }

    private static readonly Gen<string> Globs = Gen.OneOf<string>(
            Gen.OneOf<string>("a", "b", "/", ".c", "*", "**", "?", "\\", "[", "]", "{", "}", ",", "!", "-", "1", "2", "10"),
            Gen.OneOf<string>("[ab]", "[!a]", "[a-c]", "{a,b}", "{a,{b,c}}", "{1..3}", "{3..-1}", "**/", "/**", "drivers/", "\\*", "\\{"),
            Gen.OneOf<string>("..", "é", "+", "^", "[\\d]", "{9999999999..1}")
        )
        .Array[1, 8]
        .Select(string.Concat);

    private static readonly Gen<string> Paths = Gen.OneOf<string>(
            Gen.OneOf<string>("a", "b", "c", "/", ".c", "1", "2", "-1", "10", "007"),
            Gen.OneOf<string>("*", "?", "[", "]", "{", "}", ",", "!", "\\", "drivers/", "a.c", "..", "é", "+", "^", "x")
        )
        .Array[1, 6]
        .Select(parts => "/" + string.Concat(parts));

    [Fact]
    public void Names_of_sections_match_what_the_compiler_lets_them_match()
    {
        int invalid = 0,
            matched = 0;
        Gen.Select(Globs, Paths.Array[12])
            .Sample(
                (glob, paths) =>
                {
                    var theirs = Compiled(glob);
                    var ours = SectionGlob.Parse(glob);
                    Assert.True((theirs is null) == (ours is null), $"[{glob}] is {(theirs is null ? "no" : "a")} glob");
                    if (theirs is null)
                        Interlocked.Increment(ref invalid);
                    // A path that is the glob itself without its stars matches more often than any other.
                    foreach (string path in paths.Append("/" + glob.Replace("*", "", StringComparison.Ordinal).TrimStart('/')))
                    {
                        bool expected = theirs?.Invoke(path) == true;
                        Assert.True(expected == (ours?.Matches(path) == true), $"[{glob}] and {path}: {expected}");
                        if (expected)
                            Interlocked.Increment(ref matched);
                    }
                },
                iter: 10_000,
                print: sample => $"[{sample.Item1}] {string.Join(' ', sample.Item2)}"
            );
        // The random names were of all kinds.
        Assert.True(invalid > 1000 && matched > 1000, $"{invalid} {matched}");
    }

    [Fact]
    public void Braces_within_braces_end_somewhere()
    {
        Assert.NotNull(SectionGlob.Parse(new string('{', 60) + "a" + new string('}', 60)));
        Assert.Null(SectionGlob.Parse(new string('{', 100_000) + "a" + new string('}', 100_000)));
    }

    private static readonly Gen<string> Lines = Gen.OneOf<string>(
        Gen.OneOf<string>("[*]", "[*.c]", "  [ *.c ]", "[fs/**.c]", "[fs/*]", "[{a,b}.c] # all", "[drivers/**/{a,b}.c]"),
        Gen.OneOf<string>("[a;b]", "[a\\#b.c]", "[a.c", "[/q/fs/a.c]", "[/p/q/fs/a.c]", "[/p/q/fs/\\a.c]", "[a,b]", "[]"),
        Gen.Select(
            Gen.OneOf<string>(Key, "DOTNET_diagnostic.own0001.Severity", $" {Key} "),
            Gen.OneOf<string>("=", " = ", ":", " :  "),
            Gen.OneOf<string>(
                "error",
                "WARNING",
                "suggestion",
                "silent",
                "refactoring",
                "none",
                "default",
                "warn",
                "",
                "error#x",
                "none ; no"
            ),
            (key, separator, value) => key + separator + value
        ),
        Gen.OneOf<string>(
            "# comment",
            "; [*]",
            "",
            "root = true",
            "ROOT=TRUE",
            "no property",
            "a b = c",
            "= x",
            "\u0085[fs/*]",
            "x = [*]",
            "[*]=y"
        )
    );

    private static readonly Gen<string> Texts = Gen.Select(Lines.Array[0, 7], Gen.OneOf<string>("\n", "\r\n", "\r"), (lines, end) =>
        string.Join(end, lines)
    );

    private static readonly string[] Sources =
    [
        "/p/q/a.c",
        "/p/q/fs/a.c",
        "/p/q/fs/x/b.c",
        "/p/q/drivers/a.c",
        "/p/q/drivers/net/b.c",
        "/p/q/a#b.c",
    ];

    private static DiagnosticSeverity? Ours(DiagnosticConfiguration configuration, string source) =>
        configuration.Apply(Diagnostic.Create(Rule, new SourceLocation(source)))?.Severity;

    private static DiagnosticSeverity? Theirs(AnalyzerConfigSet set, string source) =>
        (
            set.GetOptionsForSourcePath(source).TreeOptions.TryGetValue(Rule.Id, out var severity)
            || set.GlobalConfigOptions.TreeOptions.TryGetValue(Rule.Id, out severity)
                ? severity
                : ReportDiagnostic.Default
        ) switch
        {
            ReportDiagnostic.Error => DiagnosticSeverity.Error,
            ReportDiagnostic.Info => DiagnosticSeverity.Info,
            ReportDiagnostic.Suppress or ReportDiagnostic.Hidden => null,
            _ => DiagnosticSeverity.Warning,
        };

    private static void Compare(params (string Path, string Text)[] files)
    {
        var set = AnalyzerConfigSet.Create(files.Select(file => AnalyzerConfig.Parse(file.Text, file.Path)).ToList(), out _);
        // As EditorConfig.Discover: nothing above a root.
        List<EditorConfig> parsed = [.. files.Select(file => EditorConfig.Parse(file.Path, file.Text))];
        int root = parsed.FindLastIndex(file => file is { IsGlobal: false, IsRoot: true });
        var configuration = DiagnosticConfiguration.None with
        {
            Folder = Folder,
            Files = [.. parsed.Where((file, index) => file.IsGlobal || index >= root)],
        };
        foreach (string source in Sources)
        {
            var theirs = Theirs(set, source);
            var ours = Ours(configuration, source);
            Assert.True(theirs == ours, $"{source}: the compiler says '{theirs}', we say '{ours}'");
        }
    }

    private static string Shown(params string[] texts) => string.Join("\n--\n", texts);

    [Fact]
    public void Severities_are_what_the_compiler_takes_them_for() =>
        Gen.Select(Texts, Texts)
            .Sample(
                (outer, inner) => Compare(("/p/.editorconfig", outer), ("/p/q/.editorconfig", inner)),
                iter: 5_000,
                print: texts => Shown(texts.Item1, texts.Item2)
            );

    private static readonly Gen<string> GlobalTexts = Gen.Select(
        Gen.OneOf<string>("is_global = true\n", "is_global=true\nglobal_level = 5\n", "is_global = true\nglobal_level = -1\n"),
        Texts,
        (head, text) => head + text
    );

    [Fact]
    public void Global_files_count_as_the_compiler_counts_them() =>
        Gen.Select(GlobalTexts, Texts, Texts)
            .Sample(
                (global, named, local) => Compare(("/g/global.config", global), ("/p/.globalconfig", named), ("/p/q/.editorconfig", local)),
                iter: 5_000,
                print: texts => Shown(texts.Item1, texts.Item2, texts.Item3)
            );

    [Fact]
    public void Two_global_files_of_one_level_take_each_other_away() =>
        Gen.Select(GlobalTexts, GlobalTexts, GlobalTexts)
            .Sample(
                (one, two, three) => Compare(("/g/1.config", one), ("/g/2.config", two), ("/g/3.config", three)),
                iter: 5_000,
                print: texts => Shown(texts.Item1, texts.Item2, texts.Item3)
            );

    [Theory]
    [InlineData(".editorconfig", "[a{b.c]\nKEY = error", 1, "[a{b.c] is no glob")]
    [InlineData(".editorconfig", "# one\n\n[a,b.c]\nKEY = error", 3, "[a,b.c] is no glob")]
    [InlineData(".editorconfig", "[*.c]\nKEY = warn", 1, "'warn' is no severity")]
    [InlineData(".editorconfig", "KEY = error", 0, "stands above the first section")]
    [InlineData(".globalconfig", "[*.c]\nKEY = error", 1, "[*.c] is none")]
    [InlineData(".globalconfig", "KEY = fatal", 0, "'fatal' is no severity")]
    public void What_the_compiler_passes_over_is_named(string name, string text, int line, string why)
    {
        string path = Path.Combine(Folder, name);
        string[] keys =
        [
            "dotnet_diagnostic.own0001.severity",
            "dotnet_analyzer_diagnostic.category-house.severity",
            "dotnet_analyzer_diagnostic.severity",
        ];
        foreach (string key in keys)
        {
            var file = EditorConfig.Parse(path, text.Replace("KEY", key, StringComparison.Ordinal));
            var (place, about, reason) = Assert.Single((DiagnosticConfiguration.None with { Files = [file] }).Ineffective());
            Assert.Equal((new SourceLocation(path, line), key), (place, about));
            Assert.Contains(why, reason, StringComparison.Ordinal);
        }
        // Sections that say nothing of severities are other tools' business.
        var foreign = EditorConfig.Parse("/p/.editorconfig", "[a{b]\nindent_size = 4");
        Assert.Empty((DiagnosticConfiguration.None with { Files = [foreign] }).Ineffective());
    }

    [Fact]
    public void Global_files_that_contradict_each_other_are_named()
    {
        var configuration = DiagnosticConfiguration.None with
        {
            Files =
            [
                EditorConfig.Parse("/g/1.config", $"is_global = true\n{Key} = error"),
                EditorConfig.Parse("/g/2.config", $"is_global = true\n{Key} = none"),
            ],
        };
        Assert.Equal(["/g/1.config", "/g/2.config"], configuration.Ineffective().Select(found => found.Place.Path));
        Assert.Equal(DiagnosticSeverity.Warning, Ours(configuration, "/p/q/a.c"));
    }

    [Theory]
    [InlineData("[*]", DiagnosticSeverity.Error)]
    [InlineData("[*.c]", DiagnosticSeverity.Warning)]
    public void A_report_without_a_place_in_the_project_follows_sections_about_everything(string section, DiagnosticSeverity severity)
    {
        var configuration = DiagnosticConfiguration.None with
        {
            Folder = Folder,
            Files = [EditorConfig.Parse("/p/q/.editorconfig", $"{section}\n{Key} = error")],
        };
        Assert.Equal(severity, configuration.Apply(Diagnostic.Create(Rule, null))!.Severity);
        Assert.Equal(severity, Ours(configuration, "/usr/src/a.c"));
    }
}
