// SPDX-License-Identifier: MIT
// The report of a build, and what a browser makes of it.
using System.Buffers.Binary;
using System.IO.Compression;
using CliWrap;
using CliWrap.Buffered;

namespace Ksplice.Tasks.Tests;

public sealed class ReportTests
{
    private const string Browser = "/usr/bin/chromium";

    [Fact]
    public async Task A_browser_shows_the_report_in_light_and_dark_and_every_part_of_it_can_be_reached_by_the_keyboard()
    {
        Assert.SkipUnless(File.Exists(Browser), $"{Browser} is not installed: tests/long/report-in-browser installs it");
        using PatchProject project = new(Patches.Release);
        project.Write("fix.patch", Patches.Smaps);
        (await project.BuildAsync()).MustSucceed();
        string report = project.Package + ".html";
        string dom = (await ChromiumAsync("--dump-dom", report)).StandardOutput;
        Assert.Contains("<a href=\"#f0\">show_smap</a>", dom, StringComparison.Ordinal);
        Assert.Contains("<section id=\"f0\" class=\"function\">", dom, StringComparison.Ordinal);
        Assert.Matches("<abbr title=\"ffffffff8[0-9a-f]{7}\">8[0-9a-f]{7}</abbr>", dom);
        // The source before and now, and the instructions folded away.
        Assert.Matches("<td class=\"new added\"><code>[^<]*vma_pages", dom);
        Assert.Contains("<details class=\"assembly\"><summary>", dom, StringComparison.Ordinal);
        Assert.Contains("<code class=\"added\">+", dom, StringComparison.Ordinal);
        Assert.Contains("<td class=\"sign\">+</td>", dom, StringComparison.Ordinal);
        Assert.Contains("task_mmu.c:", dom, StringComparison.Ordinal);
        Assert.Equal(dom.Split("<div class=\"code").Length, dom.Split("role=\"region\" tabindex=\"0\" aria-label=\"").Length);

        string picture = project.At("report.png");
        await ChromiumAsync("--screenshot=" + picture, report, "--window-size=1200,900");
        Assert.Equal((1200, 900, 0xffffff), Picture(await File.ReadAllBytesAsync(picture, TestContext.Current.CancellationToken)));
        await ChromiumAsync("--screenshot=" + picture, report, "--window-size=420,900", "--blink-settings=preferredColorScheme=0");
        Assert.Equal((420, 900, 0x16181c), Picture(await File.ReadAllBytesAsync(picture, TestContext.Current.CancellationToken)));
    }

    [Fact]
    public async Task Lines_behind_a_hunk_are_those_of_the_patched_file_in_a_changed_statement_and_else_of_the_original()
    {
        const string Unit = "fs/proc/task_mmu.c";
        using PatchProject project = new(Patches.Release);
        string patch = await File.ReadAllTextAsync(
            Repository.At("samples/b-kernel-pages/kernel-pages.patch"),
            TestContext.Current.CancellationToken
        );
        project.Write("fix.patch", patch);
        (await project.BuildAsync()).MustSucceed();
        string file = Assert.Single(Directory.GetFiles(project.At("obj"), "update.json", SearchOption.AllDirectories));
        var update = Build.Updates.UpdateDescription.Read(file, "");
        var lines = Assert
            .Single(update.Units)
            .Replaced.SelectMany(function => function.Code!.Now.Concat(function.Code.Before))
            .SelectMany(part => part)
            .Select(instruction => instruction.Source)
            .OfType<Build.Updates.LineDescription>()
            .Where(line => line.Path == Unit)
            .ToHashSet();
        string post = File.ReadAllText(Assert.Single(Directory.GetFiles(project.At("obj"), "task_mmu.c", SearchOption.AllDirectories)));
        string[] patched =
        [
            .. post.Split('\n')
                .Where(line => !line.StartsWith("# ", StringComparison.Ordinal) && !line.StartsWith("#line", StringComparison.Ordinal)),
        ];
        string[] original = File.ReadAllText(Path.Combine(await Patches.SourceAsync(), Unit)).Split('\n');
        Assert.All(lines, line => Assert.Contains(line.Text, (string[])[original[line.Line - 1].Trim(), patched[line.Line - 1].Trim()]));
        // The first is the patch's, the second stands behind all hunks.
        int changed = Array.IndexOf(patched, "\t\treturn proc_shows_kernel_pages(mm) ? get_gate_vma(mm) : NULL;") + 1;
        int behind = Array.IndexOf(original, "\treturn proc_get_vma(priv, ppos);") + 1;
        Assert.Contains(new Build.Updates.LineDescription(Unit, changed) { Text = patched[changed - 1].Trim() }, lines);
        Assert.Contains(new Build.Updates.LineDescription(Unit, behind) { Text = original[behind - 1].Trim() }, lines);
        string html = await File.ReadAllTextAsync(project.Package + ".html", TestContext.Current.CancellationToken);
        Assert.Contains($"task_mmu.c:{changed}</span> <code>return proc_shows_kernel_pages(mm)", html, StringComparison.Ordinal);
    }

    private static async Task<BufferedCommandResult> ChromiumAsync(string action, string report, params string[] more) =>
        await Cli.Wrap(Browser)
            .WithArguments([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                "--no-first-run",
                "--disable-quic",
                "--disable-background-networking",
                "--user-data-dir=" + Path.Combine(Path.GetDirectoryName(report)!, "browser"),
                action,
                .. more,
                "file://" + report,
            ])
            .ExecuteBufferedAsync(TestContext.Current.CancellationToken);

    // Width, height and the colour of the first pixel: in the first line and column, whatever the filter, that stands as it is.
    private static (int, int, int) Picture(byte[] png)
    {
        using MemoryStream packed = new();
        for (int at = 8; at < png.Length; )
        {
            int length = BinaryPrimitives.ReadInt32BigEndian(png.AsSpan(at));
            if (png.AsSpan(at + 4, 4).SequenceEqual("IDAT"u8))
                packed.Write(png.AsSpan(at + 8, length));
            at += 12 + length;
        }
        packed.Position = 0;
        using ZLibStream pixels = new(packed, CompressionMode.Decompress);
        byte[] first = new byte[4];
        pixels.ReadExactly(first);
        return (
            BinaryPrimitives.ReadInt32BigEndian(png.AsSpan(16)),
            BinaryPrimitives.ReadInt32BigEndian(png.AsSpan(20)),
            (first[1] << 16) | (first[2] << 8) | first[3]
        );
    }
}
