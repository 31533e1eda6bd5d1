// SPDX-License-Identifier: MIT
using System.Text;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Elf;
using Ksplice.Build.Kernel;
using Microsoft.Extensions.Logging.Abstractions;

namespace Ksplice.Build.Tests.Kernel;

/// <summary>Units of the stock configuration, listed by kbuild and compiled by its commands.</summary>
public sealed class PreparedKernelTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("ksplice-unit-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task Lists_the_units_of_the_configuration()
    {
        var kernel = await KernelUnderTest.PreparedAsync();
        Assert.Null(kernel.Units.Find("fs/proc/version.c")!.Module);
        Assert.Equal("xfs", kernel.Units.Find("fs/xfs/xfs_super.c")!.Module);
        Assert.Equal("aesni_intel", kernel.Units.Find("arch/x86/crypto/aesni-intel_asm.S")!.Module);
        Assert.Equal("kvm_intel", kernel.Units.Find("arch/x86/kvm/vmx/vmenter.S")!.Module);
        Assert.Null(kernel.Units.Find("arch/x86/lib/memmove_64.S")!.Module);
        Assert.DoesNotContain(kernel.Units.Units, unit => unit.Module == "");
        Assert.True(kernel.Units.Find("arch/x86/entry/entry_64.S")!.IsAssembly);
        Assert.Null(kernel.Units.Find("arch/x86/entry/vdso/vclock_gettime.c"));
        Assert.Null(kernel.Units.Find("arch/x86/boot/main.c"));
        Assert.Null(kernel.Units.Find("arch/arm64/kernel/setup.c"));
    }

    // A header that these include may change; they are no code of the running kernel.
    [Theory]
    [InlineData("arch/x86/lib/getuser.o", null)]
    [InlineData("arch/x86/entry/vdso/vma.o", null)]
    [InlineData("lib/crypto/sha256.o", null)]
    [InlineData("arch/x86/entry/vdso/vclock_gettime.o", "the vDSO")]
    [InlineData("arch/x86/entry/vdso/vdso32/vclock_gettime.o", "the vDSO")]
    [InlineData("arch/x86/entry/vdso/vdso32/system_call.o", "the vDSO")]
    [InlineData("arch/x86/realmode/rm/trampoline_64.o", "the real-mode trampoline")]
    [InlineData("arch/x86/realmode/rm/wakemain.o", "the real-mode trampoline")]
    [InlineData("arch/x86/purgatory/sha256.o", "kexec's purgatory")]
    [InlineData("drivers/firmware/efi/libstub/lib-ctype.o", "the boot image")]
    [InlineData("lib/raid6/int4.o", "a source that the kernel's build generates")]
    [InlineData("arch/x86/entry/vdso/vdso-image-64.o", "a source that the kernel's build generates")]
    [InlineData("arch/x86/boot/compressed/misc.o", "the boot image")]
    [InlineData("arch/x86/boot/compressed/head_64.o", "the boot image")]
    [InlineData("arch/x86/boot/header.o", "the boot image")]
    public async Task Tells_the_kernels_own_code_from_what_no_update_can_replace(string file, string? apart)
    {
        var kernel = await KernelUnderTest.PreparedAsync();
        var unit = Assert.Single(kernel.Units.Units.Concat(kernel.Units.Apart), unit => unit.Object == file);
        if (apart is null)
            Assert.Null(unit.Apart);
        else
            Assert.StartsWith(apart, unit.Apart, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Assembly_that_only_wraps_a_file_has_no_code()
    {
        var kernel = await KernelUnderTest.PreparedAsync();
        Assert.False(AffectedUnits.IsKernelCode(kernel, "arch/x86/realmode/rmpiggy.S"));
        Assert.True(AffectedUnits.IsKernelCode(kernel, "arch/x86/lib/getuser.S"));
    }

    // kbuild reaches it from another folder; a patch names it as git does.
    [Fact]
    public async Task A_source_is_found_by_its_plain_path()
    {
        var kernel = await KernelUnderTest.PreparedAsync();
        Assert.Equal("kvm", kernel.Units.Find("virt/kvm/kvm_main.c")?.Module);
        Assert.DoesNotContain(kernel.Units.Units, unit => unit.Source.Contains("..", StringComparison.Ordinal));
    }

    // What is left out of the archive is what nobody asks for: a header that is missing is an error of the preprocessor.
    [Fact]
    public async Task The_tree_has_what_units_read_and_not_what_other_architectures_are_made_from()
    {
        var kernel = await KernelUnderTest.PreparedAsync();
        foreach (string left in (string[])["arch/arm64/include", "arch/s390/kvm/kvm-s390.c", "tools/perf", "Documentation/mm/index.rst"])
            Assert.False(Path.Exists(Path.Combine(kernel.SourceDirectory, left)), left);
        foreach (
            string there in (string[])
                ["arch/arm64/crypto/Kconfig", "tools/testing/selftests/kselftest_module.h", "tools/lib/bpf/relo_core.c"]
        )
            Assert.True(File.Exists(Path.Combine(kernel.SourceDirectory, there)), there);
        UnitCompiler compiler = new(kernel, NullLogger.Instance);
        DiagnosticBag diagnostics = [];
        var some = kernel.Units.Units.Where((_, at) => at % 100 == 0).ToList();
        await Parallel.ForEachAsync(some, TestContext.Current.CancellationToken, async (unit, cancellation) =>
            Assert.True(
                await compiler.PreprocessAsync(unit, kernel.SourceDirectory, [], diagnostics, cancellation) is not null,
                unit.Source
            )
        );
    }

    // Its commands hold the real path, by which they are told to be this tree's.
    [Fact]
    public async Task A_tree_that_is_reached_through_a_link_has_the_path_by_which_kbuild_calls_it()
    {
        var kernel = await KernelUnderTest.PreparedAsync();
        string link = Path.Combine(_folder, "cache");
        Directory.CreateSymbolicLink(link, KernelUnderTest.CacheRoot);
        KernelCache linked = new(link, NullLogger.Instance);
        Assert.Equal(kernel.SourceDirectory, linked.SourceOf(kernel.Release));
        string source = Path.Combine(link, Path.GetRelativePath(KernelUnderTest.CacheRoot, kernel.SourceDirectory));
        Assert.Equal(kernel.SourceDirectory, linked.SourceOf(kernel.Release with { Source = source }));
    }

    [Fact]
    public async Task Compiles_a_unit_to_the_same_bytes_in_any_folder()
    {
        var kernel = await KernelUnderTest.PreparedAsync();
        var first = await CompileAsync(kernel, "fs/proc/version.c", kernel.SourceDirectory, "one/version.o");
        var second = await CompileAsync(kernel, "fs/proc/version.c", kernel.SourceDirectory, "another/deeper/version.o");
        // gcc orders the types of .BTF by addresses in its own memory: the one section that differs from run to run.
        Assert.Equal(Contents(first), Contents(second));
        Assert.Contains(first.Dependencies, path => path.EndsWith("/include/linux/seq_file.h", StringComparison.Ordinal));
        var read = ElfObject.Read(File.ReadAllBytes(first.Object), first.Object);
        Assert.NotNull(read.FindSection(".text.version_proc_show"));
        Assert.NotNull(read.FindSection(".BTF"));
        Assert.NotNull(read.FindSection(".orc_unwind_ip"));
    }

    // The headers that these include are made by a host program, a script or a chain of both.
    [Theory]
    [InlineData("security/selinux/avc.c")]
    [InlineData("lib/crc32.c")]
    [InlineData("security/apparmor/net.c")]
    [InlineData("crypto/asymmetric_keys/x509_cert_parser.c")]
    public async Task Compiles_a_unit_whose_headers_kbuild_generates(string source)
    {
        var kernel = await KernelUnderTest.PreparedAsync();
        var compiled = await CompileAsync(kernel, source, kernel.SourceDirectory, "generated.o");
        Assert.Contains(compiled.Dependencies, path =>
            path.StartsWith(kernel.OutputDirectory, StringComparison.Ordinal) && File.Exists(path)
        );
    }

    // It reads the addresses of the linked kernel.
    [Fact]
    public async Task Compiles_the_decompressor_with_the_addresses_of_the_shipped_kernel()
    {
        var kernel = await KernelUnderTest.PreparedAsync();
        Assert.Contains(
            "VO__text _AC(0xffffffff81000000,UL)",
            File.ReadAllText(Path.Combine(kernel.OutputDirectory, "arch/x86/boot/voffset.h")),
            StringComparison.Ordinal
        );
        DiagnosticBag diagnostics = [];
        var compiled = await new UnitCompiler(kernel, NullLogger.Instance).CompileAsync(
            kernel.Units.Apart.Single(unit => unit.Object == "arch/x86/boot/compressed/misc.o"),
            kernel.SourceDirectory,
            Path.Combine(_folder, "apart.o"),
            [],
            diagnostics,
            TestContext.Current.CancellationToken
        );
        Assert.False(compiled is null, string.Join('\n', diagnostics));
        // What stood in for a whole build's file is gone.
        Assert.False(File.Exists(Path.Combine(kernel.OutputDirectory, "vmlinux")));
    }

    [Fact]
    public void Finds_the_commands_that_make_sources_and_the_programs_that_they_need()
    {
        static string Line(string target, string command) =>
            $"set -e; trap 'rm -f {target}; trap - HUP; kill -s HUP $$' HUP; {command}; "
            + $"printf '%s\\n' 'cmd_{target} := {command}' > {target}.cmd";
        string[] lines =
        [
            Line("lib/gen_crc32table", "gcc -O2 -o lib/gen_crc32table lib/gen_crc32table.c"),
            Line("lib/crc32table.h", "lib/gen_crc32table > lib/crc32table.h"),
            Line("lib/crc32.o", "gcc -c -o lib/crc32.o lib/crc32.c"),
            Line("fs/built-in.a", "ar cDPrST fs/built-in.a"),
            Line("lib/two.h", "echo 1 > lib/two.h"),
            Line("lib/two.h", "echo 2 >> lib/two.h"),
            "make -f scripts/Makefile.build obj=lib",
        ];
        Assert.Equal(
            [("lib/gen_crc32table", lines[0]), ("lib/crc32table.h", lines[1]), ("lib/two.h", lines[4] + "\n" + lines[5])],
            GeneratedSource.Find(lines).Select(source => (source.Target, source.Command))
        );
    }

    // The date of a build would make each build another update: the kernel is compiled with -Werror=date-time.
    [Theory]
    [InlineData("return 1 + missing;", 14, "missing")]
    [InlineData("return __DATE__[0];", 10, "reproducible")]
    [InlineData("return __TIME__[0];", 10, "reproducible")]
    public async Task A_unit_that_does_not_compile_is_reported_at_its_line_and_leaves_no_file(string statement, int column, string why)
    {
        var kernel = await KernelUnderTest.PreparedAsync();
        string tree = Path.Combine(_folder, "tree");
        Directory.CreateDirectory(Path.Combine(tree, "fs/proc"));
        foreach (string part in new[] { "include", "arch" })
            Directory.CreateSymbolicLink(Path.Combine(tree, part), Path.Combine(kernel.SourceDirectory, part));
        File.WriteAllText(Path.Combine(tree, "fs/proc/version.c"), $"#include <linux/fs.h>\nint broken(void)\n{{ {statement} }}\n");
        var diagnostics = new DiagnosticBag();
        string output = Path.Combine(_folder, "version.o");
        Assert.Null(
            await new UnitCompiler(kernel, NullLogger.Instance).CompileAsync(
                kernel.Units.Find("fs/proc/version.c")!,
                tree,
                output,
                [],
                diagnostics,
                TestContext.Current.CancellationToken
            )
        );
        Assert.Contains(diagnostics, reported =>
            reported.Id == "KSP2009"
            && reported.Location == new SourceLocation("fs/proc/version.c", 3, column)
            && reported.Message.Contains(why, StringComparison.Ordinal)
        );
        Assert.Empty(Directory.GetFiles(_folder));
    }

    [Fact]
    public async Task Refuses_a_compiler_that_is_not_the_kernels()
    {
        var diagnostics = new DiagnosticBag();
        Assert.Null(
            await KernelReleaseResolver.ResolveAsync(
                new() { Release = KernelUnderTest.Release, Compiler = "make" },
                diagnostics,
                TestContext.Current.CancellationToken
            )
        );
        Assert.Equal("KSP2006", Assert.Single(diagnostics).Id);
    }

    [Theory]
    [InlineData(0, "KSP2071", "is 'gcc (Distribution)")]
    [InlineData(1, "KSP2006", "is 'gcc (Distribution)")]
    [System.Runtime.Versioning.SupportedOSPlatform("linux")]
    public async Task Warns_of_another_patch_level_of_the_compiler_and_refuses_another_version(int more, string id, string found)
    {
        string version = (await KernelUnderTest.PreparedAsync()).Release.CompilerVersion.Split(' ')[^1],
            program = Path.Combine(_folder, "gcc");
        int major = int.Parse(version.Split('.')[0], System.Globalization.CultureInfo.InvariantCulture) + more;
        File.WriteAllText(program, $"#!/bin/sh\necho 'gcc (Distribution) {major}.99.0'\n");
        File.SetUnixFileMode(program, UnixFileMode.UserRead | UnixFileMode.UserExecute);
        DiagnosticBag diagnostics = [];
        var release = await KernelReleaseResolver.ResolveAsync(
            new() { Release = KernelUnderTest.Release, Compiler = program },
            diagnostics,
            TestContext.Current.CancellationToken
        );
        Assert.Equal(more == 0 ? program : null, release?.Compiler);
        if (release is not null)
            KernelReleaseResolver.Check(release, diagnostics);
        var report = Assert.Single(diagnostics);
        Assert.Equal(id, report.Id);
        Assert.Contains(found, report.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("CONFIG_LTO=y", "link time optimization")]
    [InlineData("CONFIG_RANDSTRUCT=y", "randomized layouts of structs")]
    [InlineData("CONFIG_GCC_PLUGIN_RANDSTRUCT=y", "randomized layouts of structs")]
    [InlineData("CONFIG_CFI_CLANG=y", "control flow integrity (kCFI)")]
    [InlineData("CONFIG_CFI=y", "control flow integrity (kCFI)")]
    [InlineData("CONFIG_CC_IS_CLANG=y", "clang as its compiler")]
    [InlineData("# CONFIG_X86_64 is not set", "another architecture")]
    [InlineData("# Linux/arm64 6.12.8 Kernel Configuration\n# CONFIG_X86_64 is not set", "the architecture arm64")]
    public async Task Refuses_a_kernel_for_which_no_update_can_be_made(string option, string name)
    {
        string config = Path.Combine(_folder, "config");
        var lines = File.ReadLines((await KernelUnderTest.PreparedAsync()).Release.Config)
            .Where(line => line != "CONFIG_X86_64=y" || !option.Contains("CONFIG_X86_64", StringComparison.Ordinal))
            .Where(line => !line.StartsWith("# Linux/", StringComparison.Ordinal));
        File.WriteAllLines(config, [option, .. lines]);
        DiagnosticBag diagnostics = [];
        Assert.Null(
            await KernelReleaseResolver.ResolveAsync(
                new() { Release = KernelUnderTest.Release, Config = config },
                diagnostics,
                TestContext.Current.CancellationToken
            )
        );
        var report = Assert.Single(diagnostics);
        Assert.Equal("KSP2070", report.Id);
        Assert.Contains($"is built for or with {name} (", report.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Refuses_a_kernel_that_is_newer_than_those_that_were_tested_unless_told()
    {
        var kernel = (await KernelUnderTest.PreparedAsync()).Release;
        byte[] image = KernelPayload.Unpack(File.ReadAllBytes(kernel.Image)),
            version = Encoding.ASCII.GetBytes($" Debian {kernel.Version}-");
        for (int at = 0, next; (next = image.AsSpan(at).IndexOf(version)) >= 0; at += next + version.Length)
            " Debian 9.9"u8.CopyTo(image.AsSpan(at + next));
        string newer = Path.Combine(_folder, "vmlinux");
        File.WriteAllBytes(newer, image);
        KernelReleaseOptions options = new() { Release = kernel.Release, Image = newer };
        DiagnosticBag diagnostics = [];
        Assert.Null(await KernelReleaseResolver.ResolveAsync(options, diagnostics, TestContext.Current.CancellationToken));
        var report = Assert.Single(diagnostics);
        Assert.Equal("KSP2059", report.Id);
        Assert.Contains($"is Linux 9.9{kernel.Version[3..]}, and", report.Message, StringComparison.Ordinal);

        var release = await KernelReleaseResolver.ResolveAsync(
            options with
            {
                MayBeUntested = true,
            },
            diagnostics,
            TestContext.Current.CancellationToken
        );
        Assert.Equal("9.9" + kernel.Version[3..], release?.Version);
    }

    [Theory]
    [InlineData("CONFIG_HZ=250", "CONFIG_HZ=1000", "CONFIG_HZ is 1000, there 250")]
    [InlineData("CONFIG_SMP=y", "# CONFIG_SMP is not set", "CONFIG_SMP is not set, there y")]
    public async Task Refuses_a_configuration_that_is_not_the_kernels(string line, string other, string difference)
    {
        var kernel = await KernelUnderTest.PreparedAsync();
        string config = Path.Combine(_folder, "config");
        string[] lines = File.ReadAllLines(kernel.Release.Config);
        Assert.Contains(line, lines);
        var diagnostics = new DiagnosticBag();
        File.WriteAllLines(config, [.. lines.Select(option => option == line ? other : option)]);
        Assert.Null(
            await KernelReleaseResolver.ResolveAsync(
                new() { Release = KernelUnderTest.Release, Config = config },
                diagnostics,
                TestContext.Current.CancellationToken
            )
        );
        var reported = Assert.Single(diagnostics);
        Assert.Equal("KSP2012", reported.Id);
        Assert.Contains(difference, reported.Message, StringComparison.Ordinal);

        File.WriteAllLines(config, ["# in another order, with other comments", .. lines.Reverse()]);
        Assert.NotNull(
            await KernelReleaseResolver.ResolveAsync(
                new() { Release = KernelUnderTest.Release, Config = config },
                diagnostics,
                TestContext.Current.CancellationToken
            )
        );
    }

    [Fact]
    public async Task Names_everything_that_a_release_lacks()
    {
        var diagnostics = new DiagnosticBag();
        Assert.Null(
            await KernelReleaseResolver.ResolveAsync(new() { Release = "5.0.0-none" }, diagnostics, TestContext.Current.CancellationToken)
        );
        Assert.Equal(["KSP2001", "KSP2002", "KSP2003", "KSP2004"], diagnostics.Select(diagnostic => diagnostic.Id));
        string headers = diagnostics.First().Message;
        Assert.Contains("linux-headers-5.0.0-none", headers, StringComparison.Ordinal);
        // It may be misspelt: those that are here are named.
        Assert.Contains(
            KernelUnderTest.Release,
            headers[headers.IndexOf("; there are headers of ", StringComparison.Ordinal)..],
            StringComparison.Ordinal
        );
    }

    [Fact]
    public async Task Refuses_a_source_tree_of_another_version()
    {
        File.WriteAllText(Path.Combine(_folder, "Makefile"), "# comment\nVERSION = 6\nPATCHLEVEL = 1\nSUBLEVEL = 1\n");
        var diagnostics = new DiagnosticBag();
        Assert.Null(
            await KernelReleaseResolver.ResolveAsync(
                new() { Release = KernelUnderTest.Release, Source = _folder },
                diagnostics,
                TestContext.Current.CancellationToken
            )
        );
        Assert.Equal("KSP2005", Assert.Single(diagnostics).Id);
    }

    [Fact]
    public async Task A_source_tarball_that_is_none_leaves_nothing_that_is_taken_for_ready()
    {
        string tarball = Path.Combine(_folder, "source.tar.xz");
        File.WriteAllText(tarball, "no tarball");
        var release = (await KernelUnderTest.PreparedAsync()).Release with { Source = tarball };
        var cache = new KernelCache(Path.Combine(_folder, "cache"), NullLogger.Instance);
        for (int build = 0; build < 2; build++)
        {
            var diagnostics = new DiagnosticBag();
            Assert.Null(await cache.PrepareAsync(release, diagnostics, TestContext.Current.CancellationToken));
            Assert.Equal("KSP1002", Assert.Single(diagnostics).Id);
        }
    }

    /// <summary>As without pahole, without which Kconfig drops the options with BTF.</summary>
    [Fact]
    public async Task Refuses_a_configuration_that_does_not_stay_as_it_is()
    {
        var kernel = await KernelUnderTest.PreparedAsync();
        string config = Path.Combine(_folder, "config");
        // No option of this architecture; the last is what compilers can do, which does not count.
        File.WriteAllLines(config, [.. File.ReadAllLines(kernel.Release.Config), "CONFIG_ARM64=y", "CONFIG_CC_HAS_NOTHING=y"]);
        DiagnosticBag diagnostics = [];
        var release = kernel.Release with { Config = config, Source = kernel.SourceDirectory };
        var cache = new KernelCache(Path.Combine(_folder, "cache"), NullLogger.Instance);
        Assert.Null(await cache.PrepareAsync(release, diagnostics, TestContext.Current.CancellationToken));
        var report = Assert.Single(diagnostics);
        Assert.Equal("KSP2076", report.Id);
        Assert.Contains(": CONFIG_ARM64 is y, there not set;", report.Message, StringComparison.Ordinal);
    }

    private static IEnumerable<(string, string, string)> Contents(CompiledUnit compiled) =>
        ElfObject
            .Read(File.ReadAllBytes(compiled.Object), compiled.Object)
            .Sections.Where(section => section.Name != ".BTF")
            .Select(section => (section.Name, Convert.ToHexString(section.Data.Span), string.Join(",", section.Relocations)));

    private async Task<CompiledUnit> CompileAsync(PreparedKernel kernel, string source, string root, string output)
    {
        var diagnostics = new DiagnosticBag();
        var compiled = await new UnitCompiler(kernel, NullLogger.Instance).CompileAsync(
            kernel.Units.Find(source)!,
            root,
            Path.Combine(_folder, output),
            [],
            diagnostics,
            TestContext.Current.CancellationToken
        );
        Assert.True(compiled is not null, string.Join('\n', diagnostics));
        return compiled;
    }

    [Fact]
    [System.Runtime.Versioning.SupportedOSPlatform("linux")]
    public async Task Objtool_that_fails_leaves_no_object()
    {
        var kernel = await KernelUnderTest.PreparedAsync();
        var folder = Directory.CreateTempSubdirectory("ksplice-objtool-");
        try
        {
            // The prepared tree with another objtool.
            foreach (
                string entry in Directory.GetFileSystemEntries(kernel.OutputDirectory).Where(entry => Path.GetFileName(entry) != "tools")
            )
                File.CreateSymbolicLink(Path.Combine(folder.FullName, Path.GetFileName(entry)), entry);
            string objtool = Path.Combine(folder.FullName, "tools/objtool/objtool"),
                output = Path.Combine(folder.FullName, "version.o");
            Directory.CreateDirectory(Path.GetDirectoryName(objtool)!);
            File.WriteAllText(
                objtool,
                "#!/bin/sh\nfor word in 'a warning' 'f.o: error: objtool: the cause' 'what follows'; do echo $word >&2; done\nexit 1\n"
            );
            File.SetUnixFileMode(objtool, UnixFileMode.UserRead | UnixFileMode.UserExecute);
            DiagnosticBag diagnostics = [];
            var compiler = new UnitCompiler(kernel with { OutputDirectory = folder.FullName }, NullLogger.Instance);
            Assert.Null(
                await compiler.CompileAsync(
                    kernel.Units.Find("fs/proc/version.c")!,
                    kernel.SourceDirectory,
                    output,
                    [],
                    diagnostics,
                    TestContext.Current.CancellationToken
                )
            );
            var report = Assert.Single(diagnostics);
            Assert.Equal("KSP2010", report.Id);
            Assert.Equal("objtool failed on fs/proc/version.c: f.o: error: objtool: the cause", report.Message);
            Assert.False(File.Exists(output));
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }
}
