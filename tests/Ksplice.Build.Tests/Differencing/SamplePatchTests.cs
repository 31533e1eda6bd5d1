// SPDX-License-Identifier: MIT
// The patches of samples/, each made pre and post objects of the real kernel by the real stages.
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Ksplice.Build.Elf;
using Ksplice.Build.Kernel;
using Ksplice.Build.Patching;
using Ksplice.Build.Tests.Kernel;
using Ksplice.Build.Tests.Patching;
using Microsoft.Extensions.Logging.Abstractions;

namespace Ksplice.Build.Tests.Differencing;

/// <summary>The exact difference that every sample makes.</summary>
public sealed class SamplePatchTests
{
    [Fact]
    public async Task The_smaps_sample_replaces_one_function()
    {
        var diff = await DiffAsync("a-smaps-pages/smaps-pages.patch", "fs/proc/task_mmu.c");
        Assert.Equal(["show_smap"], diff.Replaced.Select(function => function.Name));
        Assert.Empty(diff.NewFunctions);
        // seq_printf might keep the new format string's address; nothing proves that it does not.
        Assert.Equal(new PinReason(PinKind.String, "show_smap", "\"Pages:          %8lu\\x0a\""), Assert.Single(diff.Pins));
        Assert.False(diff.Pinned);
        Assert.Equal(
            "Pages:          %8lu\n\0",
            System.Text.Encoding.ASCII.GetString(Assert.Single(diff.Carried, piece => piece.IsKept).Data.Span)
        );
    }

    [Fact]
    public async Task The_kernel_pages_sample_replaces_whom_proc_get_vma_is_inlined_into()
    {
        var diff = await DiffAsync("b-kernel-pages/kernel-pages.patch", "fs/proc/task_mmu.c");
        Assert.Equal(["m_next", "m_start"], diff.Replaced.Select(function => function.Name).Order());
        Assert.Equal(["proc_get_vma", "proc_shows_kernel_pages"], diff.NewFunctions.Select(function => function.Name).Order());
        Assert.All(diff.Replaced, function => Assert.False(function.IsGlobal));
        Assert.Empty(diff.Pins);
    }

    [Fact]
    public async Task The_kmsg_sample_replaces_one_function_and_brings_hooks()
    {
        var diff = await DiffAsync("c-kmsg-permission/kmsg-permission.patch", "kernel/printk/printk.c");
        Assert.Equal(["devkmsg_read"], diff.Replaced.Select(function => function.Name));
        Assert.Equal(
            ["devkmsg_apply", "devkmsg_pre_apply", "devkmsg_reverse"],
            diff.NewFunctions.Select(function => function.Name).Order()
        );
        Assert.Equal(
            [".ksplice.hooks.apply", ".ksplice.hooks.pre_apply", ".ksplice.hooks.reverse"],
            diff.Carried.Where(piece => piece.Kind == CarriedKind.Hook).Select(piece => piece.OutputSection).Order()
        );
        Assert.Equal(
            "dmesg_restrict_before",
            Assert.Single(diff.Carried, piece => piece.Kind == CarriedKind.Data && piece.SectionType == ElfSectionType.NoBits).Name
        );
        Assert.Empty(diff.Pins);
    }

    [Theory]
    [InlineData("a-smaps-pages/smaps-pages.patch", "fs/proc/task_mmu.c")]
    [InlineData("b-kernel-pages/kernel-pages.patch", "fs/proc/task_mmu.c")]
    [InlineData("c-kmsg-permission/kmsg-permission.patch", "kernel/printk/printk.c")]
    public async Task What_new_code_needs_is_global_or_lies_in_the_pre_object(string patch, string unit)
    {
        var diff = await DiffAsync(patch, unit);
        Assert.NotEmpty(diff.Needed);
        foreach (var local in diff.Needed.OfType<LocalSymbol>())
            Assert.Contains(diff.Pre.Symbols, symbol =>
                symbol.Name == local.Name && symbol.SectionIndex == local.PreSection && symbol.Value == local.Offset
            );
        // A relocated field has one meaning, a piece that is there or a symbol that is listed.
        foreach (var reference in diff.Carried.SelectMany(piece => piece.References))
        {
            Assert.NotEqual(reference.Piece >= 0, reference.Symbol is not null);
            Assert.True(reference.Piece < diff.Carried.Count);
            Assert.True(reference.Symbol is null || diff.Needed.Contains(reference.Symbol));
        }
        // ORC's two arrays stay parallel.
        Assert.Equal(
            diff.Carried.Where(piece => piece.OutputSection == ".orc_unwind_ip").Sum(piece => (long)piece.Post.Size) / 4,
            diff.Carried.Count(piece => piece.OutputSection == ".orc_unwind")
        );
    }

    [Theory]
    [InlineData("fs/proc/task_mmu.c")]
    [InlineData("kernel/printk/printk.c")]
    [InlineData("mm/mmap.c")]
    [InlineData("net/core/sock.c")]
    [InlineData("arch/x86/kernel/process.c")]
    public async Task A_kernel_object_does_not_differ_from_itself(string unit)
    {
        var pre = await KernelObjects.CompileAsync(unit);
        var pair = CPair.Compare(pre, pre);
        Assert.True(pair.Accepted.IsEmpty);
        Assert.Empty(pair.Diagnostics);
    }

    private static async Task<ObjectDiff> DiffAsync(string patch, string unit)
    {
        var elf = await SampleObjects.PostAsync(patch, unit);
        var diagnostics = new DiagnosticBag();
        var diff = Differ.Compare(unit, await KernelObjects.CompileAsync(unit), elf, diagnostics);
        Assert.True(diff is not null && diagnostics.Count == 0, string.Join('\n', diagnostics));
        return diff;
    }
}

/// <summary>Post objects of the samples.</summary>
internal static class SampleObjects
{
    private static readonly System.Collections.Concurrent.ConcurrentDictionary<string, Lazy<Task<ElfObject>>> Compiled = new();

    public static Task<ElfObject> PostAsync(string patch, string unit) =>
        Compiled.GetOrAdd(patch, _ => new(() => CompileAsync(patch, unit))).Value;

    private static async Task<ElfObject> CompileAsync(string patch, string unit)
    {
        var kernel = await KernelUnderTest.PreparedAsync();
        using var tree = new TestTree();
        var diagnostics = new DiagnosticBag();
        string root = tree["post"];
        var read = SourcePatch.Read(Repository.At("samples", patch), diagnostics);
        Assert.NotNull(read);
        var post = PostTree.Write(kernel.SourceDirectory, root, [read], diagnostics);
        Assert.True(post is not null, string.Join('\n', diagnostics));
        var compiled = await new UnitCompiler(kernel, NullLogger.Instance).CompileAsync(
            kernel.Units.Find(unit)!,
            root,
            tree["post.o"],
            ["-I" + Repository.At("src/Ksplice.Kernel/include")],
            diagnostics,
            TestContext.Current.CancellationToken
        );
        Assert.True(compiled is not null, string.Join('\n', diagnostics));
        return ElfObject.Read(File.ReadAllBytes(compiled.Object), unit);
    }
}
