// SPDX-License-Identifier: MIT
// Two versions of one C file, compiled as the kernel is: these are the fixtures of differencing, real objects of a real
// compiler. Where the kernel gets a section from a macro, the test writes what the macro leaves.
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Ksplice.Build.Elf;
using Ksplice.Build.Tests.Patching;

namespace Ksplice.Build.Tests.Differencing;

/// <summary>What comparing two versions of a C file gives.</summary>
internal sealed record CPair(ObjectDiff? Diff, DiagnosticBag Diagnostics)
{
    public const string Unit = "drivers/test/unit.c";

    private static readonly string[] Flags =
    [
        "-std=gnu11",
        "-O2",
        "-c",
        "-ffunction-sections",
        "-fdata-sections",
        "-fno-pie",
        "-mcmodel=kernel",
        "-mno-red-zone",
        "-mno-sse",
        "-mno-mmx",
        "-fno-asynchronous-unwind-tables",
        "-fcf-protection=none",
        "-fno-stack-protector",
        "-fno-common",
        "-fno-jump-tables",
        "-fno-strict-aliasing",
        "-ffreestanding",
        "-w",
    ];

    // What every version starts with, on a line of its own: what the kernel's headers would bring.
    private const string Prelude = """
        #define noinline __attribute__((__noinline__))
        #define section(name) __attribute__((__used__, __section__(name)))
        extern int printk(const char *, ...); extern void use(void *); extern int probe(int);

        """;

    /// <summary>Compiles both versions and compares the objects.</summary>
    public static CPair Compare(string pre, string post, params string[] arguments) =>
        Compare(Compile(pre, arguments), Compile(post, arguments));

    /// <summary>Compares two objects.</summary>
    public static CPair Compare(ElfObject pre, ElfObject post)
    {
        var diagnostics = new DiagnosticBag();
        var diff = Differ.Compare(Unit, pre, post, diagnostics);
        Assert.Equal(diff is null, diagnostics.HasErrors);
        return new CPair(diff, diagnostics);
    }

    /// <summary>Compiles one version.</summary>
    public static ElfObject Compile(string source, params string[] arguments)
    {
        using var tree = new TestTree();
        tree.Write("unit.c", Prelude + source);
        tree.RunOk("gcc", [.. Flags, .. arguments, "unit.c", "-o", "unit.o"]);
        return ElfObject.Read(File.ReadAllBytes(tree["unit.o"]), "unit.o");
    }

    // As include/linux/linkage.h begins and ends functions and other code.
    private const string AssemblyPrelude = """
        #define FUNC(name) .globl name; .type name, @function; .p2align 4, 0x90; name:
        #define LOCAL_FUNC(name) .type name, @function; .p2align 4, 0x90; name:
        #define CODE(name) .globl name; .p2align 4, 0x90; name:
        #define LOCAL_CODE(name) .p2align 4, 0x90; name:
        #define END(name) .size name, . - name
        #define EXTABLE(from, to) .pushsection __ex_table, "a"; .balign 4; .long (from) - .; .long (to) - .; .long 3; .popsection
        .text

        """;

    /// <summary>Assembles both versions of a .S file and compares the objects.</summary>
    public static CPair CompareAssembly(string pre, string post) => Compare(Assemble(pre), Assemble(post));

    /// <summary>Assembles one version.</summary>
    public static ElfObject Assemble(string source)
    {
        using var tree = new TestTree();
        tree.Write("unit.S", AssemblyPrelude + source + "\n");
        tree.RunOk("gcc", "-c", "-D__ASSEMBLY__", "unit.S", "-o", "unit.o");
        return ElfObject.Read(File.ReadAllBytes(tree["unit.o"]), "unit.o");
    }

    /// <summary>The difference, which must have been made without an error.</summary>
    public ObjectDiff Accepted
    {
        get
        {
            Assert.True(Diff is not null, string.Join('\n', Diagnostics));
            return Diff;
        }
    }

    /// <summary>The names of the replaced functions, sorted.</summary>
    public IEnumerable<string> Replaced => Accepted.Replaced.Select(function => function.Name).Order(StringComparer.Ordinal);

    /// <summary>The names of the new functions, sorted.</summary>
    public IEnumerable<string> New => Accepted.NewFunctions.Select(function => function.Name).Order(StringComparer.Ordinal);

    /// <summary>The names of code that travels along unchanged or without being a function, sorted.</summary>
    public IEnumerable<string> Along =>
        Accepted
            .Carried.Where(piece => piece.Kind is CarriedKind.Function or CarriedKind.CodePart)
            .Select(piece => piece.Name)
            .Except(Replaced)
            .Except(New)
            .Order(StringComparer.Ordinal);

    /// <summary>The piece of that name.</summary>
    public CarriedPiece Piece(string name) => Accepted.Carried.Single(piece => piece.Name == name);

    /// <summary>The names of the pieces that have one.</summary>
    public IEnumerable<string> Carried =>
        Accepted.Carried.Select(piece => piece.Name).Where(name => name.Length != 0).Order(StringComparer.Ordinal);

    /// <summary>
    /// Asserts that the comparison was refused for <paramref name="rule"/>, once and for nothing else; the
    /// message names <paramref name="what"/>.
    /// </summary>
    public void RefusedBy(DiagnosticDescriptor rule, string what)
    {
        RefusedByAll(rule, what);
        Assert.Single(Diagnostics, diagnostic => diagnostic.Severity == DiagnosticSeverity.Error);
    }

    /// <summary>Asserts that every error is of <paramref name="rule"/> and names <paramref name="what"/>.</summary>
    public void RefusedByAll(DiagnosticDescriptor rule, string what)
    {
        var errors = Diagnostics.Where(diagnostic => diagnostic.Severity == DiagnosticSeverity.Error).ToList();
        Assert.True(
            errors.Count != 0 && errors.TrueForAll(error => error.Descriptor == rule),
            $"expected {rule.Id}, found: {string.Join('\n', Diagnostics)}"
        );
        Assert.All(errors, error => Assert.Contains(what, error.Message, StringComparison.Ordinal));
        Assert.All(errors, error => Assert.Equal(Unit, error.Location!.Path));
        Assert.Null(Diff);
    }
}
