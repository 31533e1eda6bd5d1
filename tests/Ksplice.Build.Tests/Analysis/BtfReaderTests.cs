// SPDX-License-Identifier: MIT
using System.Globalization;
using Ksplice.Build.Analysis;
using Ksplice.Build.Elf;
using Ksplice.Build.Tests.Patching;

namespace Ksplice.Build.Tests.Analysis;

/// <summary>pahole reads BTF, too, and is the oracle.</summary>
public class BtfReaderTests
{
    private const string Source = """
        struct list { struct list *next, *prev; };
        struct bits { unsigned a:1; unsigned b:7; long c; char d[3][2]; struct { int inner; }; };
        union both { int i; double d; struct bits b; };
        enum colour { red, green = 0x10, blue = -3 };
        struct all { struct list l; struct bits b[2]; union both u; enum colour c; void (*f)(struct all *, const char *, ...); };
        struct all everything;
        """;

    [Fact]
    public void Reads_what_pahole_reads()
    {
        using var tree = new TestTree();
        tree.Write("x.c", Source);
        tree.RunOk("gcc", "-g", "-gbtf", "-c", "-o", "x.o", "x.c");
        var types = BtfReader.Read(ElfObject.Read(File.ReadAllBytes(tree["x.o"]), "x.o"))!;
        var sizes = Enumerable
            .Range(1, types.Count - 1)
            .Where(id => types.KindOf(id) is BtfKind.Struct or BtfKind.Union && types.NameOf(id).Length != 0)
            .Select(id => (types.NameOf(id), types.SizeOf(id), types.Members(id).Count))
            .Order();
        var oracle = tree.RunOk("pahole", "-F", "btf", "--sizes", "x.o")
            .Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .Select(line => line.Split('\t'))
            .Select(parts => (parts[0], uint.Parse(parts[1], CultureInfo.InvariantCulture)));
        Assert.Equal(oracle.Order(), sizes.Select(entry => (entry.Item1, entry.Item2)));

        var bits = Enumerable.Range(1, types.Count - 1).Single(id => types.NameOf(id) == "bits");
        Assert.Equal(
            [("a", 0u, 1u), ("b", 1u, 7u), ("c", 64u, 0u), ("d", 128u, 0u), ("", 192u, 0u)],
            types.Members(bits).Select(member => (member.Name, member.BitOffset, member.BitFieldSize))
        );
        var colour = Enumerable.Range(1, types.Count - 1).Single(id => types.NameOf(id) == "colour");
        Assert.Equal([new("red", 0), new("green", 16), new("blue", -3)], types.Enumerators(colour));
        var all = Enumerable.Range(1, types.Count - 1).Single(id => types.NameOf(id) == "all");
        Assert.Equal("void (struct all *, const char *, ...) *", types.Describe(types.Members(all)[4].Type));
    }
}
