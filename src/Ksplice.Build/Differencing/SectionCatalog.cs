// SPDX-License-Identifier: MIT
// What becomes of each section of a kernel object: the three fates of K7, and the shapes of the tables whose entries
// follow the function that they point into. Shapes are written as the places of an entry's relocations; the entry's
// size is found in the section itself and never assumed. Where releases differ, a table has several shapes.
using System.Runtime.InteropServices;
using Ksplice.Build.Elf;

namespace Ksplice.Build.Differencing;

/// <summary>What a section holds, as far as differencing cares.</summary>
internal enum SectionRole
{
    /// <summary>Nothing that the update could need: debug data, symbol tables, notes of the build.</summary>
    Ignored,

    /// <summary>Functions.</summary>
    Code,

    /// <summary>Code that alternatives put in place of other code; its entries are cut out by <c>.altinstructions</c>.</summary>
    Replacement,

    /// <summary>
    /// Code out of line: what <c>static_cpu_has</c> jumps to, what the exception table goes on at. Belongs to the function that it is for.
    /// </summary>
    Auxiliary,

    /// <summary>Variables and constants.</summary>
    Data,

    /// <summary>Mergeable strings.</summary>
    Strings,

    /// <summary>Mergeable constants of a fixed size.</summary>
    Constants,

    /// <summary>A table whose entries follow the function that they point into.</summary>
    Table,

    /// <summary>ORC's two parallel arrays: the entries, and where they point.</summary>
    OrcEntries,

    /// <summary>Data that the kernel collects by section: bound to the run copy.</summary>
    Collected,

    /// <summary>Init and exit code and data, exports, module information: not in the update, must not change.</summary>
    Dropped,

    /// <summary>Pointers to the hooks of a patch.</summary>
    Hooks,

    /// <summary>None of the above.</summary>
    Unknown,
}

/// <summary>What a field of a table's entry is for.</summary>
internal enum TableField
{
    /// <summary>The place that the entry is about.</summary>
    Key,

    /// <summary>Another place in code, of the same function or its parts.</summary>
    Code,

    /// <summary>Code in <c>.altinstr_replacement</c>.</summary>
    Replacement,

    /// <summary>The function that the kernel calls for the entry.</summary>
    Handler,

    /// <summary>A static key or static call key.</summary>
    StaticKey,

    /// <summary>Data, such as a file name.</summary>
    Data,

    /// <summary>In code: an entry of a table. What it is about stands for it.</summary>
    Entry,
}

/// <summary>A relocation of an entry.</summary>
/// <param name="Offset">Bytes from the start of the entry.</param>
/// <param name="Field">What it is for.</param>
/// <param name="Size">The bytes that it fills, 0 if that tells nothing.</param>
/// <param name="MayLack">True if there are entries without it.</param>
[StructLayout(LayoutKind.Auto)]
internal readonly record struct TableSlot(ulong Offset, TableField Field, int Size = 0, bool MayLack = false);

/// <summary>The relocations of one entry of a table, in order.</summary>
/// <param name="Section">The table's section.</param>
/// <param name="SmallestSize">An entry has at least so many bytes.</param>
/// <param name="Slots">The relocations; the first is the key, which each entry has.</param>
internal sealed record TableShape(string Section, ulong SmallestSize, params TableSlot[] Slots);

internal static class SectionCatalog
{
    // What the source tells objtool of a place in code. They matter where objtool has not run yet (K2).
    private static readonly string[] Annotations =
    [
        ".discard.reachable",
        ".discard.unreachable",
        ".discard.retpoline_safe",
        ".discard.noendbr",
        ".discard.instr_begin",
        ".discard.instr_end",
        ".discard.intra_function_calls",
        ".discard.ignore_alts",
        ".discard.validate_unret",
        ".discard.func_stack_frame_non_standard",
        ".discard.unwind_hints",
    ];

    private static readonly ILookup<string, TableShape> Tables = (
        (TableShape[])
            [
                // Without a replacement: the second alternative of static_cpu_has, up to 5.12.
                new(".altinstructions", 12, new(0, TableField.Key, 4), new(4, TableField.Replacement, 4, MayLack: true)),
                new(".parainstructions", 10, new TableSlot(0, TableField.Key)),
                // Flags; file name, line and flags; format, file name, line and flags. Either of addresses or of distances.
                new("__bug_table", 8, new TableSlot(0, TableField.Key, 4)),
                new("__bug_table", 12, new(0, TableField.Key, 4), new(4, TableField.Data, 4)),
                new("__bug_table", 16, new(0, TableField.Key, 4), new(4, TableField.Data, 4), new(8, TableField.Data, 4)),
                new("__bug_table", 16, new TableSlot(0, TableField.Key, 8)),
                new("__bug_table", 24, new(0, TableField.Key, 8), new(8, TableField.Data, 8)),
                // Of 4.6 to 5.15 the third word leads to a function.
                new("__ex_table", 8, new(0, TableField.Key, 4), new(4, TableField.Code, 4), new(8, TableField.Handler, 4, MayLack: true)),
                new("__jump_table", 16, new(0, TableField.Key, 4), new(4, TableField.Code, 4), new(8, TableField.StaticKey, 8)),
                new("__jump_table", 24, new(0, TableField.Key, 8), new(8, TableField.Code, 8), new(16, TableField.StaticKey, 8)),
                new(".static_call_sites", 8, new(0, TableField.Key), new(4, TableField.StaticKey)),
                .. ((string[])["__mcount_loc", "__patchable_function_entries", "_kprobe_blacklist"]).Select(name => Places(name, 8)),
                .. ((string[])[".smp_locks", ".retpoline_sites", ".return_sites", ".call_sites", ".ibt_endbr_seal", ".orc_unwind_ip"])
                    .Concat(Annotations)
                    .Select(name => Places(name, 4)),
            ]
    ).ToLookup(shape => shape.Section, StringComparer.Ordinal);

    // A table of places in code, of which no more is said by a relocation.
    private static TableShape Places(string section, ulong size) => new(section, size, new TableSlot(0, TableField.Key));

    // Pointers from ftrace, bpf and the like lead to what these hold; a copy would be a second, silent one.
    private static readonly HashSet<string> CollectedNames =
    [
        "__tracepoints",
        "__tracepoints_ptrs",
        "__tracepoints_strings",
        "__bpf_raw_tp_map",
        "_ftrace_events",
        "_ftrace_eval_map",
        "__syscalls_metadata",
        "__dyndbg",
        "__verbose",
        ".BTF_ids",
        "__trace_printk_fmt",
        "_error_injection_whitelist",
        "__error_injection_whitelist",
        ".static_call_tramp_key",
        MessageIndex,
        "__tracepoint_str",
        "__bpf_ctors",
    ];

    // The same, where a linker script keeps several sections apart or in an order.
    private static bool IsCollected(string name) =>
        CollectedNames.Contains(name)
        || name.StartsWith(".pci_fixup", StringComparison.Ordinal)
        || name.EndsWith("_sched_class", StringComparison.Ordinal);

    private static readonly string[] DroppedPrefixes =
    [
        ".head.text",
        "__governor_thermal_table",
        ".init",
        ".exit",
        ".meminit",
        ".memexit",
        ".cpuinit",
        ".devinit",
        ".con_initcall",
        ".lsm_info",
        ".early_lsm_info",
        ".modinfo",
        "__param",
        "__modver",
        ".x86_cpu_dev.init",
        ".apicdrivers",
        ".iommu_table",
        ".x86_intel_mid_dev",
        "__earlycon_table",
        ".builtin_fw",
    ];

    // Sections that hold functions under a name of their own. Entry and noinstr code is excluded where it is replaced.
    private static readonly HashSet<string> CodeNames =
    [
        ".text",
        ".sched.text",
        ".cpuidle.text",
        ".kprobes.text",
        ".lock.text",
        ".spinlock.text",
        ".softirqentry.text",
        ".irqentry.text",
        ".noinstr.text",
        ".entry.text",
        ".static_call.text",
        ".ref.text",
    ];

    /// <summary>
    /// True for tables of exports, one relocation to each exported symbol: <c>___ksymtab*</c>, since 6.4 <c>.export_symbol</c>.
    /// </summary>
    public static bool IsExports(string name) =>
        name.StartsWith("___ksymtab", StringComparison.Ordinal) || name.StartsWith(".export_symbol", StringComparison.Ordinal);

    /// <summary>The symbols that an object exports.</summary>
    public static HashSet<string> ExportsOf(ElfObject elf) =>
        [
            .. elf
                .Sections.Where(section => IsExports(section.Name))
                .SelectMany(section => section.Relocations)
                .Select(relocation => elf.Symbols[relocation.SymbolIndex])
                .Where(symbol => !symbol.IsInSection || elf.Sections[symbol.SectionIndex].Name != "__ksymtab_strings")
                .Select(symbol => symbol.Name),
        ];

    // Names and checksums of exports say nothing that their symbols and types do not; a built-in unit's exit calls are never made.
    private static bool IsIgnored(string name) =>
        IsExports(name)
        || name is "__ksymtab_strings" or ".exitcall.exit" or Diagnostics.Acknowledgement.SectionName
        || name.StartsWith("___kcrctab", StringComparison.Ordinal);

    /// <summary>True for annotations, which tell objtool of code and are nothing that runs.</summary>
    public static bool IsAnnotation(string name) => name.StartsWith(".discard.", StringComparison.Ordinal);

    /// <summary>True for the table of the no-ops that stand before functions (<c>-fpatchable-function-entry</c>).</summary>
    public static bool IsOfPadding(string section) => section == "__patchable_function_entries";

    /// <summary>True for a table whose entries follow the function that they point into.</summary>
    public static bool IsTable(string section) => IsRuntimeConstant(section) || Tables.Contains(section);

    /// <summary>The shapes that the table <paramref name="section"/> has in one release or another.</summary>
    public static IEnumerable<TableShape> Shapes(string section) => IsRuntimeConstant(section) ? [Places(section, 4)] : Tables[section];

    /// <summary>
    /// Where an entry of <c>.altinstructions</c> has the lengths of the original and of the replacement, by the entry's size (struct
    /// alt_instr: with a feature of 2 bytes, with the length of padding behind the lengths, with 2 bytes of flags); null if it is none
    /// of these.
    /// </summary>
    public static (int Original, int Replacement)? AlternativeLengths(ulong entrySize) =>
        entrySize switch
        {
            12 or 13 => (10, 11),
            14 => (12, 13),
            _ => null,
        };

    /// <summary>True for a table with an entry for each message: of dynamic debug, of the index of messages.</summary>
    public static bool ListsMessages(string name) => name is "__dyndbg" or "__verbose" or MessageIndex;

    /// <summary>The index of messages that debugfs shows; no code leads to its entries.</summary>
    public const string MessageIndex = ".printk_index";

    /// <summary>
    /// True for data that the compiler makes and numbers, and that is what it holds: constants without a name, and what UBSAN's calls
    /// point at.
    /// </summary>
    public static bool IsGenerated(ElfSection section) =>
        GeneratedStems.Any(stem => section.Name.StartsWith(stem, StringComparison.Ordinal))
        && (
            (section.Flags & ElfSectionFlags.Write) == ElfSectionFlags.None
            || IsUbsan(section.Name)
            || section.Name.Contains("..L__unnamed_", StringComparison.Ordinal)
        );

    /// <summary>True for what UBSAN's calls point at: a place in the source, the types of operands.</summary>
    public static bool IsUbsan(string name) => name.Contains("..Lubsan_", StringComparison.Ordinal);

    private static readonly string[] GeneratedStems = [".data..L", ".rodata..L", ".data.rel.ro..L", ".data.rel.ro.local..L"];

    // Code out of line. .fixup is of kernels up to 5.15, .text..refcount of 4.15 to 4.20.
    private static readonly HashSet<string> AuxiliaryNames = [".altinstr_aux", ".fixup", ".text..refcount"];

    /// <summary>
    /// True for the places of one constant that the kernel writes into its code at boot and into no module's (K5): <c>runtime_ptr_NAME</c>,
    /// <c>runtime_shift_NAME</c>.
    /// </summary>
    public static bool IsRuntimeConstant(string name) => RuntimeConstantSize(name) != 0;

    /// <summary>The bytes of such a place: an immediate of 8 bytes, or the count of a shift; 0 for any other section.</summary>
    public static int RuntimeConstantSize(string name) =>
        name.StartsWith("runtime_ptr_", StringComparison.Ordinal) ? 8
        : name.StartsWith("runtime_shift_", StringComparison.Ordinal) ? 1
        : 0;

    /// <summary>The role of a section.</summary>
    public static SectionRole Role(ElfSection section)
    {
        string name = section.Name;
        if (IsTable(name))
            return SectionRole.Table;
        if (
            name.StartsWith(".discard", StringComparison.Ordinal)
            || name.StartsWith(".note", StringComparison.Ordinal)
            || name.StartsWith(".debug", StringComparison.Ordinal)
            || name.StartsWith(".llvm", StringComparison.Ordinal)
            || (name.StartsWith(".kpatch.", StringComparison.Ordinal) && !section.IsExecutable)
            || name is ".comment" or ".BTF" or ".BTF.ext" or ".modinfo.tmp"
            || IsIgnored(name)
        )
            return SectionRole.Ignored;
        if (
            section.Type
            is ElfSectionType.Null
                or ElfSectionType.Rela
                or ElfSectionType.SymbolTable
                or ElfSectionType.StringTable
                or ElfSectionType.Group
                or ElfSectionType.SymbolTableExtendedIndex
        )
            return SectionRole.Ignored;
        if (name.StartsWith(".ksplice.hooks.", StringComparison.Ordinal))
            return SectionRole.Hooks;
        if (name == ".orc_unwind")
            return SectionRole.OrcEntries;
        if (name == ".altinstr_replacement")
            return SectionRole.Replacement;
        if (AuxiliaryNames.Contains(name))
            return SectionRole.Auxiliary;
        if (IsCollected(name))
            return SectionRole.Collected;
        foreach (string prefix in DroppedPrefixes)
        {
            if (name.StartsWith(prefix, StringComparison.Ordinal))
                return SectionRole.Dropped;
        }
        if (section.IsExecutable)
            return CodeNames.Contains(name) || name.StartsWith(".text.", StringComparison.Ordinal) ? SectionRole.Code : SectionRole.Unknown;
        if (!section.IsAllocated)
            return SectionRole.Unknown;
        if ((section.Flags & ElfSectionFlags.Merge) != ElfSectionFlags.None && name.StartsWith(".rodata", StringComparison.Ordinal))
            return (section.Flags & ElfSectionFlags.Strings) != ElfSectionFlags.None ? SectionRole.Strings : SectionRole.Constants;
        return IsData(name) ? SectionRole.Data : SectionRole.Unknown;
    }

    private static bool IsData(string name) =>
        name is ".data" or ".bss" or ".rodata" or ".ref.data" or ".ref.rodata" or ".sbss"
        || name.StartsWith(".data.", StringComparison.Ordinal)
        || name.StartsWith(".bss.", StringComparison.Ordinal)
        || name.StartsWith(".rodata.", StringComparison.Ordinal)
        || name.StartsWith(".vvar_", StringComparison.Ordinal);

    /// <summary>True for sections that get their meaning from where the kernel's image has them: a module's are ordinary memory.</summary>
    public static bool IsOfImage(string name) =>
        name.EndsWith("..decrypted", StringComparison.Ordinal)
        || name is ".bss..brk" or ".data..nosave"
        || name.StartsWith(".vvar_", StringComparison.Ordinal);

    /// <summary>
    /// The section that a symbol's own section stands for: what the compiler would have used without
    /// <c>-fdata-sections</c>, and where the primary puts the object.
    /// </summary>
    public static string DataClass(string name)
    {
        foreach (string stem in (ReadOnlySpan<string>)[".data", ".bss", ".rodata"])
        {
            if (name.StartsWith(stem, StringComparison.Ordinal))
            {
                // ".data..percpu" is the kernel's own; ".data.x" is x's; ".data.once" is the kernel's, but of no other use.
                return name.Length > stem.Length + 1 && name[stem.Length + 1] == '.' ? name : stem;
            }
        }
        return name;
    }
}
