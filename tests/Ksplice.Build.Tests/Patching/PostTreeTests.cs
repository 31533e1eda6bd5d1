// SPDX-License-Identifier: MIT
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Patching;

namespace Ksplice.Build.Tests.Patching;

public class PostTreeTests : IDisposable
{
    private const string StateName = ".ksplice-tree.json";

    private readonly TestTree _tree = new();
    private readonly string _source;
    private readonly string _post;

    public PostTreeTests()
    {
        _source = _tree["source"];
        _post = _tree["obj/post"];
        _tree.Write("source/fs/x.c", "#include \"../y.h\"\nint a;\nint b;\nint c;\n");
        _tree.Write("source/fs/z.c", "int z;\n");
        _tree.Write("source/y.h", "int y;\n");
        _tree.Write("source/Makefile", "all:\n");
        _tree.Write("source/arch/x86/a.c", "int x86;\n");
        _tree.Write("source/arch/arm/a.c", "int arm;\n");
        _tree.Write("source/Documentation/d.rst", "text\n");
        Directory.CreateSymbolicLink(_tree["source/linked"], "fs");
        File.CreateSymbolicLink(_tree["source/fs/y-link.h"], "../y.h");
        _tree.Write("outside/secret.c", "int secret;\n");
        Directory.CreateSymbolicLink(_tree["source/escape"], "../outside");
    }

    public void Dispose()
    {
        _tree.Dispose();
        GC.SuppressFinalize(this);
    }

    private static string Change(string path, string from, string to) => $"--- a/{path}\n+++ b/{path}\n@@ -1 +1 @@\n-{from}\n+{to}\n";

    private PostTree? Write(DiagnosticBag bag, params string[] patches) =>
        PostTree.Write(
            _source,
            _post,
            patches.Select(Patches.Parse).ToList(),
            bag,
            cancellationToken: TestContext.Current.CancellationToken
        );

    private PostTree Write(params string[] patches)
    {
        var bag = new DiagnosticBag();
        var tree = Write(bag, patches);
        Assert.True(tree is not null, string.Join('\n', bag));
        return tree;
    }

    private string Refused(params string[] patches)
    {
        var bag = new DiagnosticBag();
        Assert.Null(Write(bag, patches));
        return Patches.TheError(bag).Id;
    }

    private bool IsLink(string path) => new FileInfo(Path.Combine(_post, path)).LinkTarget is not null;

    private string[] Leftovers() =>
        [
            .. Directory
                .EnumerateFileSystemEntries(_tree["obj"], "*", SearchOption.AllDirectories)
                .Where(path =>
                    Path.GetFileName(path).Contains(".new", StringComparison.Ordinal)
                    || Path.GetFileName(path).Contains("ksplice-new", StringComparison.Ordinal)
                ),
        ];

    private IEnumerable<string> LinesOf(string path) => LineDirectives.Read(path, File.ReadAllLines(Path.Combine(_post, path))).Values;

    [Fact]
    public void Patched_files_are_files_and_all_others_links_in_real_folders()
    {
        var tree = Write(Change("y.h", "int y;", "long y;"));
        var file = Assert.Single(tree.Files);
        Assert.Equal(("y.h", PatchedFileKind.Header, FileChange.Modified), (file.Path, file.Kind, file.Change));
        Assert.False(IsLink("y.h"));
        Assert.False(IsLink("fs"));
        Assert.Equal(Path.Combine(_source, "fs/x.c"), new FileInfo(Path.Combine(_post, "fs/x.c")).LinkTarget);
        Assert.Equal(["long y;"], LinesOf("y.h"));
        // A link of the tree leads to the patched file, not out of the post tree.
        Assert.Equal(["long y;"], LinesOf("fs/y-link.h"));
        Assert.Equal("int y;\n", _tree.Read("source/y.h"));
        Assert.Contains("long y", _tree.RunOk("gcc", "-E", Path.Combine(_post, "fs/x.c")), StringComparison.Ordinal);
        Assert.False(Directory.Exists(Path.Combine(_post, "Documentation")));
        Assert.False(Directory.Exists(Path.Combine(_post, "arch/arm")));
        Assert.True(IsLink("arch/x86/a.c"));
    }

    [Fact]
    public void A_second_run_leaves_files_that_stay_the_same_untouched()
    {
        var patch = Change("y.h", "int y;", "long y;");
        Write(patch, Change("fs/z.c", "int z;", "long z;"));
        var past = new DateTime(2001, 2, 3, 4, 5, 6, DateTimeKind.Utc);
        File.SetLastWriteTimeUtc(Path.Combine(_post, "y.h"), past);
        File.SetLastWriteTimeUtc(Path.Combine(_post, "fs/z.c"), past);
        File.SetLastWriteTimeUtc(Path.Combine(_post, StateName), past);
        Write(patch, Change("fs/z.c", "int z;", "long z;"));
        Assert.Equal(past, File.GetLastWriteTimeUtc(Path.Combine(_post, StateName)));
        Write(patch, Change("fs/z.c", "int z;", "short z;"));
        Assert.Equal(past, File.GetLastWriteTimeUtc(Path.Combine(_post, "y.h")));
        Assert.NotEqual(past, File.GetLastWriteTimeUtc(Path.Combine(_post, "fs/z.c")));
        Assert.Empty(Leftovers());
    }

    [Fact]
    public void What_is_no_longer_patched_is_as_in_the_source_again()
    {
        Write(
            "--- /dev/null\n+++ b/new/deep/n.h\n@@ -0,0 +1 @@\n+int n;\n"
                + Change("y.h", "int y;", "long y;")
                + "--- a/fs/z.c\n+++ /dev/null\n@@ -1 +0,0 @@\n-int z;\n"
        );
        Assert.True(File.Exists(Path.Combine(_post, "new/deep/n.h")));
        Assert.False(File.Exists(Path.Combine(_post, "fs/z.c")));
        Write(Change("arch/x86/a.c", "int x86;", "long x86;"));
        Assert.False(Directory.Exists(Path.Combine(_post, "new")));
        Assert.Equal("int z;\n", File.ReadAllText(Path.Combine(_post, "fs/z.c")));
        Assert.True(IsLink("y.h"));
        Assert.False(IsLink("arch/x86/a.c"));
    }

    [Fact]
    public void Where_no_header_is_patched_only_the_folders_that_lead_to_patched_files_are_real()
    {
        Write(Change("fs/z.c", "int z;", "long z;"));
        Assert.False(IsLink("fs"));
        Assert.False(IsLink("fs/z.c"));
        Assert.True(IsLink("fs/x.c"));
        Assert.True(IsLink("arch"));
        Write(Change("y.h", "int y;", "long y;"));
        Assert.False(IsLink("arch"));
        Assert.True(IsLink("fs/z.c"));
    }

    [Fact]
    public void A_run_that_was_cut_off_is_made_good_by_the_next()
    {
        Write(Change("y.h", "int y;", "long y;"));
        // Cut off: after the state was saved as not complete and one of its files was written.
        var state = Path.Combine(_post, StateName);
        File.WriteAllText(
            state,
            File.ReadAllText(state)
                .Replace("\"Complete\": true", "\"Complete\": false", StringComparison.Ordinal)
                .Replace("\"y.h\"", "\"fs/z.c\",\n\"y.h\"", StringComparison.Ordinal)
        );
        File.Delete(Path.Combine(_post, "fs/z.c"));
        File.WriteAllText(Path.Combine(_post, "fs/z.c"), "half");
        Directory.CreateDirectory(_post + ".new/half");
        Write(Change("y.h", "int y;", "long y;"));
        Assert.True(IsLink("fs/z.c"));
        Assert.Contains("\"Complete\": true", File.ReadAllText(state), StringComparison.Ordinal);
    }

    [Fact]
    public void A_tree_without_a_readable_state_or_of_another_source_is_made_anew()
    {
        Write(Change("y.h", "int y;", "long y;"));
        File.WriteAllText(Path.Combine(_post, StateName), "{");
        File.WriteAllText(Path.Combine(_post, "stale.h"), "");
        Write(Change("y.h", "int y;", "long y;"));
        Assert.False(File.Exists(Path.Combine(_post, "stale.h")));
        _tree.Write("source2/y.h", "int y;\n");
        Assert.NotNull(
            PostTree.Write(
                _tree["source2"],
                _post,
                [Patches.Parse(Change("y.h", "int y;", "char y;"))],
                [],
                cancellationToken: TestContext.Current.CancellationToken
            )
        );
        Assert.False(Directory.Exists(Path.Combine(_post, "fs")));
    }

    [Fact]
    public void An_error_leaves_the_tree_as_it_was()
    {
        Write(Change("y.h", "int y;", "long y;"));
        Assert.Equal("KSP1016", Refused(Change("y.h", "int q;", "long y;"), Change("fs/z.c", "int z;", "long z;")));
        Assert.Equal(["long y;"], LinesOf("y.h"));
        Assert.True(IsLink("fs/z.c"));
    }

    [Fact]
    public void Deletes_nothing_that_is_not_a_post_tree()
    {
        _tree.Write("obj/post/thesis.txt", "mine");
        Assert.Equal("KSP1028", Refused(Change("y.h", "int y;", "long y;")));
        Assert.Equal("mine", _tree.Read("obj/post/thesis.txt"));
        _tree.Write("obj/file", "mine");
        var bag = new DiagnosticBag();
        Assert.Null(
            PostTree.Write(
                _source,
                _tree["obj/file"],
                [Patches.Parse(Change("y.h", "int y;", "long y;"))],
                bag,
                cancellationToken: TestContext.Current.CancellationToken
            )
        );
        Assert.Equal("KSP1028", Patches.TheError(bag).Id);
    }

    [Fact]
    public void A_place_that_cannot_be_written_is_a_diagnostic()
    {
        _tree.Write("obj/file", "mine");
        var bag = new DiagnosticBag();
        Assert.Null(
            PostTree.Write(
                _source,
                _tree["obj/file/post"],
                [Patches.Parse(Change("y.h", "int y;", "long y;"))],
                bag,
                cancellationToken: TestContext.Current.CancellationToken
            )
        );
        Assert.Equal("KSP1031", Patches.TheError(bag).Id);
    }

    [Theory]
    [InlineData("linked/z.c", "KSP1013")]
    [InlineData("escape/secret.c", "KSP1013")]
    [InlineData("fs/y-link.h", "KSP1013")]
    [InlineData("Makefile", "KSP1025")]
    [InlineData("fs/Kconfig", "KSP1025")]
    [InlineData("fs/Makefile.extra", "KSP1025")]
    [InlineData("arch/x86/Makefile", "KSP1025")]
    [InlineData("scripts/mod/Makefile", "KSP1025")]
    [InlineData("tools/objtool/Makefile", "KSP1025")]
    [InlineData("arch/x86/entry/vdso/Makefile", "KSP1029")]
    [InlineData("arch/x86/configs/x86_64_defconfig", "KSP1025")]
    [InlineData("arch/x86/kernel/vmlinux.lds.S", "KSP1025")]
    [InlineData("arch/x86/kernel/asm-offsets_64.c", "KSP1025")]
    [InlineData("kernel/bounds.c", "KSP1025")]
    [InlineData("scripts/mod/modpost.c", "KSP1025")]
    [InlineData("tools/objtool/check.c", "KSP1025")]
    [InlineData("lib/raid6/int.uc", "KSP1025")]
    [InlineData("arch/x86/entry/syscalls/syscall_64.tbl", "KSP1025")]
    [InlineData("arch/x86/entry/vdso/vclock_gettime.c", "KSP1029")]
    [InlineData("arch/x86/boot/compressed/misc.c", "KSP1029")]
    [InlineData("drivers/firmware/efi/libstub/mem.c", "KSP1029")]
    [InlineData("Documentation/d.rst", "KSP1021")]
    [InlineData("tools/testing/selftests/x.c", "KSP1021")]
    [InlineData("arch/arm/a.c", "KSP1021")]
    [InlineData("MAINTAINERS", "KSP1021")]
    [InlineData("fs/nothing.c", "KSP1022")]
    public void Refuses_by_path(string path, string id) => Assert.Equal(id, Refused(Change(path, "int z;", "long z;")));

    [Theory]
    [InlineData("arch/x86/entry/vdso/vma.c", PatchedFileKind.Source)]
    [InlineData("tools/lib/bpf/relo_core.c", PatchedFileKind.Source)]
    [InlineData("arch/x86/entry/entry_64.S", PatchedFileKind.Assembly)]
    [InlineData("include/linux/fs.h", PatchedFileKind.Header)]
    public void Takes_by_path(string path, PatchedFileKind kind)
    {
        _tree.Write("source/" + path, "int z;\n");
        Assert.Equal(kind, Assert.Single(Write(Change(path, "int z;", "long z;")).Files).Kind);
    }

    // The decompressor's units are in no list of the configuration's, since they have run: their path tells what they are.
    [Theory]
    [InlineData("arch/x86/boot/main.c")]
    [InlineData("arch/x86/boot/compressed/kaslr.c")]
    [InlineData("arch/x86/boot/compressed/misc.h")]
    [InlineData("drivers/firmware/efi/libstub/x86-stub.c")]
    public void What_has_run_before_the_kernel_is_refused_by_that(string path)
    {
        var bag = new DiagnosticBag();
        Assert.Null(Write(bag, Change(path, "int z;", "long z;")));
        Assert.Contains(
            "has run before the kernel: a change there changes nothing in what runs now",
            Patches.TheError(bag).Message,
            StringComparison.Ordinal
        );
    }

    [Theory]
    [InlineData("obj-y += a.o", "obj-y += a.o b.o")]
    [InlineData("obj-y += a.o", "obj-$(CONFIG_B)\t+= b.o")]
    [InlineData("foo-objs := a.o", "foo-objs := a.o \\\n+\t   sub/b.o # one more")]
    [InlineData("foo-y += $(addprefix sub/, a.o)", "foo-y += $(addprefix sub/, \\\n+\ta.o \\\n+\tb.o)")]
    [InlineData("lib-y := a.o", "# no more than a comment")]
    public void Takes_lists_of_objects_of_a_folder_s_Makefile(string old, string changed)
    {
        _tree.Write("source/fs/Makefile", old + "\n");
        int lines = changed.Split('\n').Length;
        var file = Assert.Single(Write($"--- a/fs/Makefile\n+++ b/fs/Makefile\n@@ -1 +1,{lines} @@\n-{old}\n+{changed}\n").Files);
        Assert.Equal((PatchedFileKind.Makefile, FileChange.Modified), (file.Kind, file.Change));
        Assert.Equal(changed.Replace("\n+", "\n", StringComparison.Ordinal) + "\n", File.ReadAllText(Path.Combine(_post, "fs/Makefile")));
        Assert.Equal([.. Enumerable.Range(1, file.PatchedLines.Count)], file.PatchedLines.Select(line => line.Number));
    }

    [Theory]
    [InlineData("obj-y += a.o", "CFLAGS_a.o += -O3")]
    [InlineData("obj-y += a.o", "ccflags-y += -DX")]
    [InlineData("obj-y += a.o", "subdir-ccflags-y := -DX")]
    [InlineData("obj-y += a.o", "extra-y += b.o")]
    [InlineData("obj-y += a.o", "obj-y += sub/")]
    [InlineData("obj-y += a.o", "obj-y += $(shell ls *.o)")]
    [InlineData("obj-y += a.o", "ifdef CONFIG_B")]
    [InlineData("ccflags-y := -DX", "obj-y += a.o")]
    [InlineData("obj-y += a.o \\\n \t-DX", "obj-y += a.o b.o")]
    [InlineData("b.o: a.h", "obj-y += a.o")]
    public void Refuses_what_is_no_list_of_objects(string old, string changed)
    {
        string name = "fs/Makefile",
            removed = old.Replace("\n", "\n-", StringComparison.Ordinal).Replace("- ", "-", StringComparison.Ordinal);
        _tree.Write("source/" + name, old.Replace("\n ", "\n", StringComparison.Ordinal) + "\n");
        int lines = old.Split('\n').Length;
        var bag = new DiagnosticBag();
        Assert.Null(Write(bag, $"--- a/{name}\n+++ b/{name}\n@@ -1,{lines} +1 @@\n-{removed}\n+{changed}\n"));
        Assert.Contains("only lists of objects may change", Patches.TheError(bag).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Ignores_what_is_not_compiled_and_says_so()
    {
        var bag = new DiagnosticBag();
        var tree = Write(bag, Change("Documentation/d.rst", "no such text", "other") + Change("y.h", "int y;", "long y;"));
        Assert.Equal("y.h", Assert.Single(tree!.Files).Path);
        Assert.Equal(("KSP1026", DiagnosticSeverity.Info), (Assert.Single(bag).Id, bag.First().Severity));
    }

    [Fact]
    public void A_plain_tree_has_what_the_patches_make_of_the_files()
    {
        string plain = _tree["obj/plain"];
        const string Patched = "#include \"../y.h\"\nint a;\nint n;\nint b;\nint c;\n";
        const string Adds = "--- a/fs/x.c\n+++ b/fs/x.c\n@@ -2,2 +2,3 @@\n int a;\n+int n;\n int b;\n";
        Write(Adds, Change("fs/z.c", "int z;", "long z;"));
        Assert.Contains("ksplice-patched", File.ReadAllText(Path.Combine(_post, "fs/x.c")), StringComparison.Ordinal);
        WritePlain();
        Assert.Equal(Patched, File.ReadAllText(Path.Combine(plain, "fs/x.c")));
        Assert.Equal("long z;\n", File.ReadAllText(Path.Combine(plain, "fs/z.c")));
        Assert.NotNull(new FileInfo(Path.Combine(plain, "Makefile")).LinkTarget);

        Write(Adds);
        WritePlain();
        Assert.Equal(Patched, File.ReadAllText(Path.Combine(plain, "fs/x.c")));
        Assert.Equal("int z;\n", File.ReadAllText(Path.Combine(plain, "fs/z.c")));

        File.WriteAllText(Path.Combine(_post, StateName), "{");
        var bag = new DiagnosticBag();
        Assert.False(PostTree.WritePlain(_post, plain, bag, TestContext.Current.CancellationToken));
        Assert.Equal("KSP1031", Patches.TheError(bag).Id);

        void WritePlain()
        {
            var said = new DiagnosticBag();
            Assert.True(PostTree.WritePlain(_post, plain, said, TestContext.Current.CancellationToken), string.Join('\n', said));
        }
    }

    [Fact]
    public void A_line_that_the_compiler_names_leads_back_to_the_patch()
    {
        var tree = Write("Message\n\n--- a/fs/x.c\n+++ b/fs/x.c\n@@ -2,3 +2,4 @@\n int a;\n+int new_one = oops;\n int b;\n int c;\n");
        var (_, output) = _tree.Run("gcc", "-c", "-o", "/dev/null", Path.Combine(_post, "fs/x.c"));
        Assert.Contains("/ksplice-patched/0/fs/x.c:3:15: error", output, StringComparison.Ordinal);
        var lines = Assert.Single(tree.Files).PatchedLines.Where(line => line.Line.PatchPath is not null).ToList();
        var added = Assert.Single(lines);
        Assert.Equal(
            ("/ksplice-patched/0/fs/x.c", 3, "test.patch", 7),
            (added.Name, added.Number, added.Line.PatchPath, added.Line.PatchLine)
        );
    }

    [Fact]
    public void Is_cancelled_without_leaving_a_tree()
    {
        using var cancelled = new CancellationTokenSource();
        cancelled.Cancel();
        Assert.Throws<OperationCanceledException>(() =>
            PostTree.Write(_source, _post, [Patches.Parse(Change("y.h", "int y;", "long y;"))], [], cancellationToken: cancelled.Token)
        );
        Assert.False(Directory.Exists(_post));
    }
}
