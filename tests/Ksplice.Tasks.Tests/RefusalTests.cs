// SPDX-License-Identifier: MIT
// Bad input. Each is refused by name, at its place, leaves no package, and is refused again by the second build.
using Ksplice.Build.Kernel;

namespace Ksplice.Tasks.Tests;

public sealed class RefusalTests
{
    private static async Task<string> RefusedAsync(PatchProject project, string id, params string[] arguments)
    {
        string first = (await project.BuildAsync(arguments)).MustFailWith(id);
        string second = (await project.BuildAsync(arguments)).MustFailWith(id);
        Assert.Equal(first, second);
        if (Directory.Exists(project.At("bin")))
            Assert.Empty(Directory.GetFiles(project.At("bin"), "*", SearchOption.AllDirectories));
        return first;
    }

    private static async Task<string> RefusedAsync(string patch, string id, params (string, string)[] properties)
    {
        using PatchProject project = new(Patches.Release, properties);
        project.Write("fix.patch", patch);
        return await RefusedAsync(project, id);
    }

    [Fact]
    public async Task No_release() => Assert.Contains("update.csproj", await RefusedNoReleaseAsync(), StringComparison.Ordinal);

    private static async Task<string> RefusedNoReleaseAsync()
    {
        using PatchProject project = new("");
        project.Write("fix.patch", Patches.Smaps);
        return await RefusedAsync(project, "KSP2022");
    }

    [Fact]
    public async Task No_patch()
    {
        using PatchProject project = new(Patches.Release);
        await RefusedAsync(project, "KSP2023");
    }

    [Fact]
    public async Task An_unknown_kernel()
    {
        using PatchProject project = new("6.1.0-1-none");
        project.Write("fix.patch", Patches.Smaps);
        Assert.Contains("linux-headers-6.1.0-1-none", await RefusedAsync(project, "KSP2001"), StringComparison.Ordinal);
    }

    [Fact]
    public Task An_empty_patch() => RefusedAsync("", "KSP1011");

    [Fact]
    public async Task A_patch_for_another_version() =>
        Assert.Contains(
            "fix.patch(8,1): error KSP1016",
            await RefusedAsync(Patches.Smaps.Replace("KernelPageSize", "KernelPageSizes", StringComparison.Ordinal), "KSP1016"),
            StringComparison.Ordinal
        );

    [Fact]
    public Task A_path_that_leaves_the_tree() =>
        RefusedAsync("--- a/../../etc/passwd\n+++ b/../../etc/passwd\n@@ -1 +1 @@\n-x\n+y\n", "KSP1013");

    [Fact]
    public async Task A_compile_error_at_its_place_in_the_patch() =>
        Assert.Contains(
            "fix.patch(12,1): error KSP2009",
            await RefusedAsync(Patches.Smaps.Replace("vma_pages(vma)", "vma_no_such(vma)", StringComparison.Ordinal), "KSP2009"),
            StringComparison.Ordinal
        );

    [Fact]
    public async Task Changed_initialised_data() =>
        await RefusedAsync(
            await Patches.ChangeAsync(
                "kernel/printk/printk.c",
                "int __read_mostly suppress_printk;",
                "int __read_mostly suppress_printk = 1;"
            ),
            "KSP3001"
        );

    [Fact]
    public async Task A_struct_that_grew()
    {
        string patch = await Patches.ChangeAsync("kernel/printk/printk.c", "struct devkmsg_user {", "struct devkmsg_user {\n\tlong more;");
        Assert.Contains("devkmsg_user", await RefusedAsync(patch, "KSP5001"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_change_of_nothing_but_a_comment() =>
        Assert.Contains(
            "fix.patch : error KSP6003",
            await RefusedAsync(
                Patches.Smaps.Replace(
                    "\tseq_printf(m, \"Pages:          %8lu\\n\", vma_pages(vma));",
                    "\t/* Pages */",
                    StringComparison.Ordinal
                ),
                "KSP6003"
            ),
            StringComparison.Ordinal
        );

    [Fact]
    public Task A_truncated_source_tarball()
    {
        string tarball = Path.Combine(Path.GetTempPath(), $"ksplice-truncated-{Environment.ProcessId}.tar.xz");
        string whole = $"/usr/src/linux-source-{string.Join('.', Patches.Release.Split('.')[..2])}.tar.xz";
        using (var from = File.OpenRead(whole))
        using (var to = File.Create(tarball))
        {
            var part = new byte[1 << 20];
            from.ReadExactly(part);
            to.Write(part);
        }
        return RefusedAsync(Patches.Smaps, "KSP1002", ("KernelSource", tarball));
    }

    [Fact]
    public async Task An_image_that_is_cut_or_none()
    {
        var image = File.ReadAllBytes(Patches.Image);
        string path = Path.Combine(Path.GetTempPath(), $"ksplice-image-{Environment.ProcessId}");
        foreach (var bytes in (byte[][])[image[..(image.Length / 2)], [], "not an image"u8.ToArray()])
        {
            File.WriteAllBytes(path, bytes);
            await RefusedAsync(Patches.Smaps, "KSP1001", ("KernelImage", path));
        }
        File.Delete(path);
    }

    [Fact]
    public async Task An_image_that_differs_in_one_byte_of_a_replaced_function()
    {
        var vmlinux = KernelPayload.Unpack(File.ReadAllBytes(Patches.Image));
        var image = KernelImage.Read(vmlinux, Patches.Image);
        ulong function = image.Symbols.FindUnique("show_smap")!.Value;
        // A byte of an instruction that no relocation or rewriting touches: the first `push` behind the fentry site.
        Assert.Equal(0x41, image.Slice(function + 5, 1)[0]);
        var code = image.Slice(function, 64).ToArray();
        int place = vmlinux.AsSpan().IndexOf(code);
        Assert.Equal(-1, vmlinux.AsSpan(place + 1).IndexOf(code));
        vmlinux[place + 6] ^= 1;
        string path = Path.Combine(Path.GetTempPath(), $"ksplice-vmlinux-{Environment.ProcessId}");
        File.WriteAllBytes(path, vmlinux);
        string line = await RefusedAsync(Patches.Smaps, "KSP4001", ("KernelImage", path));
        File.Delete(path);
        Assert.Contains("show_smap", line, StringComparison.Ordinal);
        Assert.Contains("show_smap+0x6 in the pre object", line, StringComparison.Ordinal);
        Assert.Contains($"found {vmlinux[place + 6]:x2}", line, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_compiled_file_that_is_deleted()
    {
        var lines = await File.ReadAllLinesAsync(
            Path.Combine(await Patches.SourceAsync(), "fs/proc/cmdline.c"),
            TestContext.Current.CancellationToken
        );
        await RefusedAsync(
            $"--- a/fs/proc/cmdline.c\n+++ /dev/null\n@@ -1,{lines.Length} +0,0 @@\n"
                + string.Concat(lines.Select(line => "-" + line + "\n")),
            "KSP1032"
        );
    }

    [Fact]
    public async Task A_header_that_is_included_past_the_post_tree() =>
        await RefusedAsync(
            await Patches.ChangeAsync(
                "fs/proc/cmdline.c",
                "#include <linux/fs.h>",
                $"#include \"{await Patches.SourceAsync()}/include/linux/fs.h\""
            ),
            "KSP2011"
        );

    [Fact]
    public async Task An_image_of_another_release()
    {
        var vmlinux = KernelPayload.Unpack(File.ReadAllBytes(Patches.Image));
        var banner = System.Text.Encoding.ASCII.GetBytes("Linux version " + Patches.Release);
        for (int at = vmlinux.AsSpan().IndexOf(banner); at >= 0; at = vmlinux.AsSpan().IndexOf(banner))
            vmlinux[at + "Linux version ".Length] = (byte)'9';
        string path = Path.Combine(Path.GetTempPath(), $"ksplice-other-{Environment.ProcessId}");
        File.WriteAllBytes(path, vmlinux);
        await RefusedAsync(Patches.Smaps, "KSP2007", ("KernelImage", path));
        File.Delete(path);
    }

    [Theory]
    [InlineData("KSP2008", "olddefconfig:\n\t@echo 'this tree is broken' >&2; false\n", "this tree is broken")]
    [InlineData("KSP2014", "olddefconfig:\n\tPATH=/none flex\n", "'flex' cannot be run: make did not find it; install the package flex")]
    [InlineData("KSP2013", "olddefconfig modules_prepare vmlinux modules:\n\t@true\n", "printed no compile commands")]
    public async Task A_source_tree_that_cannot_be_prepared(string id, string rules, string words)
    {
        string version = (
            await File.ReadAllLinesAsync(Path.Combine(await Patches.SourceAsync(), "Makefile"), TestContext.Current.CancellationToken)
        )
            .Where(line =>
                line.StartsWith("VERSION", StringComparison.Ordinal)
                || line.StartsWith("PATCHLEVEL", StringComparison.Ordinal)
                || line.StartsWith("SUBLEVEL", StringComparison.Ordinal)
            )
            .Aggregate("", (text, line) => text + line + "\n");
        var folder = Directory.CreateTempSubdirectory("ksplice-tree-");
        try
        {
            string cache = Path.Combine(folder.FullName, "cache"),
                tree = Path.Combine(folder.FullName, "tree");
            Directory.CreateDirectory(tree);
            File.WriteAllText(Path.Combine(tree, "Makefile"), version + rules);
            Assert.Contains(
                words,
                await RefusedAsync(Patches.Smaps, id, ("KernelSource", tree), ("KernelImage", Patches.Image), ("KernelCache", cache)),
                StringComparison.Ordinal
            );
            // Nothing that could be mistaken for a prepared tree.
            Assert.Empty(Directory.GetDirectories(Path.Combine(cache, "kernels")));
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    // PATH has the compiler and nothing else.
    [Theory]
    [InlineData("tar")]
    [InlineData("make")]
    public async Task A_program_that_is_missing(string program)
    {
        var folder = Directory.CreateTempSubdirectory("ksplice-path-");
        try
        {
            string compiler = (await KernelTree.PrepareAsync(Patches.Release)).Release.Compiler,
                path = folder.CreateSubdirectory("path").FullName,
                cache = Path.Combine(folder.FullName, "cache");
            File.CreateSymbolicLink(Path.Combine(path, compiler), Path.Combine("/usr/bin", compiler));
            List<(string, string)> properties = [("KernelCache", cache), ("KernelImage", Patches.Image)];
            // A tree need not be unpacked.
            if (program == "make")
                properties.Add(("KernelSource", await Patches.SourceAsync()));
            using PatchProject project = new(Patches.Release, [.. properties]) { ProgramPath = path };
            project.Write("fix.patch", Patches.Smaps);
            Assert.Contains(
                $"'{program}' cannot be run: it is in no folder of PATH ({path}); install the package {program}",
                await RefusedAsync(project, "KSP2014"),
                StringComparison.Ordinal
            );
            Assert.Empty(Directory.GetDirectories(Path.Combine(cache, "kernels")));
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    [Fact]
    public async Task An_output_folder_that_cannot_be_written()
    {
        using PatchProject project = new(Patches.Release);
        project.Write("fix.patch", Patches.Smaps);
        Directory.CreateDirectory(project.At($"obj/Debug/ksplice/update/{Patches.Release}"));
        File.WriteAllText(project.At($"obj/Debug/ksplice/update/{Patches.Release}/units"), "a file where a folder has to be");
        await RefusedAsync(project, "KSP2020");
    }

    [Fact]
    public void A_help_page_stands_behind_an_error()
    {
        RecordingEngine engine = new();
        using ResolveKernel task = new()
        {
            BuildEngine = engine,
            ProjectFile = "x.csproj",
            HelpFolder = Repository.At("docs", "diagnostics"),
        };
        Assert.False(task.Execute());
        var error = Assert.Single(engine.Errors);
        Assert.Equal(("KSP2022", "x.csproj"), (error.Code, error.File));
        Assert.True(File.Exists(new Uri(error.HelpLink!).LocalPath), error.HelpLink);
    }
}
