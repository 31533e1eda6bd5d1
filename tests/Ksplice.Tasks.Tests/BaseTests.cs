// SPDX-License-Identifier: MIT
// An update that goes on top of another, as far as a build goes.
using System.Text;
using System.Text.Json;
using Ksplice.Build.Elf;

namespace Ksplice.Tasks.Tests;

public sealed class BaseTests
{
    private const string Upper = """
        --- a/fs/proc/task_mmu.c
        +++ b/fs/proc/task_mmu.c
        @@ -865,6 +865,7 @@
         	SEQ_PUT_DEC(" kB\nMMUPageSize:    ", vma_mmu_pagesize(vma));
         	seq_puts(m, " kB\n");
         	seq_printf(m, "Pages:          %8lu\n", vma_pages(vma));
        +	seq_printf(m, "Half:           %8lu\n", vma_pages(vma) / 2);
         
         	__show_smap(m, &mss, false);
         

        """;

    private const string Lower = "0badcafe";

    private static string Base(string file, string? id = Lower) =>
        $"<KernelBasePatch Include=\"{file}\" {(id is null ? "" : $"UpdateId=\"{id}\"")} />";

    // What the helper tells the core: the array that its registration points at.
    private static string[] BasesOf(string package)
    {
        var helper = ElfObject.Read(File.ReadAllBytes(Assert.Single(Directory.GetFiles(package, "*_helper.ko"))), "helper");
        var array = helper.Symbols.Single(symbol => symbol.Name == "bases");
        return
        [
            .. helper
                .Sections[array.SectionIndex]
                .Relocations.Where(relocation => relocation.Offset >= array.Value && relocation.Offset < array.Value + array.Size)
                .Select(relocation =>
                {
                    var symbol = helper.Symbols[relocation.SymbolIndex];
                    var text = helper.Sections[symbol.SectionIndex].Data.Span[(int)(symbol.Value + (ulong)relocation.Addend)..];
                    return Encoding.ASCII.GetString(text[..text.IndexOf((byte)0)]);
                }),
        ];
    }

    private static async Task<string> ManifestBaseAsync(PatchProject project)
    {
        using var manifest = JsonDocument.Parse(
            await File.ReadAllBytesAsync(Path.Combine(project.Package, "manifest.json"), TestContext.Current.CancellationToken)
        );
        return JsonSerializer.Serialize(manifest.RootElement.GetProperty("base"));
    }

    // K25
    [Fact]
    public async Task Ids_and_patches_travel_and_what_no_image_has_is_told()
    {
        using PatchProject project = new(Patches.Release);
        project.Write("lower.base", Patches.Smaps);
        project.Items(Base("lower.base"));
        project.Write("upper.patch", Upper);
        var built = (await project.BuildAsync("-tl:off", "-v:normal")).MustSucceed();
        Assert.Contains(
            "info KSP4064",
            built.Output.Replace("message KSP4064", "info KSP4064", StringComparison.Ordinal),
            StringComparison.Ordinal
        );
        Assert.Equal([Lower], BasesOf(project.Package));
        Assert.Equal($$"""[{"id":"{{Lower}}","patches":["base/{{Lower}}/01-lower.base"]}]""", await ManifestBaseAsync(project));
        Assert.Equal(
            Patches.Smaps,
            await File.ReadAllTextAsync(
                Path.Combine(project.Package, "base", Lower, "01-lower.base"),
                TestContext.Current.CancellationToken
            )
        );
        Assert.Equal("01-upper.patch", Path.GetFileName(Assert.Single(Directory.GetFiles(Path.Combine(project.Package, "patches")))));
        Assert.Contains(
            $"can be undone after it only:\n\n    {Lower}\n        base/{Lower}/01-lower.base\n",
            await File.ReadAllTextAsync(Path.Combine(project.Package, "README.txt"), TestContext.Current.CancellationToken),
            StringComparison.Ordinal
        );
        // One build's helper and primary know each other by its digest.
        string digest = Directory
            .GetFiles(project.At("obj"), "update_config.h", SearchOption.AllDirectories)
            .SelectMany(File.ReadLines)
            .Single(line => line.Contains("KSPLICE_DIGEST", StringComparison.Ordinal))
            .Split('"')[1];
        Assert.All(Directory.GetFiles(project.Package, "ksplice_*_0_*.ko"), module =>
            Assert.True(File.ReadAllBytes(module).AsSpan().IndexOf(Encoding.ASCII.GetBytes(digest)) > 0, module)
        );

        // Another id or another lower one makes another update; without it the upper one does not fit the source.
        string id = project.Id;
        project.Items(Base("lower.base", "0badcaff"));
        (await project.BuildAsync()).MustSucceed();
        Assert.NotEqual(id, project.Id);
        Assert.Equal(["0badcaff"], BasesOf(project.Package));
        id = project.Id;
        project.Write("lower.base", Patches.Smaps.Replace("Pages: ", "Count: ", StringComparison.Ordinal));
        project.Write("upper.patch", Upper.Replace("Pages: ", "Count: ", StringComparison.Ordinal));
        (await project.BuildAsync()).MustSucceed();
        Assert.NotEqual(id, project.Id);
        project.Items();
        (await project.BuildAsync()).MustFailWith("KSP1016");
    }

    [Fact]
    public async Task A_base_patch_without_its_update_or_a_base_that_is_no_package_leaves_nothing()
    {
        using PatchProject project = new(Patches.Release);
        project.Write("lower.base", Patches.Smaps);
        project.Write("upper.patch", Upper);
        foreach (string? id in (string?[])[null, "0BADCAFE"])
        {
            project.Items(Base("lower.base", id));
            string first = (await project.BuildAsync()).MustFailWith("KSP2024");
            Assert.Contains("lower.base : error KSP2024: KernelBasePatch lower.base has ", first, StringComparison.Ordinal);
            Assert.Equal(first, (await project.BuildAsync()).MustFailWith("KSP2024"));
        }
        project.Items("<KernelBaseUpdate Include=\"lower.base\" />");
        (await project.BuildAsync()).MustFailWith("KSP6011");
        Assert.False(
            Directory.Exists(project.At("bin")) && Directory.GetFiles(project.At("bin"), "*", SearchOption.AllDirectories).Length != 0
        );
    }

    [Fact]
    public async Task A_package_is_one_line_and_counts_as_its_patches_do()
    {
        using PatchProject lower = new(Patches.Release),
            upper = new(Patches.Release);
        lower.Write("lower.base", Patches.Smaps);
        lower.Items("<KernelPatch Include=\"lower.base\" />");
        (await lower.BuildAsync()).MustSucceed();
        Copy();
        upper.Write("upper.patch", Upper);
        upper.Items("<KernelBaseUpdate Include=\"below\" />");
        (await upper.BuildAsync()).MustSucceed();
        string id = upper.Id;
        byte[] archive = Archive();
        Assert.Equal([lower.Id], BasesOf(upper.Package));
        Assert.Equal($$"""[{"id":"{{lower.Id}}","patches":["base/{{lower.Id}}/01-lower.base"]}]""", await ManifestBaseAsync(upper));
        // Nothing changed: nothing is made.
        var again = new BuildLog((await upper.BuildAsync()).MustSucceed());
        Assert.Empty(again.Compiled);
        Assert.DoesNotContain("KsplicePatch", again.Ran);
        Assert.DoesNotContain("KsplicePackage", again.Ran);
        // The archive and the bare patch with its id say the same, and so make the same bytes.
        foreach (
            string item in (string[])[$"<KernelBaseUpdate Include=\"{lower.Package}.tar.zst\" />", Base(lower.At("lower.base"), lower.Id)]
        )
        {
            upper.Items(item);
            Assert.Empty(new BuildLog((await upper.BuildAsync()).MustSucceed()).Compiled);
            Assert.True(archive.AsSpan().SequenceEqual(Archive()));
        }
        // Another package in the same place is another base.
        upper.Items("<KernelBaseUpdate Include=\"below\" />");
        (await upper.BuildAsync()).MustSucceed();
        lower.Write("lower.base", "Of another mind.\n" + Patches.Smaps);
        (await lower.BuildAsync()).MustSucceed();
        Copy();
        (await upper.BuildAsync()).MustSucceed();
        Assert.NotEqual(id, upper.Id);
        Assert.Equal([lower.Id], BasesOf(upper.Package));

        byte[] Archive() => File.ReadAllBytes(upper.Package + ".tar.zst");

        void Copy()
        {
            if (Directory.Exists(upper.At("below")))
                Directory.Delete(upper.At("below"), recursive: true);
            foreach (string file in Directory.GetFiles(lower.Package, "*", SearchOption.AllDirectories))
            {
                string copy = Path.Combine(upper.At("below"), Path.GetRelativePath(lower.Package, file));
                Directory.CreateDirectory(Path.GetDirectoryName(copy)!);
                File.Copy(file, copy);
            }
        }
    }
}
