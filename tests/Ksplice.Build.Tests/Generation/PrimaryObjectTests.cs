// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Ksplice.Build.Elf;
using Ksplice.Build.Generation;
using Ksplice.Build.Matching;
using Ksplice.Build.Targets;
using Ksplice.Build.Tests.Differencing;
using Ksplice.Build.Tests.Kernel;
using Ksplice.Build.Tests.Patching;

namespace Ksplice.Build.Tests.Generation;

/// <summary>The primary's object, with the linker, eu-elflint and the C headers as oracles.</summary>
public sealed class PrimaryObjectTests : IDisposable
{
    private const string Id = "0123abcd";
    private static readonly UpdateTarget Kernel = new(Id, UpdateTarget.KernelName, 0, 1);

    private readonly TestTree _tree = new();

    public void Dispose() => _tree.Dispose();

    [Theory]
    [InlineData("a-smaps-pages/smaps-pages.patch", "fs/proc/task_mmu.c", 1)]
    [InlineData("b-kernel-pages/kernel-pages.patch", "fs/proc/task_mmu.c", 2)]
    [InlineData("c-kmsg-permission/kmsg-permission.patch", "kernel/printk/printk.c", 1)]
    public async Task A_samples_primary_satisfies_the_linker_and_elflint(string patch, string unit, int redirects)
    {
        var diagnostics = new DiagnosticBag();
        var diff = Differ.Compare(unit, await KernelObjects.CompileAsync(unit), await SampleObjects.PostAsync(patch, unit), diagnostics)!;
        var exported = KernelExports.Read(Path.Combine(KernelUnderTest.HeadersPath, "Module.symvers"), diagnostics)!.BesideTarget(null);
        var primary = PrimaryObject.Build([diff], MatchOf(exported, diff), Kernel, exported, DataSource.Create(Id, [diff]), diagnostics);
        Assert.True(primary is not null, string.Join('\n', diagnostics));
        Accept(primary);
        // Nothing is left undefined that neither the kernel nor the helper exports.
        Assert.All(primary.Code.Symbols.Where(symbol => symbol.IsUndefined && symbol.Name.Length != 0), symbol =>
            Assert.True(
                exported.Find(symbol.Name) is not null || symbol.Name.StartsWith("ksp_" + Id, StringComparison.Ordinal),
                symbol.Name
            )
        );
        Assert.Equal((uint)redirects, MemoryMarshal.Read<CodeTable>(Code(primary)).RedirectCount);
    }

    [Fact]
    public void Redirects_follow_the_order_of_the_match_data_and_point_at_the_new_bodies()
    {
        const string Source = "int f(int a) { return probe(a) * 3; } int g(int a) { return probe(a) * 30 + 1; }";
        var diff = Diff("a.c", Source, Source.Replace("* 3", "* 5", StringComparison.Ordinal));
        var match = new MatchData([1], [new GlobalSymbol("probe")], [new("a.c", "g"), new("a.c", "f")]);
        var primary = Build(match, diff)!;
        Accept(primary);
        var table = primary.Code.Sections.Single(section => section.Name == ".ksplice.redirects");
        Assert.Equal([0u, 1u], MemoryMarshal.Cast<byte, RedirectEntry>(table.Data.Span).ToArray().Select(redirect => redirect.Function));
        Assert.Equal(["g", "f"], table.Relocations.Select(relocation => Target(primary, relocation).Name));
        Assert.Equal(
            ["g", "f"],
            Enumerable
                .Range(0, 2)
                .Select(i =>
                    primary
                        .Code.Symbols.Single(symbol =>
                            symbol.Type == ElfSymbolType.Function
                            && symbol.Size == MemoryMarshal.Cast<byte, RedirectEntry>(table.Data.Span)[i].Size
                            && symbol.Name == (i == 0 ? "g" : "f")
                        )
                        .Name
                )
        );
        Assert.Equal(
            "ksplice_code",
            primary.Code.Symbols.Single(symbol => symbol.Binding == ElfSymbolBinding.Global && !symbol.IsUndefined).Name
        );
    }

    [Fact]
    public void Each_list_of_hooks_is_pointed_at_from_its_place()
    {
        const string Hook =
            "static void up(void) { probe(1); } static void (*const h1)(void) section(\".ksplice.hooks.apply\") = up;"
            + " static void down(void) { probe(2); } static void (*const h2)(void) section(\".ksplice.hooks.fail_reverse\") = down;";
        var primary = Build(Diff("a.c", "int f(int a) { return probe(a); }", "int f(int a) { return probe(a) + 1; } " + Hook))!;
        Accept(primary);
        var code = primary.Code.Sections.Single(section => section.Name == ".ksplice.code");
        var table = MemoryMarshal.Read<CodeTable>(code.Data.Span);
        Assert.Equal((ulong)Unsafe.SizeOf<CodeTable>(), code.Size);
        Assert.Equal((PrimaryTables.Abi, 1u, 0ul), (table.Abi, table.RedirectCount, table.RelocationCount));
        int apply = Array.IndexOf(PrimaryTables.HookNames, "apply"),
            failReverse = Array.IndexOf(PrimaryTables.HookNames, "fail_reverse");
        for (int kind = 0; kind < PrimaryTables.HookCount; kind++)
            Assert.Equal(kind == apply || kind == failReverse ? 1ul : 0, table.Hooks[kind].Count);
        Assert.Equal(
            [
                (".ksplice.redirects", PrimaryTables.OffsetOf(in table, in table.Redirects)),
                (".ksplice.hooks.apply", PrimaryTables.OffsetOf(in table, in table.Hooks[apply].Calls)),
                (".ksplice.hooks.fail_reverse", PrimaryTables.OffsetOf(in table, in table.Hooks[failReverse].Calls)),
            ],
            code.Relocations.Select(relocation =>
                (primary.Code.Sections[primary.Code.Symbols[relocation.SymbolIndex].SectionIndex].Name, (int)relocation.Offset)
            )
        );
    }

    [Fact]
    public void What_the_kernel_exports_is_bound_by_its_name_and_its_namespace_imported()
    {
        var diff = Diff("a.c", "int f(int a) { return probe(a); }", "int f(int a) { return probe(a) + printk(0); }");
        var exported = new ExportedSymbols([new("probe", "TEST_NS")]);
        var primary = Build(MatchOf(exported, diff), exported, new DiagnosticBag(), diff)!;
        Accept(primary);
        Assert.Equal(["TEST_NS"], primary.Namespaces);
        Assert.Equal(
            ["ksp_" + Id + "_0_0000", "probe"],
            primary
                .Code.Symbols.Where(symbol => symbol.IsUndefined && symbol.Name.Length != 0)
                .Select(symbol => symbol.Name)
                .Order(StringComparer.Ordinal)
        );
    }

    [Fact]
    public void A_call_across_units_reaches_the_new_code_and_an_address_the_old()
    {
        const string Callee = "int f(int a) { return probe(a) * 3; }";
        const string Caller = "extern int f(int); int g(int a) { use(f); return f(a) + 1; }";
        var one = Diff("a.c", Callee, Callee.Replace("* 3", "* 5", StringComparison.Ordinal));
        var two = Diff("b.c", Caller, Caller.Replace("+ 1", "+ 2", StringComparison.Ordinal));
        var primary = Build(two, one)!;
        Accept(primary);
        var text = primary.Code.Sections.Single(section => section.Name == ".text");
        var g = primary.Code.Symbols.Single(symbol => symbol.Name == "g");
        var targets = text
            .Relocations.Where(relocation => relocation.Offset >= g.Value)
            .Select(relocation => Target(primary, relocation))
            .ToList();
        Assert.Contains(targets, target => target.Name == "f");
        int address = MatchOf(new ExportedSymbols([]), two, one).Exports.IndexOf(new GlobalSymbol("f"));
        Assert.Contains(targets, target => target.Name == Kernel.ExportName(address));
    }

    [Fact]
    public void KSP6001_symbol_not_resolved()
    {
        var diff = Diff("a.c", "int f(int a) { return probe(a); }", "int f(int a) { return probe(a) + 1; }");
        Refused("KSP6001", MatchOf(new ExportedSymbols([]), diff) with { Exports = [] }, diff);
    }

    [Fact]
    public void KSP6002_function_not_in_the_match_data()
    {
        var diff = Diff("a.c", "int f(int a) { return probe(a); }", "int f(int a) { return probe(a) + 1; }");
        Refused("KSP6002", MatchOf(new ExportedSymbols([]), diff) with { Functions = [new("b.c", "f")] }, diff);
    }

    [Fact]
    public void KSP6003_nothing_to_update()
    {
        var diff = Diff("a.c", "int f(int a) { return probe(a); }", "int f(int a) { return probe(a); }");
        Refused("KSP6003", MatchOf(new ExportedSymbols([]), diff), diff);
    }

    [Fact]
    public void KSP6004_function_moved_to_another_unit()
    {
        const string Moved = "int f(int a) { return probe(a); } ",
            Kept = "int g(int a) { return probe(a) + 1; }",
            Other = "int h(int a) { return probe(a) + 2; }";
        ObjectDiff[] diffs = [Diff("a.c", Moved + Kept, Kept), Diff("b.c", Other, Moved + Other)];
        Refused("KSP6004", MatchOf(new ExportedSymbols([]), diffs), diffs);
    }

    [Fact]
    public void KSP6005_global_name_defined_twice()
    {
        const string New = " int f(int a) { return probe(a); }";
        ObjectDiff[] diffs = [Diff("a.c", "", New), Diff("b.c", "", New)];
        Refused("KSP6005", MatchOf(new ExportedSymbols([]), diffs), diffs);
    }

    [Fact]
    public void KSP6013_update_that_cannot_be_unloaded()
    {
        var diagnostics = new DiagnosticBag();
        var diff = Diff("a.c", "void f(void) { use(0); }", "static int guard(int a) { return probe(a); } void f(void) { use(guard); }");
        var primary = Build(MatchOf(new ExportedSymbols([]), diff), new ExportedSymbols([]), diagnostics, diff)!;
        Accept(primary);
        Assert.True(primary.IsPinned);
        Assert.Equal(("KSP6013", DiagnosticSeverity.Info), (Assert.Single(diagnostics).Id, diagnostics.First().Severity));
    }

    [Fact]
    public void Strings_and_constants_whose_address_goes_somewhere_are_the_data_modules()
    {
        const string Source = "int f(int a) { return probe(a); }";
        var diff = Diff(
            "a.c",
            Source,
            """
            static const int numbers[4] = { 3, 1, 4, 1 }, read[4] = { 5, 9, 2, 6 };
            int f(int a) { use((void *)"text"); use((void *)(numbers + 2)); return probe(a) + read[a & 3]; }
            """
        );
        var data = DataSource.Create(Id, [diff])!;
        DiagnosticBag diagnostics = [];
        var primary = Build(MatchOf(new ExportedSymbols([]), diff), new ExportedSymbols([]), diagnostics, diff)!;
        Accept(primary);
        Assert.False(primary.IsPinned);
        Assert.Empty(diagnostics);
        // The primary keeps what it only reads, and has the others from the data module: where the addend says, numbers are read from 2 on.
        Assert.Contains(primary.Code.Symbols, symbol => symbol.Name == "read" && !symbol.IsUndefined);
        Assert.DoesNotContain(primary.Code.Symbols, symbol => symbol.Name == "numbers");
        var text = primary.Code.Sections.Single(section => section.Name == ".text");
        int[] numbers = [3, 1, 4, 1];
        Assert.Equal(
            [("text\0"u8.ToArray(), 0L), (MemoryMarshal.AsBytes<int>(numbers).ToArray(), 8)],
            DataSourceTests
                .Link(_tree, data)
                .Join(
                    text.Relocations,
                    export => export.Name,
                    relocation => primary.Code.Symbols[relocation.SymbolIndex].Name,
                    (export, relocation) => (export.Bytes, relocation.Addend)
                )
        );
    }

    // K20: neither unit alone tells that the address of what the one brings goes somewhere.
    [Theory]
    [InlineData(PinKind.Function, "int fresh(int a) { return probe(a); }", "int fresh(int);", "use(fresh);")]
    [InlineData(PinKind.Variable, "int fresh = 3;", "extern int fresh;", "use(&fresh);")]
    [InlineData(PinKind.Table, "int (*const fresh[1])(int) = { probe };", "extern int (*const fresh[1])(int);", "use((void *)fresh);")]
    [InlineData(PinKind.Constant, "const int fresh[2] = { 3, 4 };", "extern const int fresh[2];", "use((void *)fresh);")]
    [InlineData(null, "int fresh(int a) { return probe(a); }", "int fresh(int);", "fresh(7);")]
    [InlineData(null, "int fresh = 3;", "extern int fresh;", "fresh++;")]
    public void An_address_that_another_unit_hands_out_is_seen(PinKind? kind, string brought, string declared, string handedOut)
    {
        var diffs = ObjectDiff.Together([
            Diff("a.c", "int f(int a) { return probe(a); }", declared + " int f(int a) { " + handedOut + " return probe(a); }"),
            Diff("b.c", "", brought),
        ]);
        Assert.Equal(kind is null ? [] : [new PinReason(kind.Value, "f", "fresh")], diffs.SelectMany(diff => diff.Pins));
        bool kept = kind == PinKind.Constant;
        Assert.Equal(kept, diffs[1].Carried.Single(piece => piece.Name == "fresh").IsKept);
        var primary = Build(MatchOf(new ExportedSymbols([]), [.. diffs]), [.. diffs])!;
        Accept(primary);
        Assert.Equal(kind is not null && !kept, primary.IsPinned);
        Assert.Equal(kept, DataSource.Create(Id, diffs) is not null);
    }

    [Fact]
    public void Runtime_constants_are_places_for_the_core_and_no_exports()
    {
        // asm/runtime-const.h of the kernels that have them.
        const string Source = """
            int f(int a)
            {
                unsigned long v;
                __asm__("mov %1, %0\n1:\n.pushsection runtime_ptr_thing, \"a\"\n.long 1b - 8 - .\n.popsection"
                    : "=r" (v) : "i" (0x0123456789abcdefUL));
                __asm__("shrl $12, %k0\n1:\n.pushsection runtime_shift_thing, \"a\"\n.long 1b - 1 - .\n.popsection" : "+r" (v));
                return probe(a) + v;
            }
            """;
        var diff = Diff("a.c", Source, Source.Replace("+ v", "- v", StringComparison.Ordinal));
        var match = MatchOf(new ExportedSymbols([]), diff);
        Assert.Equal(
            [new GlobalSymbol("probe"), new RuntimeConstant("runtime_ptr_thing"), new RuntimeConstant("runtime_shift_thing")],
            match.Exports
        );
        Assert.Equal(1, HelperSource.Create(Kernel, match).ExportCount);

        var primary = Build(match, diff)!;
        Accept(primary);
        Assert.DoesNotContain(primary.Code.Sections, section => section.Name.StartsWith("runtime_", StringComparison.Ordinal));
        var table = primary.Code.Sections.Single(section => section.Name == ".ksplice.relocations");
        Assert.Equal([(0, 0, ElfRelocationType.Abs64), (0, 1, ElfRelocationType.Abs8)], CoreRelocations(table));
        var text = primary.Code.Sections.Single(section => section.Name == ".text").Data.Span;
        Assert.Equal(0x0123456789abcdeful, BinaryPrimitives.ReadUInt64LittleEndian(text[(int)table.Relocations[0].Addend..]));
        Assert.Equal(12, text[(int)table.Relocations[1].Addend]);
        var code = primary.Code.Sections.Single(section => section.Name == ".ksplice.code");
        var layout = MemoryMarshal.Read<CodeTable>(code.Data.Span);
        Assert.Equal(2ul, layout.RelocationCount);
        Assert.Equal((ulong)PrimaryTables.OffsetOf(in layout, in layout.Relocations), code.Relocations[^1].Offset);
    }

    private static (long Addend, int Value, ElfRelocationType Type)[] CoreRelocations(ElfSection table) =>
        [
            .. MemoryMarshal
                .Cast<byte, RelocationEntry>(table.Data.Span)
                .ToArray()
                .Select(entry => (entry.Addend, (int)entry.Value, (ElfRelocationType)entry.Type)),
        ];

    [Fact]
    public void A_late_target_leaves_to_the_core_what_the_kernel_does_not_export()
    {
        const string Source = "extern int table[4]; int f(int a) { return probe(a) + table[a] + printk(0); }";
        var diff = Diff(
            "a.c",
            Source,
            Source
                .Replace("int f", "static int *places[2] = { table, table + 3 }; int f", StringComparison.Ordinal)
                .Replace("table[a]", "*places[a]++", StringComparison.Ordinal)
        );
        var exported = new ExportedSymbols([new("printk", "")]);
        Assert.Null(LateTarget.Obstacle([diff], exported));
        var late = Kernel with { Name = "some", IsLate = true };
        var match = MatchOf(exported, diff);
        var primary = PrimaryObject.Build([diff], match, late, exported, null, [])!;
        Accept(primary);
        Assert.Equal(
            ["ksplice_unresolved", "printk"],
            primary
                .Code.Symbols.Where(symbol => symbol.IsUndefined && symbol.Name.Length != 0)
                .Select(symbol => symbol.Name)
                .Order(StringComparer.Ordinal)
        );
        int probe = match.Exports.IndexOf(new GlobalSymbol("probe")),
            table = match.Exports.IndexOf(new GlobalSymbol("table"));
        Assert.Equal(
            [(-4, probe, ElfRelocationType.Pc32), (0, table, ElfRelocationType.Abs64), (12, table, ElfRelocationType.Abs64)],
            CoreRelocations(primary.Code.Sections.Single(section => section.Name == ".ksplice.relocations")).Order()
        );

        var helper = HelperSource.Create(late, match);
        Assert.Equal((0, ""), (helper.ExportCount, helper.SymbolVersions));
        Assert.Contains(".section \".rodata\"", helper.Assembly, StringComparison.Ordinal);
        Assert.Contains(".section \".init.rodata\"", HelperSource.Create(Kernel, match).Assembly, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("static void up(void) { } static void (*const h)(void) section(\".ksplice.hooks.apply\") = up;", "a.c has a hook")]
    [InlineData(
        "int g(void) { __asm__ goto(\"1: .byte 0x0f,0x1f,0x44,0,0\\n.pushsection __jump_table, "
            + "\\\"aw\\\"\\n.balign 8\\n.long 1b - .\\n.long %l[yes] - .\\n.quad %c0 - .\\n.popsection\" : : \"i\" (table) : : yes); "
            + "return 0; yes: return 1; }",
        "an entry in __jump_table about table"
    )]
    public void What_the_loader_has_to_know_of_a_module_cannot_be_late(string added, string reason)
    {
        const string Source = "extern int table[4]; int f(int a) { return probe(a) + table[a & 1]; }";
        var diff = Diff("a.c", Source, Source.Replace("a & 1", "a & 1 ^ 1", StringComparison.Ordinal) + added);
        Assert.Contains(reason, LateTarget.Obstacle([diff], new ExportedSymbols([])), StringComparison.Ordinal);
        var target = new TargetDiffs(Kernel with { Name = "some" }, [diff]).LateIfPossible(new ExportedSymbols([]));
        Assert.False(target.Target.IsLate);
        Assert.Contains(reason, target.LateObstacle, StringComparison.Ordinal);
    }

    [Fact]
    public void Units_that_say_the_same_share_the_running_kernels_literal()
    {
        ObjectDiff[] diffs = [.. new[] { 'a', 'b' }.Select(name => Diff($"{name}.c", Source(name, "3"), Source(name, "5")))];
        DiagnosticBag diagnostics = [];
        var match = MatchDataBuilder.Build(diffs, new ExportedSymbols([]).SymbolsToResolve(diffs), diagnostics);
        Assert.True(match is not null, string.Join('\n', diagnostics));
        Assert.Equal("said by both", Assert.Single(match.Exports.OfType<StringLiteral>()).Content);
        Accept(Build(match, diffs)!);

        static string Source(char name, string factor) =>
            $"extern int say(const char *, int); int {name}(int x) {{ return say(\"said by both\", x) * {factor}; }}";
    }

    [Fact]
    public void The_no_ops_before_a_function_come_along_and_their_table_is_in_the_order_of_the_text()
    {
        const string Source = "int f(int a) { return probe(a) * 3; } int g(int a) { return probe(a) * 30 + 1; }";
        string[] padded = ["-fpatchable-function-entry=16,16"];
        DiagnosticBag diagnostics = [];
        var diff = Differ.Compare(
            "a.c",
            CPair.Compile(Source, padded),
            CPair.Compile(Source.Replace("* 3", "* 5", StringComparison.Ordinal), padded),
            diagnostics
        )!;
        var primary = Build(diff)!;
        Accept(primary);
        var text = primary.Code.Sections.Single(section => section.Name == ".text");
        Assert.All(primary.Code.Symbols.Where(symbol => symbol.Name is "f" or "g"), symbol =>
            Assert.False(text.Data.Span.Slice((int)symbol.Value - 16, 16).ContainsAnyExcept((byte)0x90), symbol.Name)
        );
        var table = primary.Code.Sections.Single(section => section.Name == "__patchable_function_entries");
        Assert.Equal((ElfSectionFlags.LinkOrder, (uint)text.Index), (table.Flags & ElfSectionFlags.LinkOrder, table.Link));
        Assert.Equal(
            primary.Code.Symbols.Where(symbol => symbol.Name is "f" or "g").Select(symbol => symbol.Value - 16).Order(),
            table.Relocations.Select(relocation => (ulong)relocation.Addend).Order()
        );
    }

    // A function, a variable, and a constant whose address is handed out: that one is in the data module.
    [Fact]
    public void What_a_primary_brings_for_another_it_exports_by_a_name_that_is_the_updates()
    {
        const string Source = "int f(int a) { return probe(a) * 3; }",
            User = "extern int fresh(int), count; extern const int limits[4]; int g(int a) { return probe(a) * 3; }";
        var brings = Diff(
            "a.c",
            Source,
            "int fresh(int a) { return probe(a) * 7; } int count = 5; const int limits[4] = {1, 2, 3, 4};"
                + Source.Replace("* 3", "* 5", StringComparison.Ordinal)
        );
        var needs = Diff(
            "b.c",
            User,
            User.Replace("return probe(a) * 3", "use(limits); return probe(a) * fresh(a) + count++", StringComparison.Ordinal)
        );
        var targets = TargetDiffs.Split(
            Id,
            [.. ObjectDiff.Together([brings, needs]).Zip(["vmlinux", "loop"], (diff, target) => new UnitDiff(target, diff))],
            []
        )!;
        var data = DataSource.Create(Id, [.. targets.SelectMany(target => target.Diffs)]);
        ExportedSymbols kernel = new([new("probe", ""), new("use", "")]);
        var built = targets.Select(target => BuildTarget(target, kernel.With(target.Borrowed), data)).ToList();
        Assert.All(built, Accept);
        Assert.Equal([$"ksp_{Id}_0_new_0000", $"ksp_{Id}_0_new_0001"], built[0].Exports);
        Assert.Equal(["count", "fresh"], built[0].Exports.Select(export => NameBeside(built[0], export)));
        Assert.Empty(built[1].Exports);
        Assert.Equal(
            [.. built[0].Exports, data!.ExportOf(targets[0].Lent[2].Diff, targets[0].Lent[2].Piece), "probe", "use"],
            built[1]
                .Code.Symbols.Where(symbol => symbol.IsUndefined && symbol.Name.Length != 0)
                .Select(symbol => symbol.Name)
                .Order(StringComparer.Ordinal)
        );
        Assert.True(targets[0].Lent[2].IsKept);
        var lent = LentSource.Create(targets[0].Target, built[0])!;
        Assert.Null(LentSource.Create(targets[1].Target, built[1]));
        Assert.All(built[0].Exports, export =>
        {
            Assert.Contains($"___ksymtab_gpl+{export}", lent.Assembly, StringComparison.Ordinal);
            Assert.Contains($"\t{export}\t{targets[0].Target.Primary}\tEXPORT_SYMBOL_GPL\t", lent.SymbolVersions, StringComparison.Ordinal);
        });

        // The symbol of the source that stands where an export does.
        static string NameBeside(PrimaryObject primary, string export)
        {
            var symbol = primary.Code.Symbols.Single(symbol => symbol.Name == export);
            Assert.Equal(ElfSymbolBinding.Global, symbol.Binding);
            return primary
                .Code.Symbols.Single(other =>
                    other != symbol
                    && other.Type == symbol.Type
                    && (other.SectionIndex, other.Value, other.Size) == (symbol.SectionIndex, symbol.Value, symbol.Size)
                )
                .Name;
        }

        static PrimaryObject BuildTarget(TargetDiffs target, ExportedSymbols exported, DataSource? data)
        {
            DiagnosticBag diagnostics = [];
            var primary = PrimaryObject.Build(
                target.Diffs,
                MatchOf(exported, [.. target.Diffs]),
                target.Target,
                exported,
                data,
                diagnostics,
                target.Lent
            );
            Assert.True(primary is not null, string.Join('\n', diagnostics));
            return primary;
        }
    }

    private static ObjectDiff Diff(string unit, string pre, string post)
    {
        var diagnostics = new DiagnosticBag();
        var diff = Differ.Compare(unit, CPair.Compile(pre), CPair.Compile(post), diagnostics);
        Assert.True(diff is not null, string.Join('\n', diagnostics));
        return diff;
    }

    // Generation looks at what the indexes mean, and never into the bytes.
    private static MatchData MatchOf(ExportedSymbols exported, params ObjectDiff[] diffs) =>
        new(
            [1, 2, 3],
            [.. exported.SymbolsToResolve(diffs)],
            [.. diffs.SelectMany(diff => diff.Replaced.Select(function => new MatchedFunction(diff.Unit, function.Name)))]
        );

    private static PrimaryObject? Build(params ObjectDiff[] diffs) => Build(MatchOf(new ExportedSymbols([]), diffs), diffs);

    private static PrimaryObject? Build(MatchData match, params ObjectDiff[] diffs) =>
        Build(match, new ExportedSymbols([]), new DiagnosticBag(), diffs);

    private static PrimaryObject? Build(MatchData match, ExportedSymbols exported, DiagnosticBag diagnostics, params ObjectDiff[] diffs) =>
        PrimaryObject.Build(diffs, match, Kernel, exported, DataSource.Create(Id, diffs), diagnostics);

    private static void Refused(string rule, MatchData match, params ObjectDiff[] diffs)
    {
        var diagnostics = new DiagnosticBag();
        Assert.Null(Build(match, new ExportedSymbols([]), diagnostics, diffs));
        Assert.Equal(rule, Assert.Single(diagnostics.Select(diagnostic => diagnostic.Id).Distinct()));
    }

    private static ReadOnlySpan<byte> Code(PrimaryObject primary) =>
        primary.Code.Sections.Single(section => section.Name == ".ksplice.code").Data.Span;

    // The function or symbol that a relocation means; a PC-relative addend counts from the field, four bytes before.
    private static ElfSymbol Target(PrimaryObject primary, ElfRelocation relocation)
    {
        var symbol = primary.Code.Symbols[relocation.SymbolIndex];
        if (symbol.Type != ElfSymbolType.Section)
            return symbol;
        ulong place = (ulong)(relocation.Addend + (relocation.Type is ElfRelocationType.Pc32 or ElfRelocationType.Plt32 ? 4 : 0));
        return primary.Code.Symbols.FirstOrDefault(other =>
            other.Type == ElfSymbolType.Function && other.SectionIndex == symbol.SectionIndex && other.Value == place
        ) ?? symbol;
    }

    private void Accept(PrimaryObject primary)
    {
        File.WriteAllBytes(_tree["code.o"], ElfWriter.Write(primary.Code));
        Assert.Contains("No errors", _tree.RunOk("eu-elflint", "--gnu-ld", "code.o"), StringComparison.Ordinal);
        Assert.Equal("", _tree.RunOk("ld", "-r", "code.o", "-o", "linked.o"));
        Assert.Equal(
            "",
            _tree.RunOk("objdump", "-dr", "linked.o").Split('\n').FirstOrDefault(line => line.Contains("(bad)", StringComparison.Ordinal))
                ?? ""
        );
        var linked = ElfObject.Read(File.ReadAllBytes(_tree["linked.o"]), "linked.o");
        Assert.Equal(
            primary.Code.Sections.Sum(section => section.Relocations.Count),
            linked.Sections.Sum(section => section.Relocations.Count)
        );
    }
}
