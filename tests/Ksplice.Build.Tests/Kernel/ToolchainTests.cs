// SPDX-License-Identifier: MIT
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Elf;
using Ksplice.Build.Kernel;
using Microsoft.Extensions.Logging.Abstractions;

namespace Ksplice.Build.Tests.Kernel;

/// <summary>A kernel whose compiler, binutils and kbuild run in a root folder.</summary>
public sealed class ToolchainTests : IDisposable
{
    private static readonly string[] OfKbuild = ["make", "as", "ld", "strip", "flex", "bison", "bc", "awk", "perl"];
    private readonly RootFolder _root = new();

    public void Dispose() => _root.Dispose();

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    private async Task<Diagnostic> RefusedAsync(KernelReleaseOptions? options = null)
    {
        DiagnosticBag diagnostics = [];
        options ??= new() { Release = KernelUnderTest.Release };
        Assert.Null(await KernelReleaseResolver.ResolveAsync(options with { Toolchain = _root.Path }, diagnostics, Cancellation));
        return Assert.Single(diagnostics);
    }

    [Fact]
    public async Task Refuses_a_root_that_does_not_exist()
    {
        DiagnosticBag diagnostics = [];
        KernelReleaseOptions options = new() { Release = KernelUnderTest.Release, Toolchain = _root.At("none") };
        Assert.Null(await KernelReleaseResolver.ResolveAsync(options, diagnostics, Cancellation));
        var report = Assert.Single(diagnostics);
        Assert.Equal("KSP2072", report.Id);
        Assert.Contains($"build/setup --release {KernelUnderTest.Release}", report.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Refuses_a_root_without_kbuilds_programs()
    {
        _root.Programs("make", "flex", "bison");
        var report = await RefusedAsync();
        Assert.Equal("KSP2074", report.Id);
        Assert.Contains($"{_root.Path} has no as, ld, strip", report.Message, StringComparison.Ordinal);
        Assert.Contains("install the packages binutils", report.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Refuses_a_root_without_a_shell() => Assert.Equal("KSP2014", (await RefusedAsync()).Id);

    // The headers of this machine are below /usr, so they are named as those of the unpacked image would be.
    [Fact]
    public async Task Refuses_a_root_without_the_kernels_compiler()
    {
        _root.Programs(OfKbuild);
        var report = await RefusedAsync(new() { Release = KernelUnderTest.Release, Headers = HeadersElsewhere() });
        Assert.Equal("KSP2006", report.Id);
        Assert.Contains($"cannot be run in the toolchain's root {_root.Path}", report.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Refuses_headers_that_the_root_hides()
    {
        _root.Programs(OfKbuild);
        var report = await RefusedAsync(new() { Release = KernelUnderTest.Release, Headers = KernelUnderTest.HeadersPath });
        Assert.Equal("KSP2075", report.Id);
        Assert.Contains(KernelUnderTest.HeadersPath, report.Message, StringComparison.Ordinal);
        // Without being named they are not found there.
        Assert.Equal(
            "KSP2001",
            (await RefusedAsync(new() { Release = KernelUnderTest.Release, Config = KernelUnderTest.HeadersPath + "/.config" })).Id
        );
    }

    /// <summary>The tree of this machine's programs as a root: everything runs there, and makes what it makes here.</summary>
    [Fact]
    public async Task Compiles_in_the_root_what_it_compiles_on_this_machine()
    {
        _root.Host("usr", "bin", "sbin", "lib", "lib64", "etc");
        DiagnosticBag diagnostics = [];
        var kernel = await KernelUnderTest.PreparedAsync();
        KernelReleaseOptions options = new() { Release = KernelUnderTest.Release, Toolchain = _root.Path };
        var release = await KernelReleaseResolver.ResolveAsync(options, diagnostics, Cancellation);
        Assert.Empty(diagnostics);
        Assert.Equal(_root.Path, release!.Toolchain);
        Assert.Equal(kernel.Release.CompilerVersion, release.CompilerVersion);
        Assert.StartsWith("GNU assembler", release.AssemblerVersion, StringComparison.Ordinal);

        // Another root makes another tree and other objects.
        Assert.NotEqual(KernelCache.KeyOf(kernel.Release), KernelCache.KeyOf(release));
        UnitCompiler here = new(kernel, NullLogger.Instance),
            there = new(kernel with { Release = release }, NullLogger.Instance),
            otherAssembler = new(kernel with { Release = kernel.Release with { AssemblerVersion = "other" } }, NullLogger.Instance);
        var unit = kernel.Units.Find("fs/proc/version.c")!;
        string[] commands =
        [
            .. new[] { here, there, otherAssembler }.Select(compiler => compiler.CommandOf(unit, kernel.SourceDirectory, [])),
        ];
        Assert.Equal(3, commands.Distinct(StringComparer.Ordinal).Count());

        var first = await here.CompileAsync(unit, kernel.SourceDirectory, _root.At("here.o"), [], diagnostics, Cancellation);
        // objtool runs there too, and needs /proc.
        var second = await there.CompileAsync(unit, kernel.SourceDirectory, _root.At("there.o"), [], diagnostics, Cancellation);
        Assert.Empty(diagnostics);
        Assert.Equal(first!.Dependencies, second!.Dependencies);
        Assert.Equal(Contents("here.o"), Contents("there.o"));
    }

    // .BTF is not the same from one run of gcc to the next.
    private IEnumerable<(string, string, string)> Contents(string name) =>
        ElfObject
            .Read(File.ReadAllBytes(_root.At(name)), name)
            .Sections.Where(section => section.Name != ".BTF")
            .Select(section => (section.Name, Convert.ToHexString(section.Data.Span), string.Join(",", section.Relocations)));

    private string HeadersElsewhere()
    {
        string folder = _root.At("headers");
        Directory.CreateDirectory(folder);
        foreach (string entry in Directory.GetFileSystemEntries(KernelUnderTest.HeadersPath))
            File.CreateSymbolicLink(Path.Combine(folder, Path.GetFileName(entry)), entry);
        return folder;
    }
}
