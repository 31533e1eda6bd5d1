// SPDX-License-Identifier: MIT
using Ksplice.Build.Analysis;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Elf;
using Ksplice.Build.Tests.Patching;

namespace Ksplice.Build.Tests.Analysis;

public class TypeComparisonTests
{
    private static readonly Lazy<byte[]> s_sample = new(() => Compile(Whole));

    /// <summary>Uses of everything keep the compiler from leaving types out.</summary>
    private const string Whole = """
        struct inner { int x; };
        struct s {
            int a; int b:3; int c:5; struct s *next; struct { int p; union { int q; long w; }; } in; struct inner i[4];
            int (*call)(struct s *, enum e *);
        };
        union u { int i; char c[8]; };
        enum e { A, B = -1, C = 7 };
        enum { X = 5, Y };
        typedef struct { int z; short y; } t;
        typedef unsigned int counter_t;
        struct fwd;
        int g(struct s *p, enum e e) { return p->a + e + X; }
        static __attribute__((noinline)) int h(struct fwd *f, union u *u) { return f != 0 && u->i; }
        int gv;
        static t sv;
        counter_t count;
        extern long ev;
        int use(struct fwd *f, union u *u) { return h(f, u) + sv.z + ev + count++; }
        """;

    internal static byte[] Compile(string source, params string[] options)
    {
        using var tree = new TestTree();
        tree.Write("x.c", source);
        tree.RunOk("gcc", ["-g", "-gbtf", "-O2", "-w", "-c", "-o", "x.o", .. options, "x.c"]);
        return File.ReadAllBytes(tree["x.o"]);
    }

    private static List<Diagnostic> Compare(string before, string after)
    {
        var bag = new DiagnosticBag();
        var same = TypeVerdict.Compare(ElfObject.Read(Compile(before), "pre.o"), ElfObject.Read(Compile(after), "post.o"), "x.c", bag);
        Assert.Equal(same, bag.Count == 0);
        Assert.All(bag, report => Assert.Equal(("x.c", DiagnosticSeverity.Error), (report.Location!.Path, report.Severity)));
        return [.. bag];
    }

    [Theory]
    [InlineData(
        "struct inner { int x; };",
        "struct inner { int x; int y; };",
        "KSP5001 struct inner",
        "KSP5002 struct inner: member 'y' is added at offset 4",
        "KSP5001 struct s ",
        "KSP5002 struct s: member 'call' moves from offset 48 to 64"
    )]
    [InlineData(
        "int b:3;",
        "int b:4;",
        "KSP5002 struct s: member 'b' changes from a bit field of 3 to a bit field of 4",
        "KSP5002 struct s: member 'c' moves from offset 4 bit 3 to 4 bit 4"
    )]
    [InlineData("int a; int b:3;", "unsigned a; int b:3;", "KSP5002 struct s: member 'a' changes its type from 'int' to 'unsigned int'")]
    [InlineData("int c:5;", "int c:5; int fills_the_hole:4;", "KSP5002 struct s: member 'fills_the_hole' is added at offset 5")]
    [InlineData("union { int q; long w; }", "union { int q; long v; }", "KSP5002 struct s: member 'in' changes its type")]
    [InlineData(
        "struct s *next;",
        "struct inner *next;",
        "KSP5002 struct s: member 'next' changes its type from 'struct s *' to 'struct inner *'"
    )]
    [InlineData("struct s *, enum e *)", "struct s *)", "KSP5002 struct s: member 'call' changes its type")]
    [InlineData(
        "char c[8];",
        "char c[9];",
        "KSP5001 union u changes from 8 to 12",
        "KSP5002 union u: member 'c' changes its type from 'char[8]' to 'char[9]'"
    )]
    [InlineData("char c[8];", "char c[7];", "KSP5002 union u: member 'c' changes its type from 'char[8]' to 'char[7]'")]
    [InlineData("C = 7 }", "C = 8 }", "KSP5003 enum e: 'C' changes its value from 7 to 8")]
    [InlineData("C = 7 }", "C = 7, D }", "KSP5003 enum e: 'D' is added with value 8")]
    [InlineData("A, B = -1, C = 7 }", "A, B = -1 }", "KSP5003 enum e: 'C' (value 7) is removed")]
    [InlineData(
        "enum { X = 5, Y };",
        "enum { X = 5, Z, Y };",
        "KSP5003 enum { X, … }: 'Y' changes its value from 6 to 7",
        "KSP5003 enum { X, … }: 'Z' is added with value 6"
    )]
    [InlineData(
        "{ int z; short y; } t;",
        "{ int z; short w, y; } t;",
        "KSP5002 typedef t: member 'y' moves from offset 4 to 6",
        "KSP5002 typedef t: member 'w' is added at offset 4"
    )]
    [InlineData(
        "typedef unsigned int counter_t;",
        "typedef int counter_t;",
        "KSP5006 typedef counter_t changes from 'unsigned int' to 'int'"
    )]
    [InlineData(
        "int g(struct s *p, enum e e)",
        "long g(struct s *p, enum e e)",
        "KSP5004 the prototype of g changes from 'int (struct s *, enum e)' to 'long int (struct s *, enum e)'"
    )]
    [InlineData(
        "enum e e)",
        "enum e e, ...)",
        "KSP5004 the prototype of g changes from 'int (struct s *, enum e)' to 'int (struct s *, enum e, ...)'"
    )]
    [InlineData("int gv;", "unsigned char gv;", "KSP5005 the type of gv changes from 'int' to 'unsigned char'")]
    [InlineData("extern long ev;", "extern int ev;", "KSP5005 the type of ev changes")]
    [InlineData(
        "static t sv;",
        "static struct inner sv2; static struct { int z; } sv;",
        "KSP5005 the type of sv changes from 't' to 'struct {…}'"
    )]
    public void Names_what_changes(string from, string to, params string[] expected)
    {
        Assert.Contains(from, Whole, StringComparison.Ordinal);
        var reports = Compare(Whole, Whole.Replace(from, to, StringComparison.Ordinal))
            .Select(report => $"{report.Id} {Short(report.Message)}")
            .Order(StringComparer.Ordinal)
            .ToList();
        var wanted = expected.Order(StringComparer.Ordinal).ToList();
        Assert.True(
            reports.Count == wanted.Count
                && wanted.All(text => reports.Exists(report => report.StartsWith(text, StringComparison.Ordinal))),
            string.Join('\n', reports)
        );
    }

    private static string Short(string message) => message.Replace("the size of ", "", StringComparison.Ordinal);

    [Theory]
    [InlineData("int gv;", "int gv; struct brand_new { int a; }; struct brand_new fresh;")]
    [InlineData("struct fwd;", "struct fwd { int now_known; };")]
    [InlineData(
        "static __attribute__((noinline)) int h(struct fwd *f, union u *u) { return f != 0",
        "static __attribute__((noinline)) int h(void *f, union u *u) { return f != 0"
    )]
    [InlineData("struct s *p, enum e e)", "struct s *renamed, enum e e)")]
    [InlineData("p->a", "renamed->a")]
    [InlineData("int x; };", "const volatile int x; };")]
    [InlineData("int a;", "typeof(int) a;")]
    public void Takes_what_is_no_change(string from, string to)
    {
        Assert.Contains(from, Whole, StringComparison.Ordinal);
        var after = Whole.Replace(from, to, StringComparison.Ordinal);
        if (to.Contains("renamed", StringComparison.Ordinal))
            after = Whole.Replace(
                "struct s *p, enum e e) { return p->a",
                "struct s *renamed, enum e e) { return renamed->a",
                StringComparison.Ordinal
            );
        Assert.Empty(Compare(Whole, after));
    }

    [Fact]
    public void A_definition_before_and_a_declaration_after_is_no_change() =>
        Assert.Empty(Compare(Whole.Replace("struct fwd;", "struct fwd { int known; };", StringComparison.Ordinal), Whole));

    [Fact]
    public void A_variable_that_takes_the_number_of_another_is_no_change()
    {
        const string before = "char __UNIQUE_ID_alias7[4]; char __UNIQUE_ID_alias8[5];";
        Assert.Empty(Compare(before, before.Replace("8", "9", StringComparison.Ordinal).Replace("7", "8", StringComparison.Ordinal)));
    }

    [Fact]
    public void Names_only_some_members_of_a_struct_that_shifts()
    {
        const string before = "struct big { int a, b, c, d, e, f, g, h; }; struct big it;";
        var reports = Compare(before, before.Replace("int a", "int new, a", StringComparison.Ordinal));
        Assert.Equal(7, reports.Count);
        Assert.Contains("3 more", reports[^1].Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Types_inside_functions_may_share_a_name()
    {
        const string source =
            "int f(void *p) { struct l { int a; } *l = p; return l->a; } int g(void *p) { struct l { long b; } *l = p; return l->b; }";
        Assert.Empty(Compare(source, source));
        Assert.NotEmpty(Compare(source, source.Replace("long b;", "long z, b;", StringComparison.Ordinal)));
    }

    [Fact]
    public void An_object_without_types_is_an_error()
    {
        using var tree = new TestTree();
        tree.Write("x.c", "int a;");
        tree.RunOk("gcc", "-c", "-o", "x.o", "x.c");
        var plain = ElfObject.Read(File.ReadAllBytes(tree["x.o"]), "x.o");
        var bag = new DiagnosticBag();
        Assert.False(TypeVerdict.Compare(plain, ElfObject.Read(s_sample.Value, "y.o"), "x.c", bag));
        Assert.Equal("KSP5007", Assert.Single(bag).Id);
    }

    [Fact]
    public void Every_cut_and_every_changed_byte_is_read_or_refused()
    {
        var section = ElfObject.Read(s_sample.Value, "x.o").Sections.First(candidate => candidate.Name == ".BTF").Data.ToArray();
        for (var length = 0; length < section.Length; length++)
            Assert.Throws<ElfFormatException>(() => BtfReader.Read(section.AsMemory(0, length), "cut"));
        var good = BtfReader.Read(section, "good");
        for (var at = 0; at < section.Length; at++)
        {
            foreach (var flip in (byte[])[0x01, 0x80, 0xff])
            {
                var bad = (byte[])section.Clone();
                bad[at] ^= flip;
                try
                {
                    var types = BtfReader.Read(bad, "bad");
                    TypeComparison.Find(good, types, new HashSet<string> { "g", "use" });
                }
                catch (ElfFormatException)
                {
                    // Refused, as it may be; any other exception fails the test.
                }
            }
        }
    }
}
