// SPDX-License-Identifier: MIT
using System.Text;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Kernel;

namespace Ksplice.Build.Tests.Kernel;

public sealed class KernelImageTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("ksplice-image-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Unpacks_the_shipped_image_and_knows_its_release()
    {
        var image = KernelUnderTest.Image;
        Assert.Equal(KernelUnderTest.Release, image.Release);
        Assert.Contains("gcc", image.Banner, StringComparison.Ordinal);
    }

    [Fact]
    public void Kallsyms_holds_every_export_of_the_headers_package()
    {
        var exports = File.ReadLines(Path.Combine(KernelUnderTest.HeadersPath, "Module.symvers"))
            .Select(line => line.Split('\t'))
            .Where(fields => fields[2] == "vmlinux")
            .Select(fields => fields[1])
            .ToList();
        Assert.NotEmpty(exports);
        Assert.All(exports, name => Assert.NotEmpty(KernelUnderTest.Image.Symbols.Find(name)));
        // The kernel's own table of them says the same, and where each is.
        Assert.All(exports, name =>
            Assert.Contains(KernelUnderTest.Image.Symbols.Find(name), symbol => symbol.Address == KernelUnderTest.Image.FindExport(name))
        );
        Assert.Null(KernelUnderTest.Image.FindExport("kallsyms_lookup_name"));
    }

    [Fact]
    public void Kallsyms_is_in_order_and_its_text_lies_between_its_own_marks()
    {
        var symbols = KernelUnderTest.Image.Symbols;
        Assert.True(symbols.Symbols.Zip(symbols.Symbols.Skip(1)).All(pair => pair.First.Address <= pair.Second.Address));
        Assert.All(symbols.Symbols, symbol => Assert.All(symbol.Name, letter => Assert.InRange(letter, '!', '~')));
        ulong start = symbols.FindUnique("_stext")!.Value;
        ulong end = symbols.FindUnique("_etext")!.Value;
        Assert.InRange(symbols.FindUnique("version_proc_show")!.Value, start, end);
        Assert.Equal("version_proc_show", symbols.Nearest(symbols.FindUnique("version_proc_show")!.Value + 3)!.Value.Symbol.Name);
    }

    // Sequence numbers of three bytes each precede the tokens: where their size is a multiple of eight, no zero lies between.
    [Fact]
    public void Kallsyms_is_found_whatever_its_tokens_follow()
    {
        byte[] image = KernelPayload.Unpack(File.ReadAllBytes(KernelUnderTest.ImagePath)).ToArray();
        int changed = 0;
        for (int digits = 0; (digits = IndexOf(image, "0\01\02\03\04\05\06\07\08\09\0"u8, digits + 1)) >= 0; )
        {
            int start = digits;
            for (int token = 0; token < '0'; token++)
                start = image.AsSpan(0, start - 1).LastIndexOf((byte)0) + 1;
            if (image[start - 1] == 0 && start % 8 == 0)
            {
                image.AsSpan(start - 3, 3).Fill(0xff);
                changed++;
            }
        }
        Assert.NotEqual(0, changed);
        Assert.Equal(KernelUnderTest.Image.Symbols.Symbols, KernelImage.Read(image, "changed").Symbols.Symbols);

        static int IndexOf(byte[] bytes, ReadOnlySpan<byte> wanted, int from) =>
            bytes.AsSpan(from).IndexOf(wanted) is >= 0 and var found ? from + found : -1;
    }

    [Fact]
    public async Task Reads_the_layout_of_6_12_too()
    {
        var (kernel, image) = await NewerKernel.PreparedAsync();
        Assert.Equal(kernel.Release.Release, image.Release);
        Assert.True(image.Symbols.Symbols.Count > 50_000);
        // What symbols name is there: the banner's text, the first byte of text, a jump table that leads into text.
        Assert.StartsWith(
            "Linux version " + image.Release,
            Encoding.ASCII.GetString(image.Slice(image.Symbols.FindUnique("linux_banner")!.Value, 200)),
            StringComparison.Ordinal
        );
        ulong start = image.Symbols.FindUnique("_stext")!.Value,
            end = image.Symbols.FindUnique("_etext")!.Value;
        Assert.True(image.Tables.JumpLabels.Count > 1000);
        Assert.True(image.Tables.JumpLabels.Keys.Count(code => code >= start && code < end) > image.Tables.JumpLabels.Count * 0.8);
        Assert.All(["vfs_read", "schedule", "do_exit"], name => Assert.NotNull(image.Symbols.FindUnique(name)));
    }

    [Fact]
    public void The_jump_table_names_branches_in_text()
    {
        var image = KernelUnderTest.Image;
        ulong start = image.Symbols.FindUnique("__start___jump_table")!.Value;
        Span<byte> first = stackalloc byte[4];
        Assert.True(image.TryRead(start, first));
        ulong code = start + (ulong)BitConverter.ToInt32(first);
        Assert.True(image.Tables.JumpLabels.TryGetValue(code, out var label));
        Assert.NotNull(image.Symbols.Nearest(label.Target));
        Assert.True(image.TryRead(label.Key, new byte[16]));
    }

    /// <summary>
    /// As generic kernels are: xz with its filter for x86 code, and the size behind it; in one block, and in several, as xz 5.6 and newer
    /// write them unless told otherwise.
    /// </summary>
    [Theory]
    [InlineData("--threads=1")]
    [InlineData("--block-size=1MiB")]
    public async Task Unpacks_a_payload_with_the_filter_for_x86_code(string blocks)
    {
        var code = KernelPayload.Unpack(await File.ReadAllBytesAsync(KernelUnderTest.ImagePath, TestContext.Current.CancellationToken))[
            ..(5 << 20)
        ];
        MemoryStream packed = new();
        await (
            CliWrap.PipeSource.FromBytes(code)
            | CliWrap.Cli.Wrap("xz").WithArguments(["-c", "--check=crc32", blocks, "--x86", "--lzma2=preset=0"])
            | CliWrap.PipeTarget.ToStream(packed)
        ).ExecuteAsync(TestContext.Current.CancellationToken);
        packed.Write(BitConverter.GetBytes(code.Length));
        var image = new byte[1024 + packed.Length];
        image[0x1f1] = 1;
        BitConverter.GetBytes((ushort)0xaa55).CopyTo(image, 0x1fe);
        "HdrS"u8.CopyTo(image.AsSpan(0x202));
        BitConverter.GetBytes((uint)packed.Length).CopyTo(image, 0x24c);
        packed.ToArray().CopyTo(image, 1024);
        Assert.True(code.AsSpan().SequenceEqual(KernelPayload.Unpack(image)));

        // A byte of the code; the number of blocks in the index, and where the index begins, in the footer.
        foreach (int place in (int[])[(int)(packed.Length / 2), 4 + 12 + IndexLength(image) - 1, 4 + 12 + IndexLength(image), 4 + 8])
        {
            image[^place] ^= 1;
            Assert.Throws<InvalidDataException>(() => KernelPayload.Unpack(image));
            image[^place] ^= 1;
        }

        static int IndexLength(byte[] image) => (BitConverter.ToInt32(image, image.Length - 4 - 8) + 1) * 4;
    }

    [Theory]
    [InlineData(100)]
    [InlineData(4096)]
    [InlineData(1_000_000)]
    public void Refuses_a_truncated_image(int length)
    {
        string path = Path.Combine(_folder, "vmlinuz");
        File.WriteAllBytes(path, File.ReadAllBytes(KernelUnderTest.ImagePath)[..length]);
        AssertRefused(path);
    }

    [Fact]
    public void Refuses_an_image_whose_payload_is_damaged()
    {
        string path = Path.Combine(_folder, "vmlinuz");
        byte[] bytes = File.ReadAllBytes(KernelUnderTest.ImagePath);
        bytes.AsSpan(bytes.Length / 2, 4096).Clear();
        File.WriteAllBytes(path, bytes);
        AssertRefused(path);
    }

    [Fact]
    public void Refuses_a_file_that_is_no_kernel()
    {
        string path = Path.Combine(_folder, "text");
        File.WriteAllText(path, new string('x', 5000));
        AssertRefused(path);
    }

    private static void AssertRefused(string path)
    {
        var diagnostics = new DiagnosticBag();
        Assert.Null(KernelImage.Open(path, diagnostics));
        Assert.Equal("KSP1001", Assert.Single(diagnostics).Id);
    }
}
