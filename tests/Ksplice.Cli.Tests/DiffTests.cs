// ksplice diff on objects that gcc makes of two versions of a file.
using System.Diagnostics;
using System.Text.Json;

namespace Ksplice.Cli.Tests;

public sealed class DiffTests : IDisposable
{
    private const string Source = "extern int left(int), right(int); int limit = 4; int f(int a) { return left(a) + 3; } int g(int a) { return a * 5; }";

    private readonly string _folder = Directory.CreateTempSubdirectory("ksplice-diff-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

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
        var replaced = Assert.Single(JsonDocument.Parse(output).RootElement.GetProperty("replaced").EnumerateArray());
        Assert.Equal("relocation", replaced.GetProperty("reason").GetString());
        Assert.EndsWith("# left", replaced.GetProperty("pre").GetProperty("instruction").GetString(), StringComparison.Ordinal);
        Assert.EndsWith("# right", replaced.GetProperty("post").GetProperty("instruction").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public void Other_instructions_are_text() =>
        Assert.Contains("replaced  g: text:", Diff(Source, Source.Replace("a * 5", "a / 5", StringComparison.Ordinal)).Output, StringComparison.Ordinal);

    [Theory]
    [InlineData("-gdwarf-4")]
    [InlineData("-gdwarf-5")]
    public void Instructions_have_the_lines_that_debug_data_gives(string debug)
    {
        const string Source = "extern int left(int);\nint f(int a)\n{\n    a =\n        left(a) ^ 3;\n    return a * left(1);\n}\n";
        string[] both = [Compile("pre", Source, debug), Compile("post", "\n" + Source.Replace("^ 3", "^ 7", StringComparison.Ordinal), debug)];
        var replaced = Assert.Single(JsonDocument.Parse(ProcessTests.Run(["diff", .. both, "--json"]).Output).RootElement.GetProperty("replaced").EnumerateArray());
        Assert.EndsWith("pre.c(4)", replaced.GetProperty("pre").GetProperty("source").GetString(), StringComparison.Ordinal);
        Assert.EndsWith("post.c(5)", replaced.GetProperty("post").GetProperty("source").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public void A_refused_change_ends_with_2_and_its_diagnostics()
    {
        string changed = Source.Replace("limit = 4", "limit = 5", StringComparison.Ordinal);
        var (code, _, errors) = Diff(Source, changed);
        Assert.Equal(2, code);
        Assert.Contains("KSP3001", errors, StringComparison.Ordinal);
        var json = JsonDocument.Parse(Diff(Source, changed, "--json").Output).RootElement;
        Assert.Equal(("refused", "KSP3001"), (json.GetProperty("result").GetString(), json.GetProperty("diagnostics")[0].GetProperty("id").GetString()));
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
        string pre = Compile("pre", Source, "-gdwarf-5"), post = Compile("post", Source.Replace("+ 3", "+ 7", StringComparison.Ordinal), "-gdwarf-5");
        string lines = Path.Combine(_folder, "lines");
        File.WriteAllBytes(lines, [0xff, 0xff, 0xff, 0x7f, 5, 0]);
        using (var objcopy = Process.Start("objcopy", ["--remove-section", ".rela.debug_line", "--update-section", ".debug_line=" + lines, post]))
            objcopy.WaitForExit();
        var (code, _, errors) = ProcessTests.Run("diff", pre, post);
        Assert.Equal(1, code);
        Assert.Contains(".debug_line has a unit of 2147483647 bytes", errors, StringComparison.Ordinal);
    }

    [Fact]
    public void A_difference_in_a_cold_part_is_shown_there()
    {
        const string Source = "extern void __attribute__((cold)) fail(int); extern int probe(int); int f(int a) { if (a < 0) { fail(3); return -1; } return probe(a); }";
        var (code, output, _) = Diff(Source, Source.Replace("fail(3)", "fail(4)", StringComparison.Ordinal));
        Assert.Equal(0, code);
        Assert.Contains("replaced  f: a constant: f.cold+0x", output, StringComparison.Ordinal);
        Assert.Matches(@"mov \$3,%edi\n.*mov \$4,%edi", output);
    }

    private (int ExitCode, string Output, string Errors) Diff(string pre, string post, params string[] options) =>
        ProcessTests.Run(["diff", Compile("pre", pre), Compile("post", post), .. options]);

    private string Compile(string name, string source, params string[] flags)
    {
        string file = Path.Combine(_folder, name + ".c"), output = Path.Combine(_folder, name + ".o");
        File.WriteAllText(file, source);
        using var gcc = Process.Start("gcc", ["-O2", "-c", "-ffunction-sections", "-fdata-sections", "-fno-pie", "-mcmodel=kernel", "-mno-red-zone", "-fno-asynchronous-unwind-tables", .. flags, file, "-o", output]);
        gcc.WaitForExit();
        Assert.Equal(0, gcc.ExitCode);
        return output;
    }
}
