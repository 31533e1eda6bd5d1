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
        Assert.Contains("<section id=\"f0\">", dom, StringComparison.Ordinal);
        Assert.Matches("<code>ffffffff8[0-9a-f]{7}</code>", dom);
        Assert.Contains("<td class=\"sign\">+</td>", dom, StringComparison.Ordinal);
        Assert.Contains("task_mmu.c:", dom, StringComparison.Ordinal);
        Assert.Equal(dom.Split("class=\"code\"").Length, dom.Split("role=\"region\" tabindex=\"0\" aria-label=\"").Length);

        string picture = project.At("report.png");
        await ChromiumAsync("--screenshot=" + picture, report, "--window-size=1200,900");
        Assert.Equal((1200, 900, 0xffffff), Picture(await File.ReadAllBytesAsync(picture, TestContext.Current.CancellationToken)));
        await ChromiumAsync("--screenshot=" + picture, report, "--window-size=1200,900", "--blink-settings=preferredColorScheme=0");
        Assert.Equal((1200, 900, 0x16181c), Picture(await File.ReadAllBytesAsync(picture, TestContext.Current.CancellationToken)));
    }

    private static async Task<BufferedCommandResult> ChromiumAsync(string action, string report, params string[] more) =>
        await Cli.Wrap(Browser)
            .WithArguments(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", action, .. more, "file://" + report])
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
