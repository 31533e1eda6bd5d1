// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text;
using CsCheck;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Patching;

namespace Ksplice.Build.Tests.Patching;

/// <summary>The compiler is the oracle: every original line must keep its number, whatever stands around the change.</summary>
public class LineDirectivesTests
{
    private static string Restored(string before, string after, string extension = ".c")
    {
        using var tree = new TestTree();
        string name = "x" + extension;
        tree.Write("a/" + name, before);
        tree.Write("b/" + name, after);
        var (_, diff) = tree.Run("diff", "-a", "-U3", "a/" + name, "b/" + name);
        var bag = new DiagnosticBag();
        var file = Assert.Single(PatchApplier.Apply([Patches.Parse(diff)], _ => Encoding.Latin1.GetBytes(before), bag)!);
        return Encoding.Latin1.GetString(LineDirectives.Restore(file.After!, name, out _));
    }

    /// <summary>A file of functions whose code has their line in it, as BUG() does, and of all that may stand between.</summary>
    private static readonly string[] s_pieces =
    [
        "int f@(int x)\n{\n\tif (x > 1)\n\t\tBUG();\n\treturn x;\n}\n",
        "/* a comment; {\n * over several lines;\n * #line 1\n */\n",
        "#define CAT@(a, b) \\\n\tdo { \\\n\t\ta; \\\n\t\tb; \\\n\t} while (0)\n",
        "const char s@[] = \"a string; \\\n goes on; {\\\n to here\";\n",
        "const char r@[] = R\"x(raw;\n\"{ \\\n /* }\n)x\";\n",
        "#ifdef NOT_DEFINED\nint g@(int x)\n{\n\tdon't compile;\n\tBUG();\n}\n#else\nint g@(int x)\n{\n\tBUG();\n\treturn x;\n}\n#endif\n",
        "#ifdef DEFINED\nint h@(int x)\n{\n\tBUG();\n\treturn x;\n}\n#else\nint h@ = '\"';\n#endif\n",
        "int k@(int x)\n{\n#ifdef NOT_DEFINED\n\tif (x && (\n#else\n\tif (x || (\n#endif\n\t\tx > 3))\n\t\tBUG();\n\treturn x;\n}\n",
        "int m@(int x)\n{\n\tWARN(x,\n\t\t\"text; %d\",\n\t\tx);\n\tWARN\n\t(x, \"\", 1);\n\treturn x;\n}\n",
        "// a line comment's quote \\\n   goes on /* here;\n",
        "struct t@ {\n\tint a; /* ; */\n\tint b;\n};\n",
        "enum { E@, /*\n\t*/ F@,\n\tG@ };\n",
        "static inline int j@(int x) { return x ? __LINE__ : '\\''; }\nint p@(int x) { return j@(x); }\n",
    ];

    private const string Prologue =
        "#define BUG() asm volatile(\"ud2; .pushsection __bug_table,\\\"aw\\\"; .long %c0; .popsection\" : : \"i\" (__LINE__))\n"
        + "#define WARN(c, ...) do { if (c) asm volatile(\"ud2; # %c0\" : : \"i\" (__LINE__)); } while (0)\n#define DEFINED 1\n"
        + "extern int sink;\n";

    private static readonly Gen<string> s_file = Gen.Int[0, s_pieces.Length - 1]
        .List[4, 12]
        .Select(picks =>
            Prologue
            + string.Concat(
                picks.Select((pick, i) => s_pieces[pick].Replace("@", i.ToString(CultureInfo.InvariantCulture), StringComparison.Ordinal))
            )
        );

    /// <summary>Original lines by number, as the compiler counts: each with a marker put before every line that may carry one.</summary>
    private static Dictionary<string, string> Numbers(string preprocessed)
    {
        var numbers = new Dictionary<string, string>(StringComparer.Ordinal);
        var line = 0;
        var name = "";
        foreach (var text in preprocessed.Split('\n'))
        {
            if (text.StartsWith("# ", StringComparison.Ordinal))
            {
                line = int.Parse(text.Split(' ')[1], CultureInfo.InvariantCulture) - 1;
                name = text.Split('"')[1]
                    .Split("x.c")[0]
                    .Replace("pre/", "", StringComparison.Ordinal)
                    .Replace("post/", "", StringComparison.Ordinal);
            }
            else if (text.StartsWith("int ", StringComparison.Ordinal) || text.StartsWith("struct ", StringComparison.Ordinal))
                numbers[text] = $"{name}{line}";
            else if (text.StartsWith("extern int sink", StringComparison.Ordinal) && name.StartsWith('/'))
                numbers[$"{name}{line}"] = text;
            line++;
        }
        return numbers;
    }

    [Fact]
    public void The_compiler_sees_every_function_at_its_original_line()
    {
        using var tree = new TestTree();
        Gen.Select(s_file, Gen.Select(Gen.Int[4, 90], Gen.Int[1, 3]).List[1, 3], Gen.Bool)
            .Sample(
                (before, edits, remove) =>
                {
                    var lines = before[..^1].Split('\n').ToList();
                    foreach (var (at, count) in edits.OrderByDescending(edit => edit.Item1))
                    {
                        var place = Math.Min(at, lines.Count);
                        if (!IsBlankPlace(lines, place))
                            continue;
                        if (remove && place < lines.Count && lines[place].StartsWith("extern int", StringComparison.Ordinal))
                            lines.RemoveAt(place);
                        else
                            lines.InsertRange(place, Enumerable.Range(0, count).Select(i => $"extern int sink{i};"));
                    }
                    var after = string.Join('\n', lines) + "\n";
                    if (after == before)
                        return true;
                    tree.Write("pre/x.c", before);
                    tree.Write("post/x.c", Restored(before, after));
                    var pre = Numbers(tree.RunOk("gcc", "-E", "pre/x.c"));
                    var post = Numbers(tree.RunOk("gcc", "-E", "post/x.c"));
                    Assert.All(pre, entry => Assert.Equal((entry.Key, entry.Value), (entry.Key, post[entry.Key])));
                    // Every line that was added, and is surely compiled, is known by its number in the patched file.
                    for (int i = 0; i < lines.Count; i++)
                    {
                        if (
                            lines[i].StartsWith("extern int sink", StringComparison.Ordinal)
                            && !before.Contains(lines[i] + "\n")
                            && !IsInGroup(lines, i)
                        )
                            Assert.Equal(lines[i], post[$"/ksplice-patched/0/{i + 1}"]);
                    }
                    return Sections(tree, "pre") == Sections(tree, "post");
                },
                iter: 60,
                threads: 1
            );
    }

    /// <summary>True between an #if and its #endif.</summary>
    private static bool IsInGroup(List<string> lines, int place) =>
        lines
            .Take(place)
            .Sum(line =>
                line.StartsWith("#if", StringComparison.Ordinal) ? 1
                : line == "#endif" ? -1
                : 0
            ) != 0;

    /// <summary>True between pieces and between statements, where a declaration may be put.</summary>
    private static bool IsBlankPlace(List<string> lines, int place) =>
        place == lines.Count
        || place == 4
        || lines[place - 1] is "}" or "};"
        || (lines[place - 1] == "#endif" && !lines[place].StartsWith("\t", StringComparison.Ordinal))
        || lines[place].StartsWith("/* a comment", StringComparison.Ordinal)
        || lines[place].StartsWith("const char", StringComparison.Ordinal)
        || lines[place].StartsWith("// a line", StringComparison.Ordinal);

    private static string Sections(TestTree tree, string folder)
    {
        tree.RunOk(
            "gcc",
            "-O2",
            "-c",
            "-w",
            "-std=gnu11",
            "-ffunction-sections",
            "-fdata-sections",
            "-o",
            $"{folder}/x.o",
            $"{folder}/x.c"
        );
        return tree.RunOk("sh", "-c", $"objdump -s -r {folder}/x.o | grep -v file.format");
    }

    [Fact]
    public void Without_directives_the_same_change_does_move_the_code()
    {
        using var tree = new TestTree();
        var before = Prologue + s_pieces[0];
        var after = before.Replace("int f@", "extern int added;\nint f@", StringComparison.Ordinal);
        tree.Write("pre/x.c", before.Replace('@', '1'));
        tree.Write("plain/x.c", after.Replace('@', '1'));
        tree.Write("post/x.c", Restored(before, after).Replace('@', '1'));
        Assert.NotEqual(Sections(tree, "pre"), Sections(tree, "plain"));
        Assert.Equal(Sections(tree, "pre"), Sections(tree, "post"));
    }

    [Theory]
    // After a statement that the change is in.
    [InlineData(
        "f(a,\n  b);\ng();\n",
        "f(a,\n  new,\n  b);\ng();\n",
        "# 1 \"/ksplice-patched/0/x.c\" 1\nf(a,\n  new,\n  b);\n# 3 \"\" 2\ng();\n"
    )]
    // Not within a comment that was there.
    [InlineData(
        "/*\n * a\n */\nint x;\n",
        "/*\n * new\n * a\n */\nint x;\n",
        "# 1 \"/ksplice-patched/0/x.c\" 1\n/*\n * new\n * a\n */\n# 4 \"\" 2\nint x;\n"
    )]
    // Not after a continued line.
    [InlineData(
        "#define A \\\n\tb\nint x;\n",
        "#define A \\\n\tnew \\\n\tb\nint x;\n",
        "# 1 \"/ksplice-patched/0/x.c\" 1\n#define A \\\n\tnew \\\n\tb\n# 3 \"\" 2\nint x;\n"
    )]
    // A removed line.
    [InlineData("int x;\nint y;\nint z;\n", "int x;\nint z;\n", "int x;\n#line 3\nint z;\n")]
    // A line in place of another.
    [InlineData(
        "int x;\nint y;\nint z;\n",
        "int x;\nlong y;\nint z;\n",
        "int x;\n# 2 \"/ksplice-patched/0/x.c\" 1\nlong y;\n# 3 \"\" 2\nint z;\n"
    )]
    // After the last line the way back, too.
    [InlineData("int x;\n", "int x;\nint y;\n", "int x;\n# 2 \"/ksplice-patched/0/x.c\" 1\nint y;\n# 3 \"\" 2\n")]
    [InlineData("int x;\n", "int x;\nint y;", "int x;\n# 2 \"/ksplice-patched/0/x.c\" 1\nint y;\n# 3 \"\" 2\n")]
    // The group may not be compiled: once more after it.
    [InlineData(
        "#ifdef A\nint x;\n#else\nint y;\n#endif\nint z;\n",
        "#ifdef A\nint new;\nint x;\n#else\nint y;\n#endif\nint z;\n",
        "#ifdef A\n# 2 \"/ksplice-patched/0/x.c\" 1\nint new;\n# 2 \"\" 2\nint x;\n#else\n#line 4\nint y;\n#endif\n#line 6\nint z;\n"
    )]
    // gcc would take the directive as what follows the macro's name.
    [InlineData(
        "int a;\nFOO\n(x);\nint b;\n",
        "int a;\nint new;\nBAR\n(x);\nint b;\n",
        "int a;\n# 2 \"/ksplice-patched/0/x.c\" 1\nint new;\nBAR\n(x);\n# 4 \"\" 2\nint b;\n"
    )]
    // A statement that goes on behind its group: both directives stand outside.
    [InlineData(
        "int a;\n#ifdef X\nint b\n#endif\n;\nint c;\n",
        "int a;\n#ifdef X\nint b\nNEW\n#endif\n;\nint c;\n",
        "int a;\n# 2 \"/ksplice-patched/0/x.c\" 1\n#ifdef X\nint b\nNEW\n#endif\n;\n# 6 \"\" 2\nint c;\n"
    )]
    // Outside it a function would be marked that did not change.
    [InlineData(
        "#ifdef X\nE(a)\n#endif\n#ifdef Y\nint f(void)\n{\n}\n#endif\nint z;\n",
        "#ifdef X\nE(a)\nE(b)\n#endif\n#ifdef Y\nint f(void)\n{\n}\n#endif\nint z;\n",
        "#ifdef X\nE(a)\nE(b)\n#endif\n#ifdef Y\nint f(void)\n{\n#line 7\n}\n#endif\n#line 9\nint z;\n"
    )]
    public void Puts_directives(string before, string after, string expected) => Assert.Equal(expected, Restored(before, after));

    [Fact]
    public void In_assembly_a_directive_needs_no_statement()
    {
        const string before = "SYM(x)\n\tmov $'(, %eax\n\tret\n/* ;\n*/\n\tnop\n";
        Assert.Equal(
            "SYM(x)\n#line 2 \"/ksplice-patched/0/x.S\"\n\tnew\n#line 2 \"x.S\"\n\tmov $'(, %eax\n\tret\n/* ;\n*/\n\tnop\n",
            Restored(before, before.Replace("\tmov", "\tnew\n\tmov", StringComparison.Ordinal), ".S")
        );
        Assert.Equal(
            "SYM(x)\n\tmov $'(, %eax\n\tret\n#line 4 \"/ksplice-patched/0/x.S\"\n/* ;\nnew\n*/\n#line 6 \"x.S\"\n\tnop\n",
            Restored(before, before.Replace("/* ;\n", "/* ;\nnew\n", StringComparison.Ordinal), ".S")
        );
    }

    [Fact]
    public void In_a_header_the_way_back_has_a_number_for_assembly_too() =>
        Assert.Equal(
            "int x;\n# 2 \"/ksplice-patched/0/x.h\" 1\nint new;\n# 2 \"\" 2\n#line 2\nint y;\n",
            Restored("int x;\nint y;\n", "int x;\nint new;\nint y;\n", ".h")
        );

    [Fact]
    public void A_statement_of_a_lower_update_keeps_its_mark_and_number()
    {
        static SourcePatch Patch(string hunk, int update) => Patches.Parse("--- a/x.c\n+++ b/x.c\n" + hunk) with { Update = update };
        var lower = Patch("@@ -1,2 +1,4 @@\n int a;\n+int lower(int);\n+int other(int);\n int b;\n", 0);
        var upper = Patch("@@ -1,4 +1,6 @@\n+int upper;\n int a;\n int lower(int);\n+int cut;\n int other(int);\n int b;\n", 1);
        string Written(params SourcePatch[] patches)
        {
            var file = Assert.Single(PatchApplier.Apply(patches, _ => "int a;\nint b;\n"u8.ToArray(), [])!);
            return Encoding.Latin1.GetString(LineDirectives.Restore(file.After!, "x.c", out _));
        }
        var below = LineDirectives.Read("x.c", Written(lower).Split('\n'));
        var above = LineDirectives.Read("x.c", Written(lower, upper).Split('\n'));
        Assert.Equal("int lower(int);", below[("/ksplice-patched/0/x.c", 2)]);
        Assert.Equal("int other(int);", below[("/ksplice-patched/0/x.c", 3)]);
        Assert.All(below.Where(line => line.Value.Length != 0), line => Assert.Equal(line.Value, above[line.Key]));
        Assert.Equal("int upper;", above[("/ksplice-patched/1/x.c", 1)]);
        Assert.Equal("int cut;", above[("/ksplice-patched/1/x.c", 4)]);
    }
}
