// SPDX-License-Identifier: MIT
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Patching;

namespace Ksplice.Build.Tests.Patching;

public class UnifiedDiffTests
{
    private const string Body = "@@ -1,3 +1,3 @@ int f(void)\n one\n-two\n+TWO\n three\n";

    private static Diagnostic Refused(string text)
    {
        var bag = new DiagnosticBag();
        Assert.Null(UnifiedDiff.Parse(text, "test.patch", bag));
        return Patches.TheError(bag);
    }

    [Fact]
    public void Reads_git_format_below_a_commit_message()
    {
        var patch = Patches.Parse(
            "From 0123 Mon Sep 17 00:00:00 2001\nSubject: [PATCH] a\n\n--- not a header\n---\n fs/x.c | 2 +-\n\n"
                + "diff --git a/fs/x.c b/fs/x.c\nindex 123..456 100644\n--- a/fs/x.c\n+++ b/fs/x.c\n"
                + Body
                + "-- \n2.39.2\n"
        );
        var file = Assert.Single(patch.Files);
        Assert.Equal(("fs/x.c", FileChange.Modified, 8), (file.Path, file.Change, file.Line));
        var hunk = Assert.Single(file.Hunks);
        Assert.Equal((1, 3, 1, 3, 12), (hunk.OldStart, hunk.OldCount, hunk.NewStart, hunk.NewCount, hunk.Line));
        Assert.Equal(
            [
                new(HunkLineKind.Context, "one\n", 13),
                new(HunkLineKind.Removed, "two\n", 14),
                new(HunkLineKind.Added, "TWO\n", 15),
                new(HunkLineKind.Context, "three\n", 16),
            ],
            hunk.Lines
        );
    }

    [Fact]
    public void Reads_plain_format_with_time_stamps_and_several_files()
    {
        var patch = Patches.Parse(
            "diff -urN old/fs/x.c new/fs/x.c\n--- old/fs/x.c\t2024-01-02 03:04:05.000000000 +0100\n"
                + "+++ new/fs/x.c\t2024-01-02 03:04:06.5 +0100\n"
                + Body
                + "Only in new: y\nIndex: z\n=====\n--- old/z.h\n+++ new/z.h\n"
                + Body
        );
        Assert.Equal(["fs/x.c", "z.h"], patch.Files.Select(file => file.Path));
        Assert.All(patch.Files, file => Assert.Equal(FileChange.Modified, file.Change));
    }

    [Theory]
    [InlineData(
        "diff --git a/n.c b/n.c\nnew file mode 100644\nindex 0..1\n--- /dev/null\n+++ b/n.c\n@@ -0,0 +1,2 @@\n+a\n+b\n",
        FileChange.Added
    )]
    [InlineData("--- /dev/null\n+++ b/n.c\n@@ -0,0 +1 @@\n+a\n", FileChange.Added)]
    [InlineData(
        "--- a/n.c\t1970-01-01 01:00:00.000000000 +0100\n+++ b/n.c\t2024-01-02 03:04:05 +0000\n@@ -0,0 +1 @@\n+a\n",
        FileChange.Added
    )]
    [InlineData("diff --git a/n.c b/n.c\ndeleted file mode 100644\n--- a/n.c\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n", FileChange.Deleted)]
    [InlineData("--- a/n.c\t2024-01-02 03:04:05 +0000\n+++ b/n.c\t1970-01-01 00:00:00 +0000\n@@ -1 +0,0 @@\n-a\n", FileChange.Deleted)]
    [InlineData("diff --git a/n.c b/n.c\nnew file mode 100644\nindex 0..1\n", FileChange.Added)]
    public void Tells_new_and_deleted_files(string text, FileChange change)
    {
        var file = Assert.Single(Patches.Parse(text).Files);
        Assert.Equal(("n.c", change), (file.Path, file.Change));
    }

    [Fact]
    public void Takes_a_patch_whose_every_line_ends_in_CR_LF_as_DOS_made()
    {
        var bag = new DiagnosticBag();
        var patch = UnifiedDiff.Parse(("--- a/x.c\n+++ b/x.c\n" + Body).Replace("\n", "\r\n", StringComparison.Ordinal), "p", bag);
        Assert.Equal("KSP1030", Assert.Single(bag).Id);
        Assert.All(patch!.Files[0].Hunks[0].Lines, line => Assert.DoesNotContain('\r', line.Text));
    }

    [Fact]
    public void Keeps_CR_that_belongs_to_the_file()
    {
        var patch = Patches.Parse("--- a/x.c\n+++ b/x.c\n@@ -1 +1 @@\n-one\r\n+two\r\n");
        Assert.Equal(["one\r\n", "two\r\n"], patch.Files[0].Hunks[0].Lines.Select(line => line.Text));
    }

    [Fact]
    public void Takes_the_newline_off_where_the_file_has_none()
    {
        var patch = Patches.Parse(
            "--- a/x.c\n+++ b/x.c\n@@ -1 +1 @@\n-one\n\\ No newline at end of file\n+two\n\\ No newline at end of file\n"
        );
        Assert.Equal(["one", "two"], patch.Files[0].Hunks[0].Lines.Select(line => line.Text));
    }

    [Fact]
    public void Reads_quoted_names()
    {
        var patch = Patches.Parse(
            "diff --git \"a/d/\\303\\244 b.c\" \"b/d/\\303\\244 b.c\"\n--- \"a/d/\\303\\244 b.c\"\n+++ \"b/d/\\303\\244 b.c\"\n" + Body
        );
        Assert.Equal("d/ä b.c", patch.Files[0].Path);
    }

    [Fact]
    public void Reports_a_change_of_mode_and_goes_on()
    {
        var bag = new DiagnosticBag();
        Assert.NotNull(UnifiedDiff.Parse("diff --git a/s.sh b/s.sh\nold mode 100644\nnew mode 100755\n", "p", bag));
        var report = Assert.Single(bag);
        Assert.Equal(("KSP1027", DiagnosticSeverity.Info, 3), (report.Id, report.Severity, report.Location!.Line));
    }

    [Theory]
    [InlineData("", "KSP1011", 1)]
    [InlineData("Just a letter.\n\nNothing else.\n", "KSP1011", 1)]
    [InlineData("--- a/x.c\n+++ b/x.c\n", "KSP1012", 1)]
    [InlineData("diff --git a/x.c b/x.c\nindex 1..2 100644\n--- a/x.c\n", "KSP1012", 3)]
    [InlineData("diff --git a/x.c b/x.c\nindex 1..2 100644\n", "KSP1012", 1)]
    [InlineData("@@ -1,3 +1,3 @@\n one\n", "KSP1012", 1)]
    [InlineData("--- a/x.c\n+++ b/x.c\n@@ -1,x +1,3 @@\n one\n", "KSP1012", 3)]
    [InlineData("--- a/x.c\n+++ b/x.c\n@@ -1,3 +1,4 @@\n one\n-two\n+TWO\n three\n", "KSP1012", 3)]
    [InlineData("--- a/x.c\n+++ b/x.c\n@@ -1,3 +1,4 @@\n one\n-two\n+TWO\n three\n-- \n2.39\n", "KSP1012", 8)]
    [InlineData("--- a/x.c\n+++ b/x.c\n@@ -1,2 +1,2 @@\n one\n-two\n+TWO\n three\n", "KSP1012", 7)]
    [InlineData("--- a/x.c\n+++ b/x.c\n@@ -1,1 +1,2 @@\n-one\n-two\n+TWO\n three\n", "KSP1012", 5)]
    [InlineData("--- a/x.c\n+++ b/x.c\n@@ -9,1 +9,1 @@\n-a\n+b\n@@ -5,1 +5,1 @@\n-a\n+b\n", "KSP1012", 6)]
    [InlineData("--- a/x.c\n+++ b/x.c\n@@ -99999999999,1 +9,1 @@\n-a\n+b\n", "KSP1012", 3)]
    [InlineData("--- a/x.c\n+++ b/x.c\n@@ -1,2 +1,1 @@\n-a\n\\ No newline at end of file\n-b\n+c\n", "KSP1012", 6)]
    [InlineData("--- /dev/null\n+++ /dev/null\n@@ -0,0 +1 @@\n+a\n", "KSP1012", 1)]
    [InlineData("--- a/x.c\n+++ /dev/null\n@@ -1,2 +1 @@\n-a\n b\n", "KSP1012", 1)]
    [InlineData("diff --git a/x.c b/x.c\nnew file mode 100644\n--- a/x.c\n+++ b/x.c\n@@ -1 +1 @@\n-a\n+b\n", "KSP1012", 1)]
    [InlineData("--- a/x.c\n+++ b/../../etc/passwd\n@@ -1 +1 @@\n-a\n+b\n", "KSP1013", 2)]
    [InlineData("--- /etc/passwd\n+++ /etc/passwd\n@@ -1 +1 @@\n-a\n+b\n", "KSP1013", 2)]
    [InlineData("--- a//etc/passwd\n+++ b//etc/passwd\n@@ -1 +1 @@\n-a\n+b\n", "KSP1013", 2)]
    [InlineData("--- ../x.c\n+++ ../x.c\n@@ -1 +1 @@\n-a\n+b\n", "KSP1013", 2)]
    [InlineData("--- x.c\n+++ x.c\n@@ -1 +1 @@\n-a\n+b\n", "KSP1013", 2)]
    [InlineData("--- /dev/null\n+++ b/..\n@@ -0,0 +1 @@\n+b\n", "KSP1013", 2)]
    [InlineData("--- a/x.c\n+++ b/y.c\n@@ -1 +1 @@\n-a\n+b\n", "KSP1014", 1)]
    [InlineData("diff --git a/x.c b/y.c\nsimilarity index 100%\nrename from x.c\nrename to y.c\n", "KSP1014", 3)]
    [InlineData("diff --git a/x.c b/y.c\nsimilarity index 90%\ncopy from x.c\ncopy to y.c\n", "KSP1014", 3)]
    [InlineData("diff --git a/x.bin b/x.bin\nindex 1..2 100644\nGIT binary patch\nliteral 1\nIcmZPo000310RR91\n", "KSP1014", 3)]
    [InlineData("diff --git a/x.bin b/x.bin\nindex 1..2 100644\nBinary files a/x.bin and b/x.bin differ\n", "KSP1014", 3)]
    [InlineData("diff -ur a/x.bin b/x.bin\nBinary files a/x.bin and b/x.bin differ\n", "KSP1014", 2)]
    [InlineData(
        "diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+/etc\n\\ No newline at end of file\n",
        "KSP1014",
        2
    )]
    [InlineData("diff --git a/l b/l\nnew file mode 160000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+Subproject commit 1\n", "KSP1014", 2)]
    [InlineData("diff --cc x.c\nindex 1,2..3\n--- a/x.c\n+++ b/x.c\n@@@ -1,1 -1,1 +1,1 @@@\n++a\n", "KSP1014", 1)]
    [InlineData("\u00ff\u00fe-\0-\0-\0 \0", "KSP1010", 0)]
    public void Refuses(string text, string id, int line)
    {
        var error = Refused(text);
        Assert.Equal((id, line), (error.Id, error.Location!.Line));
        Assert.Equal("test.patch", error.Location.Path);
    }

    [Theory]
    [InlineData(
        "diff --git a/Documentation/x.png b/Documentation/x.png\nindex 1..2 100644\nGIT binary patch\nliteral 1\nIcm\n\nliteral 0\nHc$\n\n"
    )]
    [InlineData("diff --git a/samples/x.png b/samples/x.png\nindex 1..2 100644\nBinary files a/samples/x.png and b/samples/x.png differ\n")]
    [InlineData(
        "diff -ur a/Documentation/x.png b/Documentation/x.png\nBinary files a/Documentation/x.png and b/Documentation/x.png differ\n"
    )]
    public void A_binary_change_of_a_file_that_does_not_count_is_told_and_left_out(string text)
    {
        DiagnosticBag bag = [];
        var patch = UnifiedDiff.Parse(text + "--- a/x.c\n+++ b/x.c\n@@ -1 +1 @@\n-a\n+b\n", "test.patch", bag);
        Assert.Equal("x.c", Assert.Single(patch!.Files).Path);
        Assert.Equal("KSP1026", Assert.Single(bag).Id);
        Assert.Empty(UnifiedDiff.Parse(text, "test.patch", [])!.Files);
    }

    [Theory]
    [InlineData("--- a/fs/x.c.orig\n+++ a/fs/x.c\n@@ -1 +1 @@\n-a\n+b\n")]
    [InlineData("--- linux/fs/x.c~\t2024-01-02 03:04:05 +0000\n+++ linux/fs/x.c\t2024-01-02 03:04:06 +0000\n@@ -1 +1 @@\n-a\n+b\n")]
    [InlineData("\u00ef\u00bb\u00bf--- a/fs/x.c\n+++ b/fs/x.c\n@@ -1 +1 @@\n-a\n+b\n")]
    public void Takes_what_other_tools_make(string text)
    {
        DiagnosticBag bag = [];
        var file = Assert.Single(UnifiedDiff.Parse(text, "test.patch", bag)!.Files);
        Assert.Equal(("fs/x.c", FileChange.Modified), (file.Path, file.Change));
        Assert.Empty(bag);
    }

    [Fact]
    public void Reports_a_patch_file_that_is_not_there()
    {
        var bag = new DiagnosticBag();
        Assert.Null(SourcePatch.Read("/nowhere/at/all.patch", bag));
        Assert.Equal("KSP1010", Patches.TheError(bag).Id);
    }
}
