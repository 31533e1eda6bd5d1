// SPDX-License-Identifier: MIT
// Names and numbers of lines in objects of the real kernel. The oracle is the compiler on the patched file without any directive: what
// line of it an instruction comes from.
using System.Text;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Dwarf;
using Ksplice.Build.Elf;
using Ksplice.Build.Kernel;
using Ksplice.Build.Patching;
using Ksplice.Build.Tests.Differencing;
using Ksplice.Build.Tests.Kernel;
using Microsoft.Extensions.Logging.Abstractions;

namespace Ksplice.Build.Tests.Patching;

public sealed class SourcePlaceTests
{
    private const string Unit = "fs/proc/task_mmu.c";

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    private static async Task<ElfObject> CompileAsync(TestTree tree, PostTree post, string unit)
    {
        var kernel = await KernelUnderTest.PreparedAsync();
        var compiled = await new UnitCompiler(kernel, NullLogger.Instance).CompileAsync(
            kernel.Units.Find(unit)!,
            post.Root,
            tree["post.o"],
            [],
            [],
            Cancellation
        );
        return ElfObject.Read(File.ReadAllBytes(Assert.IsType<CompiledUnit>(compiled).Object), unit);
    }

    private static async Task<PostTree> WriteAsync(TestTree tree, SourcePatch patch) =>
        Assert.IsType<PostTree>(
            PostTree.Write((await KernelUnderTest.PreparedAsync()).SourceDirectory, tree["post"], [patch], [], null, Cancellation)
        );

    private static async Task<PostTree> ChangeAsync(TestTree tree, string file, string old, string now)
    {
        string text = File.ReadAllText(Path.Combine((await KernelUnderTest.PreparedAsync()).SourceDirectory, file), Encoding.Latin1);
        int at = text.IndexOf(old, StringComparison.Ordinal);
        Assert.True(at >= 0, $"{file} does not hold '{old}'");
        tree.Write("a/" + file, text);
        tree.Write("b/" + file, text[..at] + now + text[(at + old.Length)..]);
        return await WriteAsync(tree, Patches.Parse(tree.Run("diff", "-u", "a/" + file, "b/" + file).Output));
    }

    /// <summary>The source of every byte of a function, as the line table has it.</summary>
    private static List<SourceLocation?> Places(ElfObject elf, string name)
    {
        var symbol = elf.Symbols.Single(symbol => symbol.Name == name && symbol.Type == ElfSymbolType.Function);
        var lines = LineTable.Read(elf)!;
        return [.. Enumerable.Range(0, (int)symbol.Size).Select(offset => lines.Find(symbol.SectionIndex, symbol.Value + (ulong)offset))];
    }

    [Fact]
    public async Task Every_byte_of_sample_b_comes_from_the_line_that_the_patched_file_has()
    {
        using TestTree tree = new();
        var post = await WriteAsync(tree, SourcePatch.Read(Repository.At("samples/b-kernel-pages/kernel-pages.patch"), [])!);
        string path = Path.Combine(post.Root, Unit);
        var known = LineDirectives.Read(Unit, File.ReadAllLines(path, Encoding.Latin1));
        var marked = await CompileAsync(tree, post, Unit);
        string[] patched =
        [
            .. File.ReadAllLines(path, Encoding.Latin1)
                .Where(line => !line.StartsWith("#line ", StringComparison.Ordinal) && !line.StartsWith("# ", StringComparison.Ordinal)),
        ];
        await File.WriteAllLinesAsync(path, patched, Encoding.Latin1, Cancellation);
        var plain = await CompileAsync(tree, post, Unit);
        var replaced = Differ.Compare(Unit, await KernelObjects.CompileAsync(Unit), marked, [])!.Replaced;
        Assert.Equal(["m_next", "m_start"], replaced.Select(function => function.Name).Order());
        foreach (string name in (string[])["m_next", "m_start", "proc_get_vma", "proc_shows_kernel_pages", "show_map_vma"])
        {
            var places = Places(marked, name);
            Assert.Equal(
                Places(plain, name).Select(place => place?.Path == Unit ? patched[place.Line - 1] : place?.ToString()),
                places.Select(place =>
                    place is not null && LineDirectives.PathOf(place.Path) == Unit ? known[(place.Path, place.Line)] : place?.ToString()
                )
            );
            // Where a place has the mark, the number is the patched file's.
            foreach (var place in places.OfType<SourceLocation>().Where(place => place.Path == "/ksplice-patched/0/" + Unit))
                Assert.Equal(patched[place.Line - 1], known[(place.Path, place.Line)]);
            Assert.Equal(name is not ("m_next" or "show_map_vma"), places.Exists(place => place?.Path.StartsWith('/') == true));
        }
    }

    [Fact]
    public async Task Functions_that_a_changed_header_shifts_stay_as_they_are()
    {
        // check_copy_size, which is inlined, has a WARN with the header's name and the line.
        const string Header = "include/linux/thread_info.h";
        using TestTree tree = new();
        var post = await ChangeAsync(tree, Header, "#include <linux/types.h>\n", "#include <linux/types.h>\n\nstruct added;\n");
        foreach (string unit in (string[])[Unit, "arch/x86/lib/copy_user_64.S"])
        {
            var diff = Differ.Compare(unit, await KernelObjects.CompileAsync(unit), await CompileAsync(tree, post, unit), []);
            Assert.True(diff!.IsEmpty);
        }
        File.WriteAllLines(
            Path.Combine(post.Root, Header),
            File.ReadAllLines(Path.Combine(post.Root, Header))
                .Where(line => !line.StartsWith("# ", StringComparison.Ordinal) && !line.StartsWith("#line ", StringComparison.Ordinal))
        );
        Assert.NotEmpty(Differ.Compare(Unit, await KernelObjects.CompileAsync(Unit), await CompileAsync(tree, post, Unit), [])!.Replaced);
    }

    [Fact]
    public async Task A_warning_in_a_marked_statement_has_the_name_and_line_of_the_patched_file()
    {
        using TestTree tree = new();
        var post = await ChangeAsync(
            tree,
            Unit,
            "static void *m_start(struct seq_file *m, loff_t *ppos)\n{\n",
            "static void *m_start(struct seq_file *m, loff_t *ppos)\n{\n\tint new = WARN_ON_ONCE(*ppos == 4711);\n"
        );
        int line =
            Array.FindIndex(File.ReadAllLines(Path.Combine(tree["b"], Unit)), text => text.Contains("4711", StringComparison.Ordinal)) + 1;
        var elf = await CompileAsync(tree, post, Unit);
        // struct bug_entry: two relative addresses, the line, the flags.
        var table = elf.FindSection("__bug_table")!;
        var lines = Enumerable
            .Range(0, (int)table.Size / 12)
            .Select(entry => System.Buffers.Binary.BinaryPrimitives.ReadUInt16LittleEndian(table.Data.Span[((entry * 12) + 8)..]));
        Assert.Contains((ushort)line, lines);
        Assert.DoesNotContain(elf.Sections, section =>
            section.Name.StartsWith(".rodata", StringComparison.Ordinal) && section.Data.Span.IndexOf("ksplice-patched"u8) >= 0
        );
        Assert.Equal(["m_start"], Differ.Compare(Unit, await KernelObjects.CompileAsync(Unit), elf, [])!.Replaced.Select(f => f.Name));
    }

    [Fact]
    public async Task What_an_update_below_brought_stays_as_it_is_under_added_lines()
    {
        var kernel = await KernelUnderTest.PreparedAsync();
        string original = File.ReadAllText(Path.Combine(kernel.SourceDirectory, Unit), Encoding.Latin1);
        const string Start = "static void *m_start(struct seq_file *m, loff_t *ppos)\n{\n";
        string below = original.Replace(Start, Start + "\tint new = WARN_ON_ONCE(*ppos == 4711);\n", StringComparison.Ordinal);
        string above = below.Replace(Start, "struct upper_one;\nstruct upper_two;\n\n" + Start, StringComparison.Ordinal);
        using TestTree tree = new();
        SourcePatch Patch(string before, string after, int update)
        {
            tree.Write("a/" + Unit, before);
            tree.Write("b/" + Unit, after);
            return Patches.Parse(tree.Run("diff", "-u", "a/" + Unit, "b/" + Unit).Output) with { Update = update };
        }
        var (lower, upper) = (Patch(original, below, 0), Patch(below, above, 1));
        async Task<ElfObject> Compile(string folder, params SourcePatch[] patches)
        {
            var post = PostTree.Write(kernel.SourceDirectory, tree[folder], patches, [], null, Cancellation)!;
            var compiled = await new UnitCompiler(kernel, NullLogger.Instance).CompileAsync(
                kernel.Units.Find(Unit)!,
                post.Root,
                tree[folder + ".o"],
                [LineDirectives.MarkMap(1)],
                [],
                Cancellation
            );
            return ElfObject.Read(File.ReadAllBytes(compiled!.Object), Unit);
        }
        var pre = await Compile("lower", lower);
        Assert.True(Differ.Compare(Unit, pre, await Compile("upper", lower, upper), [])!.IsEmpty);
        // Were they one update, the line of the warning would be another.
        var one = await Compile("one", lower, upper with { Update = 0 });
        Assert.Equal(["m_start"], Differ.Compare(Unit, pre, one, [])!.Replaced.Select(function => function.Name));
    }

    [Fact]
    public async Task An_added_instruction_of_assembly_is_marked_and_the_next_is_not()
    {
        const string Assembly = "arch/x86/lib/copy_user_64.S";
        using TestTree tree = new();
        var post = await ChangeAsync(
            tree,
            Assembly,
            "SYM_FUNC_START(copy_user_generic_unrolled)\n",
            "SYM_FUNC_START(copy_user_generic_unrolled)\n\tnop\n"
        );
        int line = Array.IndexOf(File.ReadAllLines(Path.Combine(tree["b"], Assembly)), "SYM_FUNC_START(copy_user_generic_unrolled)") + 1;
        var places = Places(await CompileAsync(tree, post, Assembly), "copy_user_generic_unrolled");
        Assert.Contains(new SourceLocation("/ksplice-patched/0/" + Assembly, line + 1), places);
        // ASM_STAC, which follows, leaves room and has no line of its own.
        Assert.Contains(new SourceLocation(Assembly, line + 2), places);
    }
}
