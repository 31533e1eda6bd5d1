// SPDX-License-Identifier: MIT
// ksplice diff on objects that gcc makes of two versions of a file.
using System.Text.Json;

namespace Ksplice.Cli.Tests;

public sealed class DiffTests : IDisposable
{
    private const string Source =
        "extern int left(int), right(int); int limit = 4; int f(int a) { return left(a) + 3; } int g(int a) { return a * 5; }";

    private readonly string _folder = Directory.CreateTempSubdirectory("ksplice-diff-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private static JsonElement.ArrayEnumerator Replaced(string output) =>
        JsonDocument.Parse(output).RootElement.GetProperty("difference").GetProperty("replaced").EnumerateArray();

    [Fact]
    public void The_same_code_ends_with_3()
    {
        var (code, output, _) = Diff(Source, "/* a line */\n" + Source);
        Assert.Equal((3, "no difference"), (code, output.Trim()));
    }

    [Fact]
    public void A_changed_immediate_is_a_constant_and_both_instructions_are_shown()
    {
        var (code, output, _) = Diff(Source, Source.Replace("+ 3", "+ 7", StringComparison.Ordinal));
        Assert.Equal(0, code);
        Assert.Contains("replaced  f: a constant: f+0x", output, StringComparison.Ordinal);
        Assert.Matches(@"- [0-9a-f]{4}: add \$3,%eax\n +\+ [0-9a-f]{4}: add \$7,%eax", output);
        Assert.DoesNotContain("replaced  g", output, StringComparison.Ordinal);
    }

    [Fact]
    public void A_call_that_goes_elsewhere_is_a_relocation_with_both_targets()
    {
        var (code, output, _) = Diff(Source, Source.Replace("left(a)", "right(a)", StringComparison.Ordinal), "--json");
        Assert.Equal(0, code);
        var replaced = Assert.Single(Replaced(output));
        Assert.Equal("relocation", replaced.GetProperty("reason").GetString());
        Assert.EndsWith("# left", replaced.GetProperty("pre").GetProperty("instruction").GetString(), StringComparison.Ordinal);
        Assert.EndsWith("# right", replaced.GetProperty("post").GetProperty("instruction").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public void Addresses_that_may_outlive_an_undo_are_told_with_what_stays_for_them()
    {
        string handed = Source.Replace(
            "return left(a) + 3;",
            "extern void use(const void *); static int level; use(\"text\"); use(&level); return left(a) + 3;",
            StringComparison.Ordinal
        );
        string output = Diff(Source, handed).Output;
        Assert.Matches("kept +f hands out the address of \"text\": the string or constant stays loaded after undo\n", output);
        Assert.Matches(@"pinned +f hands out the address of level\.\d+: the primary stays loaded after undo\n", output);
        Assert.Equal(
            ["string False", "variable True"],
            JsonDocument
                .Parse(Diff(Source, handed, "--json").Output)
                .RootElement.GetProperty("difference")
                .GetProperty("pins")
                .EnumerateArray()
                .Select(pin => $"{pin.GetProperty("kind")} {pin.GetProperty("pinsPrimary")}")
                .Order(StringComparer.Ordinal)
        );
    }

    [Fact]
    public void Other_instructions_are_text() =>
        Assert.Contains(
            "replaced  g: text:",
            Diff(Source, Source.Replace("a * 5", "a / 5", StringComparison.Ordinal)).Output,
            StringComparison.Ordinal
        );

    [Theory]
    [InlineData("-gdwarf-4")]
    [InlineData("-gdwarf-5")]
    public void Instructions_have_the_lines_that_debug_data_gives(string debug)
    {
        const string Source = "extern int left(int);\nint f(int a)\n{\n    a =\n        left(a) ^ 3;\n    return a * left(1);\n}\n";
        string[] both =
        [
            Compile("pre", Source, debug),
            Compile("post", "\n" + Source.Replace("^ 3", "^ 7", StringComparison.Ordinal), debug),
        ];
        var replaced = Assert.Single(Replaced(ProcessTests.Run(["diff", .. both, "--json"]).Output));
        foreach (var (side, file, line) in ((string, string, int)[])[("pre", "pre.c", 4), ("post", "post.c", 5)])
        {
            var source = replaced.GetProperty(side).GetProperty("source");
            Assert.EndsWith(file, source.GetProperty("path").GetString(), StringComparison.Ordinal);
            Assert.Equal(line, source.GetProperty("line").GetInt32());
        }
    }

    [Fact]
    public void A_patched_statement_has_the_path_of_its_file_and_no_mark()
    {
        string[] both =
        [
            Compile("pre", "int limit = 3;\n", "-g"),
            Compile("post", "struct added;\n# 2 \"/ksplice-patched/0/fs/x.c\" 1\nint limit = 4;\n# 2 \"\" 2\n", "-g"),
        ];
        using StringWriter errors = new();
        Assert.Equal(2, Commands.DiffCommand.Run(TextWriter.Null, errors, both[0], both[1], json: false));
        Assert.StartsWith("fs/x.c(2,5): error KSP3001", errors.ToString(), StringComparison.Ordinal);
    }

    private const string Inlining = """
        extern int left(int), probe(int); extern void __attribute__((cold)) fail(int);
        static inline __attribute__((always_inline)) int inner(int a) { if (a < 0) { fail(3); return -1; } return probe(a) + 3; }
        static inline __attribute__((always_inline)) int outer(int a) { return inner(a) * left(a); }
        int f(int a) { return outer(a) + left(17); }
        """;

    [Theory]
    [InlineData("-gdwarf-4")]
    [InlineData("-gdwarf-5")]
    public void Changed_code_of_an_inlined_function_is_the_reason_and_the_function_is_named(string debug)
    {
        Assert.Contains("replaced  f: an inlined callee, inner: f+0x", Diff("probe(a) + 3", "probe(a) + 9"), StringComparison.Ordinal);
        Assert.Contains("replaced  f: an inlined callee, inner: f+0x", Diff("probe(a) + 3", "probe(a ^ 9) + 3"), StringComparison.Ordinal);
        Assert.Contains("replaced  f: an inlined callee, inner: f.cold+0x", Diff("fail(3)", "fail(4)"), StringComparison.Ordinal);
        // Its own code, though code of inlined functions stands around it.
        Assert.Contains("replaced  f: a constant: f+0x", Diff("left(17)", "left(19)"), StringComparison.Ordinal);
        Assert.Contains(
            "replaced  f: text: f+0x",
            Diff("{ return outer(a)", "{ if (a == 77) return 5; return outer(a)"),
            StringComparison.Ordinal
        );

        string Diff(string old, string now)
        {
            string pre = Compile("pre", Inlining, debug),
                post = Compile("post", Inlining.Replace(old, now, StringComparison.Ordinal), debug);
            return ProcessTests.Run("diff", pre, post).Output;
        }
    }

    [Fact]
    public void A_branch_that_goes_further_is_not_the_difference_but_what_grew_behind_it()
    {
        const string Source =
            "extern int probe(int), left(int); int f(int a) { if (__builtin_expect(probe(a), 1)) { left(1); left(2); } return probe(3); }";
        string output = Diff(Source, Source.Replace("left(2);", "left(2); left(7);", StringComparison.Ordinal)).Output;
        Assert.Matches(@"- [0-9a-f]{4}: mov \$3,%edi\n +\+ [0-9a-f]{4}: mov \$7,%edi", output);
    }

    [Fact]
    public void An_entry_of_a_special_section_is_a_reason()
    {
        const string Source = """
            extern int probe(int);
            int f(int a) {
                asm volatile("1: nop\n .pushsection __ex_table,\"a\"\n .long 1b - .\n .long 1b - .\n .long 3\n .popsection");
                return probe(a); }
            """;
        string output = Diff(Source, Source.Replace(".long 3", ".long 4", StringComparison.Ordinal)).Output;
        Assert.Contains("replaced  f: a special section: __ex_table+0x", output, StringComparison.Ordinal);
    }

    [Fact]
    public void A_jump_into_replaced_code_is_a_reason()
    {
        const string Source = """
            asm(".section .text.f,\"ax\"\n .globl f\n .type f,@function\nf: movl $3, %eax\nmiddle: addl $1, %eax\n ret\n .size f, .-f\n"
                ".section .text.g,\"ax\"\n .globl g\n .type g,@function\ng: movl $4, %eax\n jmp middle\n .size g, .-g\n .text");
            """;
        string output = Diff(Source, Source.Replace("movl $3", "movl $5", StringComparison.Ordinal)).Output;
        Assert.Contains("replaced  g: a jump into replaced code: g+0x6: jumps into f", output, StringComparison.Ordinal);
        Assert.Contains("replaced  f: a constant: f+0x", output, StringComparison.Ordinal);
    }

    [Fact]
    public void A_refused_change_ends_with_2_and_its_diagnostics()
    {
        string changed = Source.Replace("limit = 4", "limit = 5", StringComparison.Ordinal);
        var (code, _, errors) = Diff(Source, changed);
        Assert.Equal(2, code);
        Assert.Contains("KSP3001", errors, StringComparison.Ordinal);
        var json = JsonDocument.Parse(Diff(Source, changed, "--json").Output).RootElement;
        Assert.Equal(
            ("refused", "KSP3001"),
            (json.GetProperty("result").GetString(), json.GetProperty("diagnostics")[0].GetProperty("id").GetString())
        );
    }

    [Fact]
    public void What_is_no_object_ends_with_1_and_says_so()
    {
        string text = Path.Combine(_folder, "text.o");
        File.WriteAllText(text, "not an object, though long enough to hold the header that every ELF file begins with");
        foreach (string path in new[] { text, Path.Combine(_folder, "none.o") })
        {
            var (code, output, errors) = ProcessTests.Run("diff", path, path);
            Assert.Equal((1, ""), (code, output));
            Assert.Contains(path, errors, StringComparison.Ordinal);
        }
    }

    // The first has no types, so the second's were not asked for.
    [Fact]
    public void A_second_object_that_is_not_there_ends_with_1_and_its_name()
    {
        string none = Path.Combine(_folder, "none.o");
        var (code, output, errors) = ProcessTests.Run("diff", Compile("pre", Source), none);
        Assert.Equal((1, ""), (code, output));
        Assert.StartsWith("ksplice: error: " + none, errors, StringComparison.Ordinal);
    }

    [Fact]
    public void A_linked_file_ends_with_1_and_says_what_it_is()
    {
        var (code, _, errors) = ProcessTests.Run("diff", Path.Combine(AppContext.BaseDirectory, "ksplice"), Compile("post", Source));
        Assert.Equal(1, code);
        Assert.Contains("no relocatable object", errors, StringComparison.Ordinal);
    }

    // A length past the end, which a fuzzer seldom makes in the right place.
    [Fact]
    public void Damaged_debug_data_ends_with_1()
    {
        string pre = Compile("pre", Source, "-gdwarf-5"),
            post = Compile("post", Source.Replace("+ 3", "+ 7", StringComparison.Ordinal), "-gdwarf-5");
        string lines = Path.Combine(_folder, "lines");
        File.WriteAllBytes(lines, [0xff, 0xff, 0xff, 0x7f, 5, 0]);
        Programs.RunOk("objcopy", "--remove-section", ".rela.debug_line", "--update-section", ".debug_line=" + lines, post);
        var (code, _, errors) = ProcessTests.Run("diff", pre, post);
        Assert.Equal(1, code);
        Assert.Contains(".debug_line has a unit of 2147483647 bytes", errors, StringComparison.Ordinal);
    }

    [Fact]
    public void A_difference_in_a_cold_part_is_shown_there()
    {
        const string Source =
            "extern void __attribute__((cold)) fail(int); extern int probe(int); "
            + "int f(int a) { if (a < 0) { fail(3); return -1; } return probe(a); }";
        var (code, output, _) = Diff(Source, Source.Replace("fail(3)", "fail(4)", StringComparison.Ordinal));
        Assert.Equal(0, code);
        Assert.Contains("replaced  f: a constant: f.cold+0x", output, StringComparison.Ordinal);
        Assert.Matches(@"mov \$3,%edi\n.*mov \$4,%edi", output);
    }

    private (int ExitCode, string Output, string Errors) Diff(string pre, string post, params string[] options) =>
        ProcessTests.Run(["diff", Compile("pre", pre), Compile("post", post), .. options]);

    private string Compile(string name, string source, params string[] flags)
    {
        string file = Path.Combine(_folder, name + ".c"),
            output = Path.Combine(_folder, name + ".o");
        File.WriteAllText(file, source);
        Programs.RunOk(
            "gcc",
            [
                "-O2",
                "-c",
                "-ffunction-sections",
                "-fdata-sections",
                "-fno-pie",
                "-mcmodel=kernel",
                "-mno-red-zone",
                "-fno-asynchronous-unwind-tables",
                .. flags,
                file,
                "-o",
                output,
            ]
        );
        return output;
    }
}
