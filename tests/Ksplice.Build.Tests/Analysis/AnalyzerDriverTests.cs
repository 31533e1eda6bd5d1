// SPDX-License-Identifier: MIT
using Ksplice.Build.Analysis;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;

namespace Ksplice.Build.Tests.Analysis;

public class AnalyzerDriverTests
{
    private static readonly DiagnosticDescriptor Rule = new("OWN0001", "A rule", "{0}", DiagnosticSeverity.Warning);

    private sealed class Acting(Action<AnalysisContext> register) : UpdateAnalyzer
    {
        public override IReadOnlyList<DiagnosticDescriptor> SupportedDiagnostics => [Rule];

        public override void Initialize(AnalysisContext context) => register(context);
    }

    private static AnalyzedUpdate Update() =>
        PatchedKernel.OfC(
            "int a = 1; int gone; static int f(int x) { return probe(x); } int g(int x) { return f(x) + gone; } struct s { int x; } t;",
            "int a = 2; int fresh; static int f(int x) { return probe(x) + 1; } int g(int x) { return f(x) + fresh + other(); } "
                + "int h(void) { return 3; } struct s { int x, y; } t;"
        );

    private static List<string> Messages(IReadOnlyList<Diagnostic> found) =>
        [.. found.Select(diagnostic => $"{diagnostic.Id} {diagnostic.Message}")];

    [Fact]
    public void Every_action_sees_its_subjects()
    {
        Acting analyzer = new(context =>
        {
            context.RegisterPatchAction(action => action.Report(Rule, null, "patch"));
            context.RegisterUnitAction(action => action.Report(Rule, null, "unit " + action.Subject.Source));
            context.RegisterFunctionChangeAction(action =>
                action.Report(
                    Rule,
                    null,
                    $"function {action.Subject.Name} {action.Subject.Pre is not null} {action.Subject.Post is not null}"
                )
            );
            context.RegisterDataChangeAction(action =>
                action.Report(Rule, null, $"data {action.Subject.Name} {action.Subject.Pre is not null} {action.Subject.Post is not null}")
            );
            context.RegisterTypeChangeAction(action => action.Report(Rule, null, $"type {action.Subject.Name} {action.Subject.Rule.Id}"));
            context.RegisterSymbolAction(action => action.Report(Rule, null, $"symbol {action.Subject.Name} {action.Subject.IsNew}"));
            context.RegisterUpdateAction(action => action.Report(Rule, null, "update"));
        });
        Assert.Equal(
            [
                "data a True True",
                "data fresh False True",
                "data gone True False",
                "function g True True",
                "function h False True",
                "symbol other True",
                "symbol probe False",
                "type struct s KSP5001",
                "type struct s KSP5002",
                "unit drivers/test/unit.c",
                "update",
            ],
            AnalyzerDriver
                .Run([analyzer], Update(), TestContext.Current.CancellationToken)
                .Select(diagnostic => diagnostic.Message)
                .Where(message => message is not ("function f True True" or "data t True True"))
        );
    }

    [Fact]
    public void What_is_found_does_not_depend_on_the_order_of_running()
    {
        Acting slow = new(context =>
            context.RegisterFunctionChangeAction(action =>
            {
                Thread.Sleep(Random.Shared.Next(5));
                for (int i = 0; i < 20; i++)
                    action.Report(Rule, new SourceLocation("b.c", 20 - i), $"{action.Subject.Name} {i}");
            })
        );
        var first = Messages(AnalyzerDriver.Run([slow, new TypeAnalyzer()], Update(), TestContext.Current.CancellationToken));
        Assert.True(first.Count > 40);
        for (int i = 0; i < 5; i++)
            Assert.Equal(first, Messages(AnalyzerDriver.Run([new TypeAnalyzer(), slow], Update(), TestContext.Current.CancellationToken)));
    }

    [Fact]
    public void An_analyzer_that_throws_is_an_error_and_the_others_go_on()
    {
        Acting early = new(_ => throw new InvalidOperationException("at once")),
            late = new(context => context.RegisterUnitAction(_ => throw new ArgumentException("later")));
        Acting good = new(context => context.RegisterUpdateAction(action => action.Report(Rule, null, "fine")));
        Acting foreign = new(context =>
            context.RegisterUpdateAction(action => action.Report(TypeDiagnostics.SizeChanged, null, 1, 2, 3, 4))
        );
        var found = AnalyzerDriver.Run([early, late, good, foreign], Update(), TestContext.Current.CancellationToken);
        Assert.Equal(["KSP5070", "KSP5070", "KSP5070", "OWN0001"], found.Select(diagnostic => diagnostic.Id));
        Assert.All(found.Take(3), diagnostic => Assert.Equal(DiagnosticSeverity.Error, diagnostic.Severity));
        foreach (string words in (string[])["at once", "later", "KSP5001, which is not among"])
            Assert.Contains(found, diagnostic => diagnostic.Message.Contains(words, StringComparison.Ordinal));
    }

    [Fact]
    public void Cancellation_is_no_failure_of_an_analyzer()
    {
        using CancellationTokenSource source = new();
        Acting analyzer = new(context => context.RegisterUnitAction(action => source.Cancel()));
        Acting second = new(context => context.RegisterUpdateAction(action => action.Cancellation.ThrowIfCancellationRequested()));
        Assert.ThrowsAny<OperationCanceledException>(() =>
        {
            AnalyzerDriver.Run([analyzer], Update(), source.Token);
            AnalyzerDriver.Run([second], Update(), source.Token);
        });
    }

    [Theory]
    [InlineData(
        "struct ops { int (*open)(int); int mode; const char *name; };",
        "struct ops x = { one, 3, \"old\" };",
        "struct ops x = { two, 4, \"new\" };",
        ".open changes from one to two",
        ".mode changes from 3 to 4",
        ".name changes from \"old\" to \"new\""
    )]
    [InlineData("enum e { A, B, C };", "enum e x = A;", "enum e x = C;", "its value changes from A to C")]
    [InlineData(
        "struct i { int a:3, b:5; char c[6]; };",
        "struct i x[3] = { [2] = { 1, 2, \"ab\" } };",
        "struct i x[3] = { [2] = { 1, 3, \"abc\" } };",
        "[2].b changes from 2 to 3",
        "[2].c changes from \"ab\" to \"abc\""
    )]
    [InlineData("", "int x = 1; int *y = &x + 1;", "int x = -1; int *y = &x + 1;", "its value changes from 1 to -1")]
    [InlineData(
        "",
        "static int x; void *more(void) { return &x; }",
        "static int x = 7; void *more(void) { return &x; }",
        "its value changes from 0 to 7"
    )]
    public void Changed_data_is_told_by_member(string types, string before, string after, params string[] expected)
    {
        const string functions =
            "static int one(int a) { return a; } static int two(int a) { return a + 1; } void both(void) { use(one); use(two); } ";
        var unit = PatchedKernel.OfC($"{types} {functions} {before}", $"{types} {functions} {after}").Units[0];
        var change = unit.Changes.Data.Single(data => data.Name.StartsWith('x'));
        Assert.Equal(expected, DataDifference.Find(unit, change).Select(member => member.ToString()));
        DiagnosticBag bag = [];
        Assert.Null(UpdateJudgement.Compare(unit, bag));
        var refusal = Assert.Single(bag, diagnostic => diagnostic.Severity == DiagnosticSeverity.Error);
        Assert.Contains(expected[0], refusal.Message, StringComparison.Ordinal);
    }
}
