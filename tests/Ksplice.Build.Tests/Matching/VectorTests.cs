// SPDX-License-Identifier: MIT
// tests/vectors: both interpreters give the recorded results, and each op, kind, role, flag and result is in a vector.
using CliWrap;
using CliWrap.Buffered;
using Ksplice.Build.Matching;
using Ksplice.Build.Matching.Interpreter;

namespace Ksplice.Build.Tests.Matching;

public sealed class VectorTests
{
    private static readonly MatchVector[] All =
    [
        .. Directory.GetFiles(Repository.At("tests", "vectors")).Order().SelectMany(MatchVector.Read),
    ];

    // Members of the format that no vector can be accepted or refused for, and why.
    private static readonly Dictionary<string, string> NotAccepted = [];

    private static readonly Dictionary<string, string> NotRefused = new() { ["MatchReason.NoMemory"] = "only the kernel runs out of it" };

    [Fact]
    public void The_interpreter_of_the_build_gives_the_recorded_results() =>
        Assert.Equal(All.Select(vector => (vector.Name, vector.Result)), All.Select(vector => (vector.Name, vector.Match())));

    [Fact]
    public async Task The_interpreter_of_the_kernel_gives_the_recorded_results()
    {
        var cancellation = TestContext.Current.CancellationToken;
        string c = Repository.At("src", "Ksplice.Kernel"),
            tests = Repository.At("tests", "Ksplice.Build.Tests", "Matching"),
            program = Path.GetTempFileName();
        try
        {
            await Cli.Wrap("gcc")
                .WithArguments([
                    "-g",
                    "-Wall",
                    "-Wextra",
                    "-Werror",
                    "-fsanitize=address,undefined",
                    "-fno-sanitize-recover=all",
                    "-I",
                    Path.Combine(c, "include"),
                    Path.Combine(tests, "vectors.c"),
                    Path.Combine(tests, "shown.c"),
                    .. Directory.GetFiles(Path.Combine(c, "match"), "*.c"),
                    "-o",
                    program,
                ])
                .ExecuteAsync(cancellation);
            var result = await Cli.Wrap(program)
                .WithArguments(Directory.GetFiles(Repository.At("tests", "vectors")))
                .WithValidation(CommandResultValidation.None)
                .ExecuteBufferedAsync(cancellation);
            Assert.Equal($"{All.Length} vectors, 0 with another result\n", result.StandardOutput);
            Assert.Equal((0, ""), (result.ExitCode, result.StandardError));
        }
        finally
        {
            File.Delete(program);
        }
    }

    [Fact]
    public void The_files_are_what_the_command_writes()
    {
        var files = SmallVectors.Files();
        Assert.Equal(files.Keys.Order(), Directory.GetFiles(Repository.At("tests", "vectors")).Select(Path.GetFileName).Order());
        foreach (var (name, text) in files)
            Assert.Equal(text, File.ReadAllText(Repository.At("tests", "vectors", name)));
        Assert.Equal(All.Length, All.Select(vector => vector.Name).Distinct().Count());
    }

    [Fact]
    public void Each_member_of_the_format_is_in_a_vector_that_matches_and_in_one_that_does_not()
    {
        string[] members =
        [
            .. Members<OpCode>(),
            .. Members<FieldKind>(),
            .. Members<BranchKind>(),
            .. Members<BugKind>(),
            .. Members<SymbolKind>(),
            .. Members<SymbolRole>(SymbolRole.None),
            .. Members<SymbolFlags>(SymbolFlags.None),
            .. Members<ObjectKind>(),
            .. Members<ObjectFlags>(ObjectFlags.None),
            .. Members<PlaceFlags>(PlaceFlags.None),
        ];
        Assert.Equal(NotAccepted.Keys, members.Append("MatchReason.Matched").Except(About(true)));
        Assert.Equal(NotRefused.Keys, members.Concat(Members(MatchReason.Matched)).Except(About(false)));
    }

    // What a vector says that it is about stands in its data; and where it is refused at a place, one of those ops is there.
    [Fact]
    public void A_vector_is_about_what_it_says()
    {
        List<string> wrong = [];
        foreach (var vector in All.Where(vector => vector.Reason != MatchReason.BadData))
        {
            var data = CheckedMatchData.CheckData(vector.Data)!;
            HashSet<string> held = [$"MatchReason.{vector.Reason}"];
            foreach (var symbol in data.Symbols)
                held.UnionWith([$"SymbolKind.{symbol.Kind}", $"SymbolRole.{symbol.Role}", .. Flags(symbol.Flags)]);
            foreach (var place in data.Places)
                held.UnionWith(Flags(place.Flags));
            foreach (var entry in data.Objects)
                held.UnionWith([
                    $"ObjectKind.{entry.Kind}",
                    .. Flags(entry.Flags),
                    .. Steps(data, entry).SelectMany(step => TokensOf(step.Op)),
                ]);
            if (!vector.About.All(held.Contains))
                wrong.Add($"{vector.Name}: has no {string.Join(' ', vector.About.Except(held))}");

            var failure = MatchInterpreter.Match(vector.Data, vector.Memory).Failure;
            string[] ops = [.. vector.About.Where(token => token.StartsWith("OpCode.", StringComparison.Ordinal))];
            // Without room the place is that of the redirect, and without an object that of an export.
            if (
                failure is null
                || failure.Address == 0
                || failure.Object.Length == 0
                || failure.Reason == MatchReason.NoRoom
                || ops.Length == 0
            )
                continue;
            var failed = data.Objects.ToArray().Single(entry => data.Name(entry.Name) == failure.Object);
            var there = Steps(data, failed).Where(step => failure.Offset >= step.Start && failure.Offset <= step.End);
            if (!there.SelectMany(step => TokensOf(step.Op)).Intersect(ops).Any())
                wrong.Add($"{vector.Name}: what differs at {failure.Offset} of {failure.Object} is none of {string.Join(' ', ops)}");
        }
        Assert.True(wrong.Count == 0, string.Join('\n', wrong));
    }

    private static HashSet<string> About(bool isMatch) =>
        [.. All.Where(vector => vector.Reason == MatchReason.Matched == isMatch).SelectMany(vector => vector.About)];

    private static IEnumerable<string> Members<T>(params T[] without)
        where T : struct, Enum => Enum.GetValues<T>().Except(without).Select(value => $"{typeof(T).Name}.{value}");

    private static IEnumerable<string> Flags<T>(T flags)
        where T : struct, Enum => Enum.GetValues<T>().Where(flag => flags.HasFlag(flag)).Select(flag => $"{typeof(T).Name}.{flag}");

    private static IEnumerable<string> TokensOf(MatchOp op) =>
        op.Op switch
        {
            OpCode.Field => [$"OpCode.{op.Op}", $"FieldKind.{(FieldKind)op.Kind}"],
            OpCode.Branch or OpCode.Retpoline or OpCode.StaticCall => [$"OpCode.{op.Op}", $"BranchKind.{(BranchKind)op.Kind}"],
            OpCode.Bug => [$"OpCode.{op.Op}", $"BugKind.{(BugKind)op.Kind}"],
            _ => [$"OpCode.{op.Op}"],
        };

    // The ops of an object, those within sites too, and the bytes of the pre object that each is about.
    private static IEnumerable<(MatchOp Op, int Start, int End)> Steps(CheckedMatchData data, MatchObject entry) =>
        Steps(data.OpsOf(entry).ToArray(), 0);

    private static IEnumerable<(MatchOp Op, int Start, int End)> Steps(ArraySegment<MatchOp> ops, int start)
    {
        for (int i = 0; i < ops.Count; i += CheckedMatchData.Extent(ops[i]))
        {
            var op = ops[i];
            int end = start + op.Length;
            yield return (op, start, end);
            var inner = ops.Slice(i + 1, CheckedMatchData.Extent(op) - 1);
            if (op.Op is OpCode.JumpLabel or OpCode.StaticCall)
                yield return (inner[0], start, end);
            else if (op.Op == OpCode.Alternative)
            {
                for (int part = 0; part < inner.Count; part += CheckedMatchData.Extent(inner[part]))
                {
                    yield return (inner[part], start, end);
                    foreach (var step in Steps(inner.Slice(part + 1, (int)inner[part].Value), start))
                        yield return step;
                }
            }
            else
            {
                foreach (var step in Steps(inner, start))
                    yield return step;
            }
            start = end;
        }
    }
}
