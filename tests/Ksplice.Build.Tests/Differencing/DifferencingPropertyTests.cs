// SPDX-License-Identifier: MIT
// What must hold whatever the code is: differencing sees no difference where there is none, and each one that there is.
using System.Globalization;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Ksplice.Build.Elf;
using Ksplice.Build.Tests.Kernel;
using Ksplice.Build.Tests.Patching;

namespace Ksplice.Build.Tests.Differencing;

public sealed class DifferencingPropertyTests
{
    /// <summary>Stripping takes the symbol that names the source; code of a compiler must not be taken for assembly then.</summary>
    [Fact]
    public async Task An_object_without_debug_data_is_cut_like_the_whole_one()
    {
        var whole = await KernelObjects.CompileAsync("arch/x86/mm/tlb.c");
        using var tree = new TestTree();
        File.WriteAllBytes(tree["whole.o"], ElfWriter.Write(whole));
        tree.RunOk("objcopy", "-g", "whole.o", "stripped.o");
        var graph = ObjectGraph.Of(ElfObject.Read(File.ReadAllBytes(tree["stripped.o"]), "stripped.o"));
        Assert.All(graph.Nodes, node => Assert.Null(node.Immovable));
        Assert.Equal(Code(ObjectGraph.Of(whole)), Code(graph));

        static IEnumerable<string> Code(ObjectGraph graph) =>
            graph.Nodes.Where(node => node.IsCode).Select(node => $"{node} {node.Size}").Order(StringComparer.Ordinal);
    }

    /// <summary>A flip of a bit in every byte of a unit's functions that no relocation covers, each in an object of its own.</summary>
    [Theory]
    [InlineData("fs/proc/version.c", 1)]
    [InlineData("kernel/printk/printk.c", 97)]
    [InlineData("mm/mmap.c", 193)]
    public async Task A_flipped_byte_of_text_is_found(string unit, int step)
    {
        var pre = await KernelObjects.CompileAsync(unit);
        int tried = 0;
        foreach (
            var section in pre.Sections.Where(section => section.Name.StartsWith(".text", StringComparison.Ordinal) && section.Size != 0)
        )
        {
            var function = pre
                .Symbols.Where(symbol => symbol.SectionIndex == section.Index && symbol.Type == ElfSymbolType.Function)
                .ToList();
            for (int at = tried % step; at < (int)section.Size; at += step)
            {
                // Padding between functions is nobody's.
                if (
                    !function.Exists(symbol => (ulong)at >= symbol.Value && (ulong)at < symbol.Value + symbol.Size)
                    || section.Relocations.Any(relocation =>
                        (ulong)at >= relocation.Offset && (ulong)at < relocation.Offset + Width(relocation.Type)
                    )
                )
                    continue;
                byte[] bytes = section.Data.ToArray();
                bytes[at] ^= (byte)(1 << (tried % 8));
                var post = pre with
                {
                    Sections = [.. pre.Sections.Select(other => other == section ? section with { Data = bytes } : other)],
                };
                DiagnosticBag diagnostics = [];
                var diff = Differ.Compare(unit, pre, post, diagnostics);
                Assert.True(
                    diff is null ? diagnostics.HasErrors : !diff.IsEmpty,
                    $"{section.Name}+0x{at:x} of {unit}: the flip is not seen"
                );
                tried++;
            }
        }
        Assert.True(tried > 20, $"only {tried} bytes were flipped");
    }

    private static ulong Width(ElfRelocationType type) =>
        type switch
        {
            ElfRelocationType.None => 0,
            ElfRelocationType.Abs64 or ElfRelocationType.Pc64 => 8,
            _ => 4,
        };

    /// <summary>The same functions, variables and strings in another order: the numbers that gcc gives change, nothing else.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void Functions_in_a_shuffled_order_do_not_differ(int seed)
    {
        const int Count = 40;
        string[] functions = [.. Enumerable.Range(0, Count).Select(Function)];
        string declarations = string.Concat(
            Enumerable.Range(0, Count).Select(i => string.Create(CultureInfo.InvariantCulture, $"int f{i}(int);\n"))
        );
        string before = declarations + string.Join('\n', functions);
        new Random(seed).Shuffle(functions);
        var pair = CPair.Compare(before, declarations + string.Join('\n', functions));
        Assert.True(
            pair.Accepted.IsEmpty,
            string.Join('\n', pair.Accepted.Replaced.Select(function => $"{function.Name}: {function.Why.Detail}"))
        );
        Assert.Empty(pair.Diagnostics);
    }

    // A static local whose name all share, strings of which some are common, calls among each other, a switch and a cold path.
    private static string Function(int i) =>
        string.Create(
            CultureInfo.InvariantCulture,
            $$"""
            noinline int f{{i}}(int a)
            {
                static int calls = {{i % 5}};
                static const char name[] = "f{{i % 7}}";
                calls += a;
                printk("message %d of %s\n", {{i % 3}}, name);
                if (__builtin_expect(a == {{i}}, 0)) { printk("cold %s\n", "part {{i}}"); use(&calls); }
                switch (a) { case 1: return f{{(i * 7 + 1) % 40}}(calls); case 2: return probe({{i}}); case 3: return calls ^ {{i}}; }
                return f{{(i * 3 + 2) % 40}}(a - 1) + calls;
            }
            """
        );
}
