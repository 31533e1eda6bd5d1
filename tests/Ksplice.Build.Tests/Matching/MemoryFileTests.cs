// SPDX-License-Identifier: MIT
// What can be named to match against, and what is refused.
using System.Buffers.Binary;
using CliWrap;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Ksplice.Build.Kernel;
using Ksplice.Build.Matching;
using Ksplice.Build.Tests.Kernel;

namespace Ksplice.Build.Tests.Matching;

public sealed class MemoryFileTests : IDisposable
{
    private readonly string _work = Directory.CreateTempSubdirectory("ksplice-target-").FullName;

    public void Dispose() => Directory.Delete(_work, recursive: true);

    private string Write(string name, byte[] bytes)
    {
        string path = Path.Combine(_work, name);
        File.WriteAllBytes(path, bytes);
        return path;
    }

    private static string Refused(string path, string? kernel = null)
    {
        DiagnosticBag diagnostics = [];
        Assert.Null(MemoryFile.Open(path, kernel, diagnostics));
        return Assert.Single(diagnostics).Id;
    }

    [Fact]
    public async Task An_unpacked_image_with_a_changed_byte_is_shown_with_both_codes()
    {
        var pre = await KernelObjects.CompileAsync("fs/proc/version.c");
        byte[] vmlinux = KernelPayload.Unpack(
            await File.ReadAllBytesAsync(KernelUnderTest.ImagePath, TestContext.Current.CancellationToken)
        );
        DiagnosticBag diagnostics = [];
        ulong address;
        using (var whole = MemoryFile.Open(Write("vmlinux", vmlinux), null, diagnostics)!)
        {
            var function = Assert.Single(ObjectMatch.Run(pre, "fs/proc/version.c", whole.Memory), function =>
                function.Name == "version_proc_show"
            );
            Assert.True(function.Result!.IsMatch);
            address = function.Result.Functions[0].Start;
            Assert.Equal("version_proc_show+0x1", whole.NameOf(address + 1));
        }
        byte[] code = new byte[32];
        Assert.True(KernelUnderTest.Image.TryRead(address, code));
        // sub or push right behind the fentry site: another register.
        vmlinux[vmlinux.AsSpan().IndexOf(code) + 7] ^= 1;
        using var changed = MemoryFile.Open(Write("vmlinux", vmlinux), null, diagnostics)!;
        var failure = Assert
            .Single(ObjectMatch.Run(pre, "fs/proc/version.c", changed.Memory), function => function.Name == "version_proc_show")
            .Result!.Failure!;
        var listing = MatchListing.Of(pre, failure, changed)!;
        var (left, right) = (Assert.Single(listing.Pre, one => one.Differs), Assert.Single(listing.Run, one => one.Differs));
        Assert.Equal(address + left.Address, right.Address);
        Assert.NotEqual(left.Text, right.Text);
        Assert.Equal("call 5  # __fentry__", listing.Pre[0].Text);
        Assert.Empty(diagnostics);
    }

    [Fact]
    public async Task A_module_is_taken_compressed_and_its_kernel_is_asked_for()
    {
        string copy = Write("loop.ko", ModulesUnderTest.Read("loop"));
        await Cli.Wrap("xz").WithArguments(["-k", copy]).ExecuteAsync(TestContext.Current.CancellationToken);
        await Cli.Wrap("zstd").WithArguments(["-q", copy]).ExecuteAsync(TestContext.Current.CancellationToken);
        foreach (string form in (string[])["", ".xz", ".zst"])
        {
            DiagnosticBag diagnostics = [];
            using var target = MemoryFile.Open(copy + form, KernelUnderTest.ImagePath, diagnostics);
            Assert.NotNull(target);
            Assert.StartsWith("module loop of Linux version " + KernelUnderTest.Release, target.Description, StringComparison.Ordinal);
            ulong place = Assert.Single(target.Memory.Candidates("loop_configure"));
            Assert.Equal("loop_configure+0x2", target.NameOf(place + 2));
        }
        Assert.Equal("KSP4063", Refused(copy, Path.Combine(_work, "none")));
        byte[] other = await File.ReadAllBytesAsync(copy, TestContext.Current.CancellationToken);
        other[other.AsSpan().IndexOf("vermagic="u8) + 9]++;
        Assert.Equal("KSP4062", Refused(Write("other.ko", other), KernelUnderTest.ImagePath));
    }

    // An ELF core of one segment of zeros, with or without qemu's note.
    private static byte[] Core(bool withNote)
    {
        byte[] core = new byte[0x4000];
        "\u007fELF"u8.CopyTo(core);
        (core[4], core[5], core[6], core[16], core[18]) = (2, 1, 1, 4, 62);
        BinaryPrimitives.WriteInt64LittleEndian(core.AsSpan(32), 64);
        BinaryPrimitives.WriteUInt16LittleEndian(core.AsSpan(54), 56);
        BinaryPrimitives.WriteUInt16LittleEndian(core.AsSpan(56), 2);
        Header(64, 1, 0x1000, 0x3000);
        Header(120, 4, 0x200, withNote ? 20 + 440 : 0);
        BinaryPrimitives.WriteInt32LittleEndian(core.AsSpan(0x200), 5);
        BinaryPrimitives.WriteInt32LittleEndian(core.AsSpan(0x204), 440);
        "QEMU"u8.CopyTo(core.AsSpan(0x20c));
        return core;

        void Header(int at, uint type, long offset, long size)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(core.AsSpan(at), type);
            BinaryPrimitives.WriteInt64LittleEndian(core.AsSpan(at + 8), offset);
            BinaryPrimitives.WriteInt64LittleEndian(core.AsSpan(at + 32), size);
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_core_without_a_kernel_is_refused(bool withNote) => Assert.Equal("KSP4061", Refused(Write("core", Core(withNote))));

    [Fact]
    public void A_malformed_core_is_refused()
    {
        for (int length = 20; length < 0x400; length += 7)
            Assert.Equal("KSP4061", Refused(Write("core", Core(true)[..length])));
        foreach (int at in (int[])[32, 39, 54, 56, 72, 79, 128, 135, 152, 159, 0x200, 0x203, 0x207])
        {
            byte[] core = Core(true);
            core[at] = 0xff;
            Assert.Equal("KSP4061", Refused(Write("core", core)));
        }
    }

    [Fact]
    public void A_file_that_is_nothing_of_this_is_refused()
    {
        Assert.Equal("KSP4061", Refused(Path.Combine(_work, "none")));
        Assert.Equal("KSP1001", Refused(Write("text", "no kernel"u8.ToArray())));
    }
}
