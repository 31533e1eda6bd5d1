// SPDX-License-Identifier: MIT
using System.Text;
using CsCheck;
using Ksplice.Build.Generation;
using Ksplice.Build.Reporting;
using Ksplice.Build.Tests.Differencing;
using Ksplice.Build.Updates;

namespace Ksplice.Build.Tests.Reporting;

public class HtmlReportTests
{
    [Fact]
    public void Listings_are_put_side_by_side_by_a_shortest_script()
    {
        var lines = Gen.Int[0, 3].Select(line => line.ToString(System.Globalization.CultureInfo.InvariantCulture)).Array[0, 12];
        Gen.Select(lines, lines)
            .Sample(
                (before, after) =>
                {
                    var pairs = Alignment.Of(before, after);
                    Assert.Equal(Enumerable.Range(0, before.Length), pairs.Select(pair => pair.Before).Where(at => at >= 0));
                    Assert.Equal(Enumerable.Range(0, after.Length), pairs.Select(pair => pair.After).Where(at => at >= 0));
                    Assert.All(pairs, pair => Assert.True(pair.Before < 0 || pair.After < 0 || before[pair.Before] == after[pair.After]));
                    Assert.Equal(Common(before, after), pairs.Count(pair => pair.Before >= 0 && pair.After >= 0));
                }
            );
    }

    // The longest common subsequence, by the table that every textbook has.
    private static int Common(string[] before, string[] after)
    {
        int[,] table = new int[before.Length + 1, after.Length + 1];
        for (int i = 1; i <= before.Length; i++)
        {
            for (int j = 1; j <= after.Length; j++)
                table[i, j] = before[i - 1] == after[j - 1] ? table[i - 1, j - 1] + 1 : Math.Max(table[i - 1, j], table[i, j - 1]);
        }
        return table[before.Length, after.Length];
    }

    private static string Report(string name, params ReportedDiagnostic[] diagnostics)
    {
        UpdateManifest manifest = new()
        {
            Format = UpdateManifest.CurrentFormat,
            Id = "0123abcd",
            Name = name,
            Kernel = new("6.1.0-1-cloud-amd64", "Linux version 6.1"),
            Targets = [],
            Pinned = false,
            Version = "1.2",
            Description = "What it is for",
            Advisories = ["CVE-2022-0847"],
            Patches = ["patches/00-a.patch"],
            Files = [new("a.ko", 4711, "")],
            Tool = "tool",
        };
        var folder = Directory.CreateTempSubdirectory("ksplice-report-");
        try
        {
            foreach (string side in (string[])["old", "new"])
            {
                Directory.CreateDirectory(Path.Combine(folder.FullName, side));
                File.WriteAllLines(
                    Path.Combine(folder.FullName, side, "unit.c"),
                    Enumerable.Range(1, 200).Select(line => $"{side} line {line}")
                );
            }
            string Line(string side) => $"\n#line 1 \"{Path.Combine(folder.FullName, side, "unit.c")}\"\n";
            var pair = CPair.Compare(
                Line("old") + "int f(int a) { use((void *)1); return probe(a) + 1; }",
                Line("new")
                    + "static int level; int f(int a) { use((void *)1); if (probe(a)) { use(&level); printk(\"text\"); return 7; }"
                    + " return probe(a) + 1; }",
                "-g",
                "-gbtf"
            );
            UpdateDescriber describer = new(Path.Combine(folder.FullName, "old"), Path.Combine(folder.FullName, "new"));
            var places = new Dictionary<(string, string), MatchedRange> { [(CPair.Unit, "f")] = new(0xffffffff81234560, 17) };
            UpdateDescription update = new()
            {
                Id = manifest.Id,
                Kernel = manifest.Kernel,
                Targets = [],
                Pinned = false,
                Data = null,
                Units = [describer.Describe(pair.Accepted, places)],
                Diagnostics = diagnostics,
                Acknowledged = [],
            };
            // What a later task reads is what this one wrote.
            UpdatePackage package = new(
                manifest,
                new Dictionary<string, ReadOnlyMemory<byte>>
                {
                    ["patches/00-a.patch"] = Encoding.UTF8.GetBytes(
                        "Why it is.\n\n--- a/unit.c\n+++ b/unit.c\n@@ -1 +1 @@\n-int a;\n+ksplice_pre_apply(f);\n"
                    ),
                }
            );
            return HtmlReport.Write(package, UpdateDescription.FromJson(update.ToJson()), "https://example.org/rules");
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    [Fact]
    public void A_report_shows_functions_with_addresses_code_source_and_sizes()
    {
        string html = Report("fix", new ReportedDiagnostic("KSP5015", "warning", new("a.c", 3), "paths differ"));
        foreach (
            string expected in (string[])
                [
                    "<h1>fix <span class=\"small\">1.2</span></h1>",
                    "What it is for",
                    "<li>CVE-2022-0847</li>",
                    "<div class=\"words\">Why it is.</div>",
                    "<code class=\"removed\">-int a;</code>",
                    "when the update is applied or undone: pre_apply.",
                    "not signed",
                    "<abbr title=\"ffffffff81234560\">81234560</abbr>",
                    "4711",
                    "<a href=\"https://example.org/rules/KSP5015.md\">KSP5015</a> <span class=\"small\">a.c:3</span></p>",
                    "<p>paths differ</p>",
                    "<p>Why: its own code.",
                    "<td class=\"sign\">+</td>",
                    "# probe",
                    "new line ",
                    "<li>The primary module stays loaded until reboot:<ul><li>f holds the address of level</li></ul></li>",
                    "in a data module without code:<ul><li>f holds the address of &quot;text&quot;</li></ul></li>",
                    "old line ",
                ]
        )
            Assert.Contains(expected, html, StringComparison.Ordinal);
        Assert.Contains("<details class=\"assembly\">", html, StringComparison.Ordinal);
    }

    [Fact]
    public void A_refused_build_has_a_report_with_its_reasons_first_and_the_patch()
    {
        string html = HtmlReport.WriteRefused(
            new(
                "fix <1>",
                "6.1.0-1-cloud-amd64",
                [("a.patch", "--- a/x.c\n+++ b/x.c\n@@ -1 +1 @@\n-<a>\n+<b>\n")],
                [new("KSP1035", "warning", null, "order"), new("KSP3001", "error", new("a.patch", 5), "it changes <data>")]
            )
        );
        int error = html.IndexOf("it changes &lt;data&gt;", StringComparison.Ordinal);
        Assert.InRange(error, 1, html.IndexOf("<p>order</p>", StringComparison.Ordinal));
        Assert.InRange(error, 1, html.IndexOf("<code class=\"added\">+&lt;b&gt;</code>", StringComparison.Ordinal));
        Assert.Contains("<h1>fix &lt;1&gt;</h1>", html, StringComparison.Ordinal);
        Assert.Contains("<dd>1 error</dd>", html, StringComparison.Ordinal);
        // Without the address of the pages nothing is linked.
        Assert.DoesNotMatch("href=\"[^#]", html);
    }

    [Fact]
    public void Nothing_in_it_runs_or_is_loaded_from_elsewhere()
    {
        string html = Report("<script>alert(1)</script>", new ReportedDiagnostic("X", "error", null, "<img src=http://example>"));
        Assert.Contains("default-src 'none'", html, StringComparison.Ordinal);
        Assert.DoesNotMatch("<(script|img|link|iframe|object)", html);
        Assert.DoesNotMatch("src=\"|href=\"(?!#|https://example.org/rules/X.md\")", html);
        Assert.Contains("&lt;script&gt;", html, StringComparison.Ordinal);
    }
}
