// SPDX-License-Identifier: MIT
using System.Text;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Elf;
using Ksplice.Build.Kernel;

namespace Ksplice.Build.Tests.Kernel;

/// <summary>Shipped modules as they would stand in memory.</summary>
public sealed class LoadedModuleTests : IDisposable
{
    private readonly DirectoryInfo _work = Directory.CreateTempSubdirectory("ksplice-modules-");

    public void Dispose() => _work.Delete(recursive: true);

    private async Task<ShippedModules> WithAsync(string file, byte[] bytes)
    {
        string path = Path.Combine(_work.FullName, "kernel", file);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        await File.WriteAllBytesAsync(path, bytes, TestContext.Current.CancellationToken);
        return new((await KernelUnderTest.PreparedAsync()).Release with { Modules = _work.FullName });
    }

    private static LoadedModule? Load(ShippedModules modules, string name, DiagnosticBag diagnostics) =>
        modules.Open(name, diagnostics) is { } file ? LoadedModule.Load(file, modules, KernelUnderTest.Image, diagnostics) : null;

    private static string Refused(ShippedModules modules, string name, string id)
    {
        DiagnosticBag diagnostics = [];
        Assert.Null(Load(modules, name, diagnostics));
        var error = Assert.Single(diagnostics);
        Assert.Equal(id, error.Id);
        return error.Message;
    }

    [Fact]
    public async Task Names_calls_and_tables_lead_where_the_running_kernels_would()
    {
        var module = await ModulesUnderTest.LoadAsync("nf_tables");
        var image = KernelUnderTest.Image;
        // The module's own name, several of them, and what init memory takes away.
        Assert.Single(module.Find("nft_register_expr"));
        Assert.True(module.Find(".LC0").Count() > 1);
        Assert.Empty(module.Find("init_module"));
        Assert.Single(module.Find("cleanup_module"));
        Assert.True(module.IsText(module.Find("nft_register_expr").Single(), module.Find("nft_register_expr").Single() + 1));
        Assert.False(module.IsText(module.Find("__this_module").Single(), module.Find("__this_module").Single() + 1));
        // Another module's exports, each at a place of its own.
        Assert.NotNull(module.FindImport("nfnetlink_subsys_register"));
        Assert.NotEqual(module.FindImport("nfnetlink_subsys_register"), module.FindImport("nfnetlink_subsys_unregister"));
        Assert.Null(module.FindImport("nft_register_expr"));

        // struct module: the loader finds the name and the exit function through relocations.
        var header = new byte[4096];
        ulong start = module.Find("__this_module").Single();
        int size = header.Length;
        while (!module.TryRead(start, header.AsSpan(0, size)))
            size -= 8;
        Assert.True(header.AsSpan(0, size).IndexOf("nf_tables\0"u8) > 0);
        Assert.True(header.AsSpan(0, size).IndexOf(BitConverter.GetBytes(module.Find("cleanup_module").Single())) > 0);

        // A call of what the kernel exports.
        Assert.Equal(image.Symbols.FindUnique("__fentry__"), image.FindExport("__fentry__"));
        var call = new byte[5];
        ulong function = module.Find("nft_register_expr").Single();
        Assert.True(module.TryRead(function, call));
        Assert.Equal(0xe8, call[0]);
        Assert.Equal(image.FindExport("__fentry__"), function + 5 + (ulong)BitConverter.ToInt32(call, 1));
    }

    [Fact]
    public async Task A_static_call_that_a_module_may_not_change_has_the_kernels_key()
    {
        var module = await ModulesUnderTest.LoadAsync("fuse");
        ulong key = KernelUnderTest.Image.Symbols.FindUnique("__SCK__might_resched")!.Value;
        Assert.Contains(
            Enumerable.Range(0, 0x18000).Select(offset => module.Find("fuse_send_init").Single() - 0x8000 + (ulong)offset),
            site => module.Tables.StaticCalls.TryGetValue(site, out ulong found) && found == key
        );
    }

    [Theory]
    [InlineData("xz", "-c")]
    [InlineData("zstd", "-qc")]
    [InlineData("gzip", "-c")]
    public async Task A_compressed_file_is_the_same_module(string program, string option)
    {
        var packed = new MemoryStream();
        var pack =
            CliWrap.PipeSource.FromBytes(ModulesUnderTest.Read("loop"))
            | CliWrap.Cli.Wrap(program).WithArguments([option])
            | CliWrap.PipeTarget.ToStream(packed);
        await pack.ExecuteAsync(TestContext.Current.CancellationToken);
        var module = Load(
            await WithAsync(
                "loop.ko"
                    + program switch
                    {
                        "zstd" => ".zst",
                        "gzip" => ".gz",
                        _ => ".xz",
                    },
                packed.ToArray()
            ),
            "loop",
            []
        )!;
        var plain = await ModulesUnderTest.LoadAsync("loop");
        var (one, other) = (new byte[64], new byte[64]);
        ulong start = plain.Find("lo_ioctl").Single();
        Assert.Equal(start, module.Find("lo_ioctl").Single());
        Assert.True(module.TryRead(start, one) && plain.TryRead(start, other));
        Assert.Equal(other, one);
    }

    [Fact]
    public async Task KSP2030_a_module_that_is_not_there() =>
        Assert.Contains(
            "no_such_module",
            Refused(await ModulesUnderTest.AllAsync(), "no_such_module", "KSP2030"),
            StringComparison.Ordinal
        );

    [Fact]
    public async Task KSP2031_a_module_of_another_release_or_of_another_name()
    {
        var bytes = ModulesUnderTest.Read("loop");
        Assert.Contains(
            "module loop of kernel",
            Refused(await WithAsync("null_blk.ko", bytes), "null_blk", "KSP2031"),
            StringComparison.Ordinal
        );
        int at = bytes.AsSpan().IndexOf("vermagic=6"u8);
        bytes[at + "vermagic=".Length] = (byte)'5';
        Assert.Contains("of kernel 5.", Refused(await WithAsync("loop.ko", bytes), "loop", "KSP2031"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task KSP2032_a_module_that_needs_what_nothing_exports_or_that_is_damaged()
    {
        var bytes = ModulesUnderTest.Read("loop");
        var elf = ElfObject.Read(bytes, "loop.ko");
        string wanted = elf.Symbols.First(symbol => symbol.IsUndefined && symbol.Name.StartsWith("blk_mq_", StringComparison.Ordinal)).Name;
        // The name in the string table, which symbols share.
        for (
            int at = bytes.AsSpan().IndexOf(Encoding.ASCII.GetBytes("\0" + wanted + "\0"));
            at >= 0;
            at = bytes.AsSpan().IndexOf(Encoding.ASCII.GetBytes("\0" + wanted + "\0"))
        )
            bytes[at + 1] = (byte)'#';
        Assert.Contains("'#" + wanted[1..] + "'", Refused(await WithAsync("loop.ko", bytes), "loop", "KSP2032"), StringComparison.Ordinal);
        Refused(await WithAsync("loop.ko", bytes[..(bytes.Length / 2)]), "loop", "KSP2032");
        Refused(await WithAsync("loop.ko", Encoding.ASCII.GetBytes("not a module at all")), "loop", "KSP2032");
    }
}
