// SPDX-License-Identifier: MIT
using Ksplice.Build.Analysis;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Ksplice.Build.Tests.Differencing;

namespace Ksplice.Build.Tests.Diagnostics;

public class ConfigurationTests
{
    private static readonly DiagnosticDescriptor Warning = new("OWN0001", "A rule", "text", DiagnosticSeverity.Warning)
    {
        Category = "House",
    };

    [Theory]
    [InlineData("*", "fs/proc/a.c", true)]
    [InlineData("*.c", "fs/proc/a.c", true)]
    [InlineData("*.h", "fs/proc/a.c", false)]
    [InlineData("fs/*.c", "fs/a.c", true)]
    [InlineData("fs/*.c", "fs/proc/a.c", false)]
    [InlineData("fs/**.c", "fs/proc/a.c", true)]
    [InlineData("fs/**/a.c", "fs/a.c", false)]
    [InlineData("fs/**/a.c", "fs/x/y/a.c", true)]
    [InlineData("/fs/a.c", "fs/a.c", true)]
    [InlineData("fs/a.c", "x/fs/a.c", false)]
    [InlineData("{fs,mm}/*.{c,h}", "mm/a.h", true)]
    [InlineData("{fs,mm}/*.{c,h}", "net/a.h", false)]
    [InlineData("{fs,{mm,net}/core}/a.c", "net/core/a.c", true)]
    [InlineData("a[0-9].c", "a5.c", true)]
    [InlineData("a[!0-9].c", "a5.c", false)]
    [InlineData("a{1..12}.c", "a11.c", true)]
    [InlineData("a{1..12}.c", "a13.c", false)]
    [InlineData("a?.c", "ab.c", true)]
    [InlineData("a?.c", "a/.c", true)]
    [InlineData("drivers/**/{a,b}.c", "drivers/net/b.c", true)]
    [InlineData("drivers/**/{a,b}.c", "drivers/a.c", false)]
    [InlineData("{single}.c", "single.c", true)]
    [InlineData(@"a\*.c", "a*.c", true)]
    [InlineData(@"a\*.c", "ab.c", false)]
    [InlineData("a+(b).c", "a+(b).c", true)]
    public void Globs_mean_what_the_compiler_takes_them_for(string glob, string path, bool matches) =>
        Assert.Equal(matches, new EditorConfigSection(glob, 1, new Dictionary<string, string>()).Matches(path));

    private static DiagnosticConfiguration Files(params (string Path, string Text)[] files) =>
        DiagnosticConfiguration.None with
        {
            Folder = "/p",
            Files = [.. files.Select(file => EditorConfig.Parse(file.Path, file.Text))],
        };

    private static DiagnosticSeverity? Severity(DiagnosticConfiguration configuration, string path, DiagnosticDescriptor? rule = null) =>
        configuration.Apply(Diagnostic.Create(rule ?? Warning, new SourceLocation(path), "a", "b", "c", ""))?.Severity;

    [Fact]
    public void Nearer_files_later_sections_and_single_rules_count_more()
    {
        const string all =
            "[*]\ndotnet_diagnostic.OWN0001.severity = error # why\n[fs/**]\ndotnet_diagnostic.own0001.severity = suggestion\n";
        Assert.Equal(DiagnosticSeverity.Error, Severity(Files(("/p/.editorconfig", all)), "mm/a.c"));
        Assert.Equal(DiagnosticSeverity.Info, Severity(Files(("/p/.editorconfig", all)), "fs/proc/a.c"));
        Assert.Null(
            Severity(Files(("/.editorconfig", all), ("/p/.editorconfig", "[a.c]\ndotnet_diagnostic.OWN0001.severity = none")), "fs/a.c")
        );
        Assert.Equal(
            DiagnosticSeverity.Error,
            Severity(Files(("/p/.globalconfig", "dotnet_diagnostic.OWN0001.severity = error")), "fs/a.c")
        );
        Assert.Equal(
            DiagnosticSeverity.Warning,
            Severity(
                Files(
                    ("/p/.editorconfig", "[*.c]\ndotnet_diagnostic.OWN0001.severity = warning"),
                    ("/p/.globalconfig", "dotnet_diagnostic.OWN0001.severity = error")
                ),
                "fs/a.c"
            )
        );
        Assert.Equal(
            DiagnosticSeverity.Error,
            Severity(
                Files(
                    (
                        "/p/.editorconfig",
                        "[*]\ndotnet_analyzer_diagnostic.category-House.severity = error\ndotnet_analyzer_diagnostic.severity = none"
                    )
                ),
                "a.c"
            )
        );
        Assert.Equal(
            DiagnosticSeverity.Warning,
            Severity(
                Files(("/p/.editorconfig", "dotnet_diagnostic.OWN0001.severity = none\n[*.h]\ndotnet_diagnostic.OWN0001.severity = none")),
                "a.c"
            )
        );
    }

    [Fact]
    public void Properties_of_the_project_count_as_for_the_compiler()
    {
        var strict = DiagnosticConfiguration.None with { TreatWarningsAsErrors = true };
        Assert.Equal(DiagnosticSeverity.Error, Severity(strict, "a.c"));
        Assert.Equal(
            DiagnosticSeverity.Warning,
            Severity(strict with { WarningsNotAsErrors = DiagnosticConfiguration.Ids("CS1; OWN0001") }, "a.c")
        );
        Assert.Equal(
            DiagnosticSeverity.Error,
            Severity(DiagnosticConfiguration.None with { WarningsAsErrors = DiagnosticConfiguration.Ids("own0001,CS2") }, "a.c")
        );
        Assert.Null(Severity(strict with { NoWarn = DiagnosticConfiguration.Ids("OWN0001") }, "a.c"));
    }

    [Fact]
    public void An_error_stays_one()
    {
        var lowered = Files(
            ("/p/.editorconfig", "[*]\ndotnet_diagnostic.KSP5001.severity = none\ndotnet_analyzer_diagnostic.severity = none")
        ) with
        {
            NoWarn = DiagnosticConfiguration.Ids("KSP5001"),
        };
        Assert.Equal(DiagnosticSeverity.Error, Severity(lowered, "a.c", TypeDiagnostics.SizeChanged));
        Assert.Equal(
            [("/p/.editorconfig", "KSP5001", "none")],
            lowered.Powerless([TypeDiagnostics.SizeChanged, TypeDiagnostics.MemberChanged])
        );
    }

    private const string Hooks = "#include \"HOOKS\"\n";

    private static string WithMacro(string source) =>
        Hooks.Replace("HOOKS", Repository.At("src", "Ksplice.Kernel", "include", "ksplice", "hooks.h"), StringComparison.Ordinal) + source;

    [Fact]
    public void An_error_is_acknowledged_in_the_patch_for_one_object_only()
    {
        const string pre = "int a = 1; int b = 1; int f(void) { return a + b; }";
        string post = WithMacro(
            "int a = 2; int b = 1; int f(void) { return a + b; } ksplice_acknowledge(KSP3001, \"a\", \"the hook sets it\");"
        );
        var accepted = CPair.Compare(pre, post);
        Assert.NotNull(accepted.Diff);
        var report = Assert.Single(accepted.Diagnostics);
        Assert.Equal(("KSP3001", DiagnosticSeverity.Info), (report.Id, report.Severity));
        Assert.EndsWith("(acknowledged: the hook sets it)", report.Message, StringComparison.Ordinal);
        Assert.Equal([new Acknowledgement("KSP3001", "a", "the hook sets it", CPair.Unit)], accepted.Diagnostics.UsedAcknowledgements);
        CPair
            .Compare(pre, post.Replace("int b = 1", "int b = 3", StringComparison.Ordinal))
            .RefusedBy(DifferencingDiagnostics.ChangedData, "'b'");
    }

    [Fact]
    public void What_cannot_be_made_cannot_be_acknowledged()
    {
        DiagnosticBag bag = [];
        bag.Acknowledge(new Acknowledgement("KSP3006", "x", "because", "p"));
        Assert.Equal(
            DiagnosticSeverity.Error,
            bag.Add(Diagnostic.Create(DifferencingDiagnostics.UnknownSection, null, 1, 2, 3) with { Object = "x" }).Severity
        );
        Assert.Single(bag.UnusedAcknowledgements);
    }
}
