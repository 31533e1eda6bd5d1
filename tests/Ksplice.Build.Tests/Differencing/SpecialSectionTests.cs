// SPDX-License-Identifier: MIT
using Ksplice.Build.Differencing;
using Ksplice.Build.Elf;
using Ksplice.Build.Tests.Kernel;

namespace Ksplice.Build.Tests.Differencing;

/// <summary>The fate of each special section: carried with its function, the running kernel's, or none of the update's business.</summary>
public sealed class SpecialSectionTests
{
    // Two functions with an entry each; the first changes.
    private static CPair WithEntries(string section, string entry, string flags = "a")
    {
        string source = $$"""
            extern long key;
            noinline int f(int a) {
                asm volatile("1: movl $1, %%eax\n2: nop\n .pushsection {{section}},\"{{flags}}\"\n {{entry}}\n .popsection" : : : "eax");
                return probe(a) + 1; }
            noinline int g(int a) {
                asm volatile("1: movl $2, %%eax\n2: nop\n .pushsection {{section}},\"{{flags}}\"\n {{entry}}\n .popsection" : : : "eax");
                return probe(a) + 3; }
            """;
        return CPair.Compare(source, source.Replace("+ 1", "- 1", StringComparison.Ordinal));
    }

    // Sizes are those of some release or of none: they are found in the section.
    [Theory]
    [InlineData("__bug_table", ".long 1b - ., key - .\\n .word 5, 0", 12)]
    [InlineData("__bug_table", ".long 1b - ., key - .\\n .word 5, 0\\n .long 0", 16)]
    [InlineData("__bug_table", ".long 1b - .\\n .word 5, 0", 8)]
    [InlineData("__bug_table", ".long 1b - ., key - ., key - .\\n .word 5, 0", 16)]
    [InlineData("__bug_table", ".quad 1b, key\\n .word 5, 0\\n .long 0", 24)]
    [InlineData("__ex_table", ".long 1b - ., 2b - .", 8)]
    [InlineData("__ex_table", ".long 1b - ., 2b - ., key - .", 12)]
    [InlineData("__ex_table", ".long 1b - ., 2b - .\\n .long 3", 12)]
    [InlineData("__ex_table", ".long 1b - ., 2b - ., 3, 4", 16)]
    [InlineData("__jump_table", ".long 1b - ., 2b - .\\n .quad key - .", 16)]
    [InlineData("__jump_table", ".quad 1b, 2b, key", 24)]
    [InlineData(".altinstructions", ".long 1b - ., 0\\n .word 1\\n .byte 5, 0", 12)]
    [InlineData(".altinstructions", ".long 1b - ., 0\\n .word 1\\n .byte 5, 0, 0", 13)]
    [InlineData(".altinstructions", ".long 1b - ., 0, 1\\n .byte 5, 0", 14)]
    [InlineData(".static_call_sites", ".long 1b - ., key - .", 8)]
    [InlineData(".parainstructions", ".quad 1b\\n .byte 0, 5, 0, 0, 0, 0, 0, 0", 16)]
    [InlineData(".smp_locks", ".long 1b - .", 4)]
    [InlineData(".retpoline_sites", ".long 1b - .", 4)]
    [InlineData(".return_sites", ".long 1b - .", 4)]
    [InlineData(".call_sites", ".long 1b - .", 4)]
    [InlineData(".ibt_endbr_seal", ".long 1b - .", 4)]
    [InlineData("__mcount_loc", ".quad 1b", 8)]
    [InlineData("__patchable_function_entries", ".quad 1b", 8)]
    [InlineData("_kprobe_blacklist", ".quad 1b", 8)]
    public void An_entry_is_carried_with_the_function_that_it_points_into(string section, string entry, int size)
    {
        var pair = WithEntries(section, entry);
        Assert.Equal(["f"], pair.Replaced);
        var piece = Assert.Single(pair.Accepted.Carried, piece => piece.Kind == CarriedKind.SpecialEntry);
        Assert.Equal((section, size), (piece.OutputSection, piece.Data.Length));
        Assert.Equal("f", pair.Accepted.Carried[piece.References[0].Piece].Name);
    }

    [Theory]
    [InlineData(".discard.addressable", ".quad 1b")]
    [InlineData(".discard.reachable", ".long 1b - .")]
    [InlineData(".discard.func_stack_frame_non_standard", ".long 1b - .")]
    [InlineData(".note.Linux", ".long 4, 4, 1, 0, 1b - .")]
    public void What_only_the_build_reads_is_left_out(string section, string entry)
    {
        var pair = WithEntries(section, entry);
        Assert.Equal(["f"], pair.Replaced);
        Assert.Equal(["f"], pair.Carried);
    }

    // As static_cpu_has: code out of line, in a section that is freed after boot.
    [Fact]
    public void Code_behind_an_alternative_is_carried_with_its_function()
    {
        const string Source = """
            extern char flag;
            static inline int has(void) {
                asm goto(".pushsection .altinstr_aux,\"ax\"\n6: testb $1, flag\n jnz %l[yes]\n jmp %l[no]\n .popsection\n"
                    " .byte 0xe9\n .long 6b - . - 4" : : : : yes, no);
                yes: return 1; no: return 0; }
            noinline int f(int a) { return has() ? probe(a) : 1; }
            noinline int g(int a) { return has() ? probe(a) + 2 : 3; }
            """;
        var pair = CPair.Compare(Source, Source.Replace(": 1;", ": 5;", StringComparison.Ordinal));
        Assert.Equal(["f"], pair.Replaced);
        var part = Assert.Single(pair.Accepted.Carried, piece => piece.OutputSection == ".altinstr_aux");
        Assert.Equal(CarriedKind.CodePart, part.Kind);
        Assert.Equal(2, part.References.Count(reference => reference.Piece >= 0 && pair.Accepted.Carried[reference.Piece].Name == "f"));
    }

    private const string Fixup =
        "int quirk(int a) { return probe(a) + 1; } "
        + "asm(\".section .pci_fixup_final,\\\"a\\\"\\n .short 0x8086, 0x1234\\n .long 0, 0\\n .long quirk - .\\n .text\");";

    [Fact]
    public void What_the_kernel_collects_leads_to_the_replaced_function_as_before()
    {
        var pair = CPair.Compare(Fixup, Fixup.Replace("+ 1", "+ 2", StringComparison.Ordinal));
        Assert.Equal(["quirk"], pair.Replaced);
        Assert.Equal(["quirk"], pair.Carried);
    }

    [Theory]
    [InlineData("int a section(\"_ftrace_events\") = 1;", "_ftrace_events")]
    [InlineData("int a section(\"__bpf_raw_tp_map\") = 1;", "__bpf_raw_tp_map")]
    [InlineData("int a section(\"__syscalls_metadata\") = 1;", "__syscalls_metadata")]
    [InlineData("int a section(\".BTF_ids\") = 1;", ".BTF_ids")]
    [InlineData("const int a section(\"__rt_sched_class\") = 1;", "__rt_sched_class")]
    public void KSP3012_a_change_of_what_the_kernel_collects(string source, string section) =>
        CPair
            .Compare(source, source.Replace("= 1", "= 2", StringComparison.Ordinal))
            .RefusedBy(DifferencingDiagnostics.CollectedChanged, section);

    [Fact]
    public void KSP3012_a_changed_fixup_of_the_bus() =>
        CPair
            .Compare(Fixup, Fixup.Replace("0x1234", "0x4321", StringComparison.Ordinal))
            .RefusedBy(DifferencingDiagnostics.CollectedChanged, ".pci_fixup_final");

    // Their numbers tell nothing, and they say the same.
    [Fact]
    public void Names_for_tracing_that_say_the_same_are_one()
    {
        const string Source = """
            #define name(text) ({ static const char *s section("__tracepoint_str") = text; s; })
            noinline void f(int a) { use((void *)name("one")); use((void *)name("one")); probe(a); }
            noinline void g(int a) { use((void *)name("two")); probe(a + 1); }
            """;
        Assert.True(CPair.Compare(Source, Source).Accepted.IsEmpty);
        Assert.Equal(["g"], CPair.Compare(Source, Source.Replace("a + 1", "a + 2", StringComparison.Ordinal)).Replaced);
        CPair
            .Compare(Source, Source.Replace("\"two\"", "\"three\"", StringComparison.Ordinal))
            .RefusedByAll(DifferencingDiagnostics.CollectedChanged, "__tracepoint_str");
    }

    [Fact]
    public void Boot_code_must_not_change()
    {
        const string Source = "int section(\".head.text\") start(int a) { return probe(a) + 1; }";
        CPair
            .Compare(Source, Source.Replace("+ 1", "+ 2", StringComparison.Ordinal))
            .RefusedBy(DifferencingDiagnostics.InitChanged, "'start'");
    }

    [Theory]
    [InlineData(".bss..decrypted")]
    [InlineData(".data..decrypted")]
    [InlineData(".data..nosave")]
    [InlineData(".vvar__vdso_data")]
    public void KSP3042_new_variable_in_a_section_of_the_image(string section)
    {
        string source = $"int old section(\"{section}\"); int f(int a) {{ return old + a; }}";
        CPair.Compare(source, $"int mine section(\"{section}\"); " + source).RefusedBy(DifferencingDiagnostics.ImageSection, "'mine'");
        Assert.Equal(["f"], CPair.Compare(source, source.Replace("+ a", "- a", StringComparison.Ordinal)).Replaced);
    }

    [Fact]
    public void Sections_of_a_group_are_like_others()
    {
        const string Source = """
            asm(".section .text.shared,\"axG\",@progbits,shared,comdat\n .weak shared\n .type shared,@function\n"
                "shared: movl $1, %eax\n ret\n .size shared, .-shared\n .text");
            int f(int a) { return a; }
            """;
        Assert.Equal(["shared"], CPair.Compare(Source, Source.Replace("$1", "$2", StringComparison.Ordinal)).Replaced);
    }

    // The assembler merges what is equal and the linker again: what counts is the content.
    [Theory]
    [InlineData(".rodata.str1.1,\\\"aMS\\\",@progbits,1", ".asciz \\\"one\\\"", ".asciz \\\"two\\\"")]
    [InlineData(".rodata.str2.2,\\\"aMS\\\",@progbits,2", ".short 111, 0", ".short 222, 0")]
    [InlineData(".rodata.cst16,\\\"aM\\\",@progbits,16", ".quad 1, 2", ".quad 3, 4")]
    public void Mergeable_content_is_what_it_holds(string section, string first, string second)
    {
        string Source(string before, string content) =>
            $$"""
                asm(".section {{section}}\n {{before}}\n.Lit: {{content}}\n .text");
                noinline int f(int a) { asm volatile("movl .Lit(%%rip), %%eax" : : : "eax"); return probe(a); }
                """;
        Assert.True(CPair.Compare(Source("", first), Source(second, first)).Accepted.IsEmpty);
        Assert.Equal(["f"], CPair.Compare(Source("", first), Source("", second)).Replaced);
    }

    // A unit for each section that few have; the list for all units is in docs/design.md.
    [Theory]
    [InlineData("drivers/pci/quirks.c")]
    [InlineData("kernel/sched/build_policy.c")]
    [InlineData("kernel/time/vsyscall.c")]
    [InlineData("kernel/rcu/tree.c")]
    [InlineData("kernel/bpf/core.c")]
    [InlineData("arch/x86/kernel/head64.c")]
    [InlineData("arch/x86/kernel/kvmclock.c")]
    [InlineData("drivers/tty/serial/8250/8250_early.c")]
    public async Task Every_section_that_is_loaded_has_its_fate(string unit)
    {
        var elf = await KernelObjects.CompileAsync(unit);
        Assert.Empty(
            elf.Sections.Where(section => section.IsAllocated && SectionCatalog.Role(section) == SectionRole.Unknown)
                .Select(section => section.Name)
        );
        Assert.True(CPair.Compare(elf, elf).Accepted.IsEmpty);
    }

    [Fact]
    public async Task Every_section_of_assembly_has_its_fate()
    {
        foreach (string unit in await KernelObjects.AssemblyAsync())
        {
            var elf = await KernelObjects.CompileAsync(unit);
            Assert.Empty(
                elf.Sections.Where(section => section.IsAllocated && SectionCatalog.Role(section) == SectionRole.Unknown)
                    .Select(section => section.Name)
            );
            Assert.True(CPair.Compare(elf, elf).Accepted.IsEmpty);
        }
    }
}
