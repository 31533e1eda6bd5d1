// SPDX-License-Identifier: MIT
using System.Text;
using CsCheck;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Patching;

namespace Ksplice.Build.Tests.Patching;

public class PatchApplierTests
{
    private const string Header = "--- a/x.c\n+++ b/x.c\n";

    private static (string? Text, DiagnosticBag Bag) Apply(string? file, params string[] patches)
    {
        var bag = new DiagnosticBag();
        var result = PatchApplier.Apply(
            patches.Select(Patches.Parse).ToList(),
            path => path == "x.c" && file is not null ? Encoding.Latin1.GetBytes(file) : null,
            bag
        );
        Assert.Equal(bag.HasErrors, result is null);
        return (result is [{ After: { } after }] ? string.Concat(after.Lines.Select(line => line.Text)) : null, bag);
    }

    private static string Lines(params ReadOnlySpan<string> lines) => string.Concat(lines.ToArray().Select(line => line + "\n"));

    [Fact]
    public void Applies_several_patches_of_one_file_in_order_and_keeps_every_byte()
    {
        var (text, bag) = Apply(
            "a\r\n\u00e4\u00ff\n\tb \nlast",
            Header + "@@ -1,2 +1,3 @@\n a\r\n+new\n \u00e4\u00ff\n",
            Header + "@@ -3,3 +3,3 @@\n \u00e4\u00ff\n-\tb \n+\tc\n last\n\\ No newline at end of file\n"
        );
        Assert.Empty(bag);
        Assert.Equal("a\r\nnew\n\u00e4\u00ff\n\tc\nlast", text);
    }

    [Fact]
    public void Applies_a_file_that_stands_twice_in_a_patch_one_after_the_other()
    {
        var (text, _) = Apply("a\n", Header + "@@ -1 +1 @@\n-a\n+b\n" + Header + "@@ -1 +1 @@\n-b\n+c\n");
        Assert.Equal("c\n", text);
    }

    [Fact]
    public void Reports_the_offset_at_which_a_hunk_fits()
    {
        var (text, bag) = Apply(
            Lines("x", "y", "a", "b", "c", "d"),
            Header + "@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n d\n".Replace("-1,3 +1,3", "-2,4 +2,4", StringComparison.Ordinal)
        );
        Assert.Equal(Lines("x", "y", "a", "B", "c", "d"), text);
        var report = Assert.Single(bag);
        Assert.Equal(("KSP1019", DiagnosticSeverity.Info, 3), (report.Id, report.Severity, report.Location!.Line));
        Assert.Contains("+1", report.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Refuses_a_hunk_that_fits_in_two_places_but_not_at_its_line()
    {
        var (_, bag) = Apply(Lines("p", "{", "x", "}", "q", "{", "x", "}", "z"), Header + "@@ -4,3 +4,3 @@\n {\n-x\n+y\n }\n");
        var error = Patches.TheError(bag);
        Assert.Equal("KSP1017", error.Id);
        Assert.Contains("2, 6", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Takes_the_stated_line_though_the_context_fits_elsewhere()
    {
        var (text, bag) = Apply(Lines("p", "{", "x", "}", "q", "{", "x", "}", "z"), Header + "@@ -6,3 +6,3 @@\n {\n-x\n+y\n }\n");
        Assert.Empty(bag);
        Assert.Equal(Lines("p", "{", "x", "}", "q", "{", "y", "}", "z"), text);
    }

    [Fact]
    public void Says_what_was_found_and_what_was_wanted_where_a_hunk_does_not_apply()
    {
        var (_, bag) = Apply(Lines("a", "b", "c!", "d"), "Hello\n" + Header + "@@ -1,4 +1,4 @@\n a\n-b\n+B\n c\n d\n");
        var error = Patches.TheError(bag);
        Assert.Equal(("KSP1016", 4), (error.Id, error.Location!.Line));
        Assert.Contains("line 3 is 'c!', the patch has 'c'", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Refuses_a_hunk_made_at_the_end_of_the_file_in_its_middle()
    {
        var (_, bag) = Apply(Lines("a", "b", "c"), Header + "@@ -1,1 +1,2 @@\n a\n+x\n");
        Assert.Equal("KSP1016", Patches.TheError(bag).Id);
    }

    [Fact]
    public void Puts_a_hunk_without_context_only_at_its_line()
    {
        Assert.Equal(Lines("a", "x", "b"), Apply(Lines("a", "b"), Header + "@@ -1,0 +2 @@\n+x\n").Text);
        Assert.Equal("KSP1016", Patches.TheError(Apply(Lines("q", "a", "b"), Header + "@@ -1 +1 @@\n-a\n+x\n").Bag).Id);
    }

    [Fact]
    public void Says_that_a_patch_is_in_the_source_already()
    {
        var (_, bag) = Apply(Lines("x", "a", "B", "c"), Header + "@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n");
        Assert.Equal("KSP1018", Patches.TheError(bag).Id);
    }

    [Theory]
    [InlineData(null, "--- a/x.c\n+++ b/x.c\n@@ -1 +1 @@\n-a\n+b\n", "KSP1022")]
    [InlineData(null, "--- a/x.c\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n", "KSP1018")]
    [InlineData("other\n", "--- /dev/null\n+++ b/x.c\n@@ -0,0 +1 @@\n+a\n", "KSP1023")]
    [InlineData("a\n", "--- /dev/null\n+++ b/x.c\n@@ -0,0 +1 @@\n+a\n", "KSP1018")]
    [InlineData("a\nb\n", "--- a/x.c\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n", "KSP1024")]
    [InlineData("b\n", "--- a/x.c\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n", "KSP1016")]
    [InlineData("a\nb", "--- a/x.c\n+++ b/x.c\n@@ -2,0 +3 @@\n+c\n", "KSP1016")]
    public void Refuses_files_that_are_not_as_the_patch_says(string? file, string patch, string id) =>
        Assert.Equal(id, Patches.TheError(Apply(file, patch).Bag).Id);

    [Fact]
    public void New_and_deleted_files_come_and_go()
    {
        Assert.Equal("a\nb", Apply(null, "--- /dev/null\n+++ b/x.c\n@@ -0,0 +1,2 @@\n+a\n+b\n\\ No newline at end of file\n").Text);
        var bag = new DiagnosticBag();
        var result = PatchApplier.Apply([Patches.Parse("--- a/x.c\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n")], _ => "a\n"u8.ToArray(), bag);
        Assert.Equal(("x.c", null), (Assert.Single(result!).Path, result![0].After));
    }

    [Fact]
    public void A_patch_that_is_taken_back_by_the_next_changes_nothing()
    {
        var bag = new DiagnosticBag();
        var result = PatchApplier.Apply(
            [Patches.Parse(Header + "@@ -1 +1 @@\n-a\n+b\n"), Patches.Parse(Header + "@@ -1 +1 @@\n-b\n+a\n")],
            _ => "a\n"u8.ToArray(),
            bag
        );
        Assert.Empty(result!);
    }

    private static readonly Gen<string> s_line = Gen.OneOf(
        new[] { "{", "}", "", "\tx = 1;", "-- a", "++ b", "@@ -1 +1 @@", "\\ x", " ", "\u00e9\r", "f();", "g();" }
            .Select(Gen.Const)
            .ToArray()
    );

    private static readonly Gen<(string Old, string New)> s_edit =
        from lines in s_line.List[0, 40]
        from edits in Gen.Select(Gen.Int[0, 40], Gen.Int[0, 3], s_line.List[0, 3]).List[1, 4]
        from oldEnd in Gen.Bool
        from newEnd in Gen.Bool
        select (Text(lines, oldEnd), Text(Edited(lines, edits), newEnd));

    private static string Text(List<string> lines, bool newlineAtEnd)
    {
        var text = string.Join('\n', lines);
        return newlineAtEnd && lines.Count != 0 ? text + "\n" : text;
    }

    private static List<string> Edited(List<string> lines, List<(int, int, List<string>)> edits)
    {
        var result = lines.ToList();
        foreach (var (at, remove, insert) in edits)
        {
            var start = Math.Min(at, result.Count);
            result.RemoveRange(start, Math.Min(remove, result.Count - start));
            result.InsertRange(start, insert);
        }
        return result;
    }

    [Theory]
    [InlineData("diff", 3)]
    [InlineData("diff", 1)]
    [InlineData("diff", 0)]
    [InlineData("git", 3)]
    public void Makes_of_any_file_what_the_other_file_is(string tool, int context)
    {
        using var tree = new TestTree();
        s_edit
            .Where(edit => edit.Old != edit.New && edit.Old.Length != 0 && edit.New.Length != 0)
            .Sample(
                edit =>
                {
                    tree.Write("a/x.c", edit.Old);
                    tree.Write("b/x.c", edit.New);
                    var (_, diff) =
                        tool == "diff"
                            ? tree.Run("diff", "-a", $"-U{context}", "a/x.c", "b/x.c")
                            : tree.Run("git", "diff", "--no-index", "--text", "a/x.c", "b/x.c");
                    if (tool == "git")
                        diff = diff.Replace("a/a/x.c", "a/x.c", StringComparison.Ordinal)
                            .Replace("b/b/x.c", "b/x.c", StringComparison.Ordinal);
                    var (text, bag) = Apply(edit.Old, diff);
                    return text == edit.New && !bag.HasErrors;
                },
                iter: 150,
                threads: 1
            );
    }

    /// <summary>
    /// The file was changed elsewhere before: whatever is applied must be what git apply makes of it, too. (What git apply
    /// places by nearness may be refused here.)
    /// </summary>
    [Fact]
    public void Agrees_with_git_apply_on_files_that_have_moved_on()
    {
        using var tree = new TestTree();
        var applied = 0;
        Gen.Select(s_edit, Gen.Select(Gen.Int[0, 10], Gen.Int[0, 2], s_line.List[0, 6]))
            .Where(t => t.Item1.Old != t.Item1.New && t.Item1.Old.Length != 0 && t.Item1.New.Length != 0)
            .Sample(
                t =>
                {
                    var ((old, after), before) = (t.Item1, t.Item2);
                    tree.Write("a/x.c", old);
                    tree.Write("b/x.c", after);
                    var (_, diff) = tree.Run("diff", "-a", "-U3", "a/x.c", "b/x.c");
                    var end = old.EndsWith('\n');
                    var moved = Text(Edited([.. (end ? old[..^1] : old).Split('\n')], [before]), end);
                    var (text, _) = Apply(moved, diff);
                    if (text is null)
                        return true;
                    applied++;
                    tree.Write("x.c", moved);
                    tree.Write("p.patch", diff);
                    var (code, _) = tree.Run("git", "apply", "--whitespace=nowarn", "p.patch");
                    return code != 0 || tree.Read("x.c") == text;
                },
                iter: 150,
                threads: 1
            );
        Assert.True(applied > 10, $"only {applied} applied");
    }
}
