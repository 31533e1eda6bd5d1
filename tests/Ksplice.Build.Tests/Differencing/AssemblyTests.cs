// SPDX-License-Identifier: MIT
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Ksplice.Build.Elf;
using Ksplice.Build.Generation;
using Ksplice.Build.Matching;
using Ksplice.Build.Targets;

namespace Ksplice.Build.Tests.Differencing;

/// <summary>Units of assembly: no sections of their own, and shapes that no compiler makes.</summary>
public sealed class AssemblyTests
{
    private static string Changed(string source, string old, string now)
    {
        Assert.Contains(old, source, StringComparison.Ordinal);
        return source.Replace(old, now, StringComparison.Ordinal);
    }

    private static CPair Change(string source, string old, string now) => CPair.CompareAssembly(source, Changed(source, old, now));

    private const string ThreeFunctions = """
        FUNC(one)   movl $1, %eax; ret; END(one)
        FUNC(two)   movl $2, %eax; call one; addl counter(%rip), %eax; ret; END(two)
        FUNC(three) movl $3, %eax; call local; ret; END(three)
        LOCAL_FUNC(local) movl $4, %eax; ret; END(local)
        .data
        counter: .long 7
        """;

    [Theory]
    [InlineData("$1", "$0x11223344", "one")]
    [InlineData("movl $1", "nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; movl $1", "one")] // everything behind it moves
    [InlineData("$2", "$22", "two")]
    [InlineData("$4", "$44", "local")]
    [InlineData("call local", "nop; call local", "three")]
    public void The_function_that_changes_is_replaced_and_no_other(string old, string now, string function)
    {
        var pair = Change(ThreeFunctions, old, now);
        Assert.Equal([function], pair.Replaced);
        Assert.Empty(pair.Along);
        Assert.Empty(pair.New);
    }

    [Fact]
    public void Calls_of_static_functions_are_references_though_the_assembler_resolved_them()
    {
        var pair = Change(ThreeFunctions, "$3", "$33");
        Assert.Equal("local", Assert.IsType<LocalSymbol>(Assert.Single(pair.Accepted.Needed)).Name);
    }

    [Fact]
    public void A_function_without_a_size_ends_before_the_padding()
    {
        const string Source = """
            .globl bare; .type bare, @function
            bare: movl $1, %eax; ret
            FUNC(next) movl $2, %eax; ret; END(next)
            """;
        var pair = Change(Source, "$1", "$11");
        Assert.Equal(["bare"], pair.Replaced);
        Assert.Equal(6UL, pair.Piece("bare").Post.Size);
        Assert.True(Change(Source, "FUNC(next)", ".p2align 6, 0x90; FUNC(next)").Accepted.IsEmpty);
    }

    [Fact]
    public void Names_of_one_place_are_one_function()
    {
        const string Source = """
            FUNC(__copy) movl $1, %eax; ret; END(__copy)
            .weak copy; .set copy, __copy; .type copy, @function
            FUNC(user) call copy; ret; END(user)
            """;
        var pair = Change(Source, "$1", "$11");
        Assert.Equal("__copy", Assert.Single(pair.Replaced));
        Assert.Equal(["user"], Change(Source, "call copy", "call copy; nop").Replaced);
    }

    private const string Shared = """
        FUNC(one)   testl %edi, %edi; je restore; movl $1, %eax; ret; END(one)
        FUNC(two)   movl $2, %eax; jmp restore; END(two)
        FUNC(three) movl $3, %eax; ret; END(three)
        LOCAL_CODE(restore) popq %rbx; ret; END(restore)
        """;

    [Fact]
    public void Code_that_is_no_function_goes_with_the_functions_that_lead_to_it()
    {
        var pair = Change(Shared, "popq %rbx", "popq %rbp");
        Assert.Equal(["one", "two"], pair.Replaced);
        Assert.Equal(["restore"], pair.Along);
        Assert.Equal(FunctionDifference.Relocation, pair.Accepted.Replaced[0].Why.Kind);
        // It is a part of what is searched for on stacks and matched.
        Assert.All(pair.Accepted.Replaced, function => Assert.Equal(2, function.Pre.Count));
    }

    [Fact]
    public void Code_that_is_no_function_travels_along_unchanged()
    {
        var pair = Change(Shared, "$2", "$22");
        Assert.Equal(["two"], pair.Replaced);
        Assert.Equal(["restore"], pair.Along);
        Assert.Empty(pair.New);
        Assert.False(pair.Accepted.Pinned);
        Assert.Empty(Change(Shared, "$3", "$33").Along);
    }

    // The branches are short; what they lead to has to stand as near in the primary.
    [Fact]
    public void Short_branches_keep_their_distance()
    {
        var pair = Change(Shared, "$2", "$22");
        var (two, restore) = (pair.Piece("two"), pair.Piece("restore"));
        Assert.Empty(two.References);
        Assert.Equal(0xeb, two.Data.Span[5]);
        Assert.Equal((sbyte)(restore.Post.Offset - two.Post.Offset - two.Post.Size), (sbyte)two.Data.Span[6]);
        Assert.Equal("two", pair.Accepted.Carried[restore.Behind].Name);

        var both = CPair.CompareAssembly(Shared, Changed(Changed(Shared, "$1,", "$11,"), "$3", "$33"));
        Assert.Equal(["one", "three"], both.Replaced);
        var symbols = PrimaryText(both);
        Assert.Equal(both.Piece("restore").Post.Offset - both.Piece("one").Post.Offset, symbols["restore"] - symbols["one"]);
    }

    private static Dictionary<string, ulong> PrimaryText(CPair pair)
    {
        DiagnosticBag diagnostics = [];
        var exported = new ExportedSymbols([]);
        var data = MatchDataBuilder.Build([pair.Accepted], exported.SymbolsToResolve([pair.Accepted]), diagnostics);
        Assert.True(data is not null, string.Join('\n', diagnostics));
        var primary = PrimaryObject.Build(
            [pair.Accepted],
            data,
            new UpdateTarget("01234567", UpdateTarget.KernelName, 0, 1),
            exported,
            null,
            diagnostics
        );
        Assert.True(primary is not null, string.Join('\n', diagnostics));
        return primary
            .Code.Symbols.Where(symbol => symbol.Type == ElfSymbolType.Function)
            .ToDictionary(symbol => symbol.Name, symbol => symbol.Value);
    }

    private const string RunsOn = """
        FUNC(first)  movl $1, %ecx; END(first)
        FUNC(second) movl $2, %eax; ret; END(second)
        FUNC(third)  movl $3, %eax; ret; END(third)
        """;

    [Fact]
    public void Code_that_runs_on_into_the_next_function_is_kept_before_it()
    {
        var pair = Change(RunsOn, "$1", "$11");
        Assert.Equal(["first"], pair.Replaced);
        Assert.Equal(["second"], pair.Along);
        // The padding between the two is executed, too.
        Assert.Equal(16UL, pair.Piece("first").Post.Size);
        Assert.Equal("first", pair.Accepted.Carried[pair.Piece("second").Behind].Name);
        var places = PrimaryText(pair);
        Assert.Equal(16UL, places["second"] - places["first"]);
    }

    [Fact]
    public void What_runs_into_a_replaced_function_meets_its_redirect()
    {
        var pair = Change(RunsOn, "$2", "$22");
        Assert.Equal(["second"], pair.Replaced);
        Assert.Empty(pair.Along);
    }

    [Fact]
    public void Code_that_runs_on_into_another_function_than_before_is_replaced()
    {
        var pair = CPair.CompareAssembly(
            RunsOn,
            """
            FUNC(second) movl $2, %eax; ret; END(second)
            FUNC(first)  movl $1, %ecx; END(first)
            FUNC(third)  movl $3, %eax; ret; END(third)
            """
        );
        Assert.Equal(["first"], pair.Replaced);
        Assert.Equal("runs on into second before and third after", pair.Accepted.Replaced[0].Why.Detail);
    }

    // As arch/x86/lib/getuser.S: the only way to the fixup is the exception table, and a no-op that becomes an instruction begins it.
    private const string Fixup = """
        FUNC(get_one) cmpq %rdx, %rax; jae bad
        1: movzbl (%rax), %edx; xorl %eax, %eax; ret; END(get_one)
        FUNC(get_two)
        2: movzwl (%rax), %edx; xorl %eax, %eax; ret; END(get_two)
        FUNC(other) movl $1, %eax; ret; END(other)
        .p2align 4, 0x90
        .Lfix: nop; nop; nop
        bad: xorl %edx, %edx; movq $-14, %rax; ret
        EXTABLE(1b, .Lfix)
        EXTABLE(2b, .Lfix)
        .pushsection .altinstructions, "a"; .long .Lfix - ., 9f - .; .word 5; .byte 3, 3; .popsection
        .pushsection .altinstr_replacement, "ax"; 9: clac; .popsection
        """;

    [Fact]
    public void Code_that_only_an_exception_table_leads_to_travels_along()
    {
        var pair = Change(Fixup, "movzwl", "movzbl");
        Assert.Equal(["get_two"], pair.Replaced);
        var entry = Assert.Single(pair.Accepted.Carried, piece => piece.OutputSection == "__ex_table");
        var fix = pair.Accepted.Carried[entry.References[1].Piece];
        Assert.Equal((CarriedKind.CodePart, "", 3UL), (fix.Kind, fix.Name, fix.Post.Size));
        // It runs on, and takes its alternative with it.
        Assert.Equal("", pair.Accepted.Carried[pair.Piece("bad").Behind].Name);
        Assert.Single(pair.Accepted.Carried, piece => piece.OutputSection == ".altinstructions");
        Assert.Equal(["other"], Change(Fixup, "$1,", "$11,").Replaced);
    }

    [Theory]
    [InlineData("$-14", "$-5")] // in the code that is run on into
    [InlineData("clac", "stac")] // in the alternative
    [InlineData("nop; nop; nop", "nop; nop; nop; nop")]
    public void A_changed_fixup_replaces_the_functions_that_it_belongs_to(string old, string now) =>
        Assert.Equal(["get_one", "get_two"], Change(Fixup, old, now).Replaced);

    [Fact]
    public void A_function_whose_fixup_lies_in_a_replaced_function_is_replaced()
    {
        const string Source = """
            FUNC(one) movl $1, %eax
            .Linside: addl $5, %eax; ret; END(one)
            FUNC(two)
            1: movl (%rdi), %eax; ret; END(two)
            EXTABLE(1b, .Linside)
            """;
        var pair = Change(Source, "$1", "$11");
        Assert.Equal(["one", "two"], pair.Replaced);
        Assert.Equal(FunctionDifference.BranchIntoReplaced, pair.Accepted.Replaced.Single(function => function.Name == "two").Why.Kind);
    }

    [Fact]
    public void A_branch_into_a_function_that_stays_takes_a_copy_of_it_along()
    {
        const string Source = """
            FUNC(tail) movl $1, %eax
            .Linside: addl counter(%rip), %eax; ret; END(tail)
            FUNC(head) movl $2, %eax; jmp .Linside; END(head)
            FUNC(caller) call tail; ret; END(caller)
            .data
            counter: .long 7
            """;
        var pair = Change(Source, "$2", "$22");
        Assert.Equal(["head"], pair.Replaced);
        Assert.Equal(["tail"], pair.Along);
        Assert.Empty(pair.New);
        // The running kernel's tail stays what its name means, and its variable is the kernel's.
        Assert.False(pair.Piece("tail").IsGlobal);
        Assert.Equal("counter", Assert.IsType<LocalSymbol>(Assert.Single(pair.Accepted.Needed)).Name);
    }

    private const string Table = """
        FUNC(dispatch) jmp *table(,%rdi,8)
        .La: movl $1, %eax; ret
        .Lb: movl $2, %eax; ret; END(dispatch)
        .section .rodata, "a"
        .balign 8
        table: .quad .La, .Lb
        """;

    [Fact]
    public void A_table_of_places_in_a_function_goes_with_it()
    {
        var pair = Change(Table, "$2", "$22");
        Assert.Equal(["dispatch"], pair.Replaced);
        var table = Assert.Single(pair.Accepted.Carried, piece => piece.Kind == CarriedKind.Data);
        Assert.All(table.References, reference => Assert.Equal("dispatch", pair.Accepted.Carried[reference.Piece].Name));
    }

    [Fact]
    public void Data_among_code_is_no_code()
    {
        const string Source = """
            FUNC(one) movl value(%rip), %eax; ret; END(one)
            .type value, @object
            value: .long 0xe8; .long 0x1000; END(value)
            FUNC(two) movl $2, %eax; ret; END(two)
            """;
        var pair = Change(Source, "ret; END(one)", "nop; ret; END(one)");
        Assert.Equal(["one"], pair.Replaced);
        Assert.Equal("value", Assert.IsType<LocalSymbol>(Assert.Single(pair.Accepted.Needed)).Name);
        Change(Source, "0x1000", "0x2000").RefusedBy(DifferencingDiagnostics.ChangedData, "'value'");
        // A constant that only replaced code uses would go with the code, were it not in its midst.
        CPair
            .CompareAssembly(Source, Changed(Changed(Source, "0x1000", "0x2000"), "ret; END(one)", "nop; ret; END(one)"))
            .RefusedBy(DifferencingDiagnostics.ImmovableCode, "data among code");
    }

    // The four bytes look like the start of a call.
    [Theory]
    [InlineData("FUNC(one) movl 1f(%rip), %eax; ret; 1: .long 0x1e8; .byte 0; END(one)", "no branch leads to the bytes at offset 0x7")]
    [InlineData("FUNC(one) movl $3, %eax; jmp 1f; .byte 0x0f, 0x1f; 1: call two; ret; END(one)", "no branch leads to the bytes")]
    [InlineData("FUNC(one) movl $3, %eax; je 1f+1; 1: movl $0x90909090, %ecx; ret; END(one)", "into the middle of the instruction")]
    public void KSP3007_code_that_is_not_told_from_data(string function, string what)
    {
        string source = function + "\nLOCAL_FUNC(two) movl $2, %eax; ret; END(two)";
        Change(source, "%eax", "%ecx").RefusedByAll(DifferencingDiagnostics.ImmovableCode, what);
        Assert.Equal(["two"], Change(source, "$2", "$22").Replaced);
    }

    [Fact]
    public void KSP3008_a_place_between_two_functions() =>
        Change(
                "FUNC(one) movl $1, %eax; jmp 1f; END(one)\nFUNC(two) ret; END(two); nop; 1: nop; nop\nFUNC(three) ret; END(three)",
                "$1",
                "$11"
            )
            .RefusedBy(DifferencingDiagnostics.MiddleReference, "one");

    [Theory]
    [InlineData(".noinstr.text")]
    [InlineData(".entry.text")]
    [InlineData(".text..__x86.rethunk_untrain")]
    public void KSP3013_code_that_must_not_leave_its_place(string section) =>
        Change($".section {section}, \"ax\"\n" + ThreeFunctions, "$1", "$11")
            .RefusedBy(DifferencingDiagnostics.SectionNotReplaceable, section);

    [Fact]
    public void KSP3040_a_function_with_a_second_entry()
    {
        const string Source =
            "FUNC(put) cmpq %rdx, %rax; jae 1f; .globl put_nocheck; put_nocheck: movl %eax, (%rcx); 1: ret; END(put)\n"
            + "FUNC(two) movl $2, %eax; ret; END(two)";
        Change(Source, "%eax, (%rcx)", "%eax, 4(%rcx)").RefusedBy(DifferencingDiagnostics.InnerEntry, "'put_nocheck'");
        Assert.Equal(["two"], Change(Source, "$2", "$22").Replaced);
    }

    [Theory]
    [InlineData("CODE(enter) movl $1, %eax; ret; END(enter)", "other code may enter it by its name")]
    [InlineData("LOCAL_CODE(enter) movl $1, %eax; ret; END(enter)\nFUNC(one) movq $enter, %rax; ret; END(one)", "one uses its address")]
    [InlineData("LOCAL_CODE(enter) movl $1, %eax; ret; END(enter)", "nothing in the unit leads to it")]
    public void KSP3041_changed_code_that_is_no_function(string source, string what) =>
        Change(source, "$1", "$11").RefusedBy(DifferencingDiagnostics.NotAFunction, what);

    [Fact]
    public void KSP3041_code_that_leads_into_a_replaced_function() =>
        Change("FUNC(one) movl $1, %eax; .Linside: addl $5, %eax; ret; END(one)\nCODE(enter) jmp .Linside; END(enter)", "$1", "$11")
            .RefusedBy(DifferencingDiagnostics.NotAFunction, "leads into one");

    [Fact]
    public void New_and_removed_code()
    {
        var pair = CPair.CompareAssembly(Shared, Shared + "\nFUNC(four) movl $4, %eax; jmp restore; END(four)");
        Assert.Equal(["four"], pair.New);
        Assert.Equal(["restore"], pair.Along);
        pair = CPair.CompareAssembly(Shared, Changed(Shared, "jmp restore", "jmp new") + "\nLOCAL_CODE(new) popq %r12; ret; END(new)");
        Assert.Equal(["two"], pair.Replaced);
        Assert.Equal(["new"], pair.Along);
        pair = CPair.CompareAssembly(Shared, Changed(Shared, "FUNC(three) movl $3, %eax; ret; END(three)", ""));
        Assert.Equal(["three"], pair.Accepted.RemovedFunctions);
    }

    [Fact]
    public void Init_code_of_assembly_must_not_change() =>
        Change(".section .init.text, \"ax\"\n" + ThreeFunctions, "$1", "$11").RefusedBy(DifferencingDiagnostics.InitChanged, "'one'");
}
