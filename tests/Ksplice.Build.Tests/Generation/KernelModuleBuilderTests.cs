// SPDX-License-Identifier: MIT
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Generation;
using Ksplice.Build.Tests.Kernel;
using Microsoft.Extensions.Logging.Abstractions;

namespace Ksplice.Build.Tests.Generation;

public sealed class KernelModuleBuilderTests : IDisposable
{
    private readonly DirectoryInfo _work = Directory.CreateTempSubdirectory("ksplice-core-");

    public void Dispose() => _work.Delete(recursive: true);

    // The core's sources with something of ours at the end of one.
    private string Sources(string text)
    {
        string sources = Path.Combine(_work.FullName, "sources");
        foreach (string path in Directory.GetFiles(Repository.At("src", "Ksplice.Kernel"), "*", SearchOption.AllDirectories))
        {
            string copy = Path.Combine(sources, Path.GetRelativePath(Repository.At("src", "Ksplice.Kernel"), path));
            Directory.CreateDirectory(Path.GetDirectoryName(copy)!);
            File.Copy(path, copy);
        }
        File.AppendAllText(Path.Combine(sources, "core", "main.c"), text);
        return sources;
    }

    private async Task<(CoreModule? Core, DiagnosticBag Diagnostics)> BuildAsync(string headers, string sources)
    {
        DiagnosticBag diagnostics = [];
        string output = Path.Combine(_work.FullName, "output");
        var core = await new KernelModuleBuilder(KernelUnderTest.Release, headers, sources, NullLogger.Instance).BuildCoreAsync(
            output,
            diagnostics,
            TestContext.Current.CancellationToken
        );
        // Whatever came of it, the work folder is gone.
        if (Directory.Exists(output))
            Assert.Empty(Directory.GetDirectories(output));
        return (core, diagnostics);
    }

    [Fact]
    public async Task Says_what_the_compiler_says()
    {
        var (core, diagnostics) = await BuildAsync(KernelUnderTest.HeadersPath, Sources("int f(void) { return no_such_thing; }\n"));
        Assert.Null(core);
        var error = Assert.Single(diagnostics);
        Assert.Equal("KSP6007", error.Id);
        Assert.Contains("no_such_thing", error.Message, StringComparison.Ordinal);
    }

    // A package's headers may name the folder where the package would put them.
    [Fact]
    public async Task Headers_need_not_be_where_they_think()
    {
        string headers = Path.Combine(_work.FullName, "headers"),
            makefile =
                """
                    KBUILD_OUTPUT=/nowhere
                    modules:
                    	@[ "$(KBUILD_OUTPUT)" = "$(CURDIR)" ] || { echo "no folder $(KBUILD_OUTPUT)" >&2; exit 1; }
                    	@echo 'int made;' | gcc -c -x c - -o $(M)/ksplice.ko && touch $(M)/Module.symvers

                    """;
        Directory.CreateDirectory(headers);
        File.WriteAllText(Path.Combine(headers, "Makefile"), makefile);
        File.WriteAllText(Path.Combine(headers, "Module.symvers"), "");
        var (core, diagnostics) = await BuildAsync(headers, Sources(""));
        Assert.Empty(diagnostics);
        Assert.NotNull(core);
    }

    [Fact]
    public async Task Passes_warnings_on()
    {
        var (core, diagnostics) = await BuildAsync(KernelUnderTest.HeadersPath, Sources("static int unused_thing;\n"));
        Assert.NotNull(core);
        Assert.All(diagnostics, diagnostic => Assert.Equal("KSP6008", diagnostic.Id));
        Assert.Contains(diagnostics, diagnostic => diagnostic.Message.Contains("unused_thing", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Says_which_headers_are_missing()
    {
        var (core, diagnostics) = await BuildAsync(_work.FullName, Repository.At("src", "Ksplice.Kernel"));
        Assert.Null(core);
        Assert.Equal("KSP6009", Assert.Single(diagnostics).Id);
    }

    [Fact]
    public async Task What_kbuild_has_asked_is_kept_and_makes_the_same_module()
    {
        string sources = Path.Combine(_work.FullName, "small"),
            answers = Path.Combine(_work.FullName, "answers");
        foreach (string folder in (string[])["include", "match", "core"])
            Directory.CreateDirectory(Path.Combine(sources, folder));
        File.WriteAllText(Path.Combine(sources, "Kbuild"), "obj-m := ksplice.o\nksplice-y := core/main.o\n");
        File.WriteAllText(
            Path.Combine(sources, "core", "main.c"),
            "#include <linux/module.h>\nint twice(int x);\nint twice(int x)\n{\n\treturn 2 * x;\n}\nMODULE_LICENSE(\"GPL\");\n"
        );
        var asked = await BuildAsync(null);
        Assert.Equal(asked, await BuildAsync(answers));
        string kept = Assert.Single(Directory.GetFiles(answers), file => !file.EndsWith(".lock", StringComparison.Ordinal));
        string[] lines = File.ReadAllLines(kept);
        Assert.NotEmpty(lines);
        Assert.DoesNotContain(_work.FullName, File.ReadAllText(kept), StringComparison.Ordinal);
        // Known questions are not asked again, so nothing new is written.
        File.SetLastWriteTimeUtc(kept, DateTime.UnixEpoch);
        Assert.Equal(asked, await BuildAsync(answers));
        Assert.Equal(DateTime.UnixEpoch, File.GetLastWriteTimeUtc(kept));
        // Where nothing can be kept, kbuild asks each time.
        Assert.Equal(asked, await BuildAsync(Path.Combine(sources, "Kbuild", "answers")));
        // What is kept is what kbuild takes for the answer.
        const string Known = " -fno-stack-clash-protection";
        int changed = Array.FindIndex(lines, line => line.EndsWith(Known, StringComparison.Ordinal));
        Assert.True(changed >= 0, "kbuild has not asked for -fno-stack-clash-protection");
        lines[changed] = lines[changed][..^Known.Length] + " -frecord-gcc-switches";
        File.WriteAllLines(kept, lines);
        Assert.NotEqual(asked, await BuildAsync(answers));

        async Task<byte[]> BuildAsync(string? answers)
        {
            DiagnosticBag diagnostics = [];
            KernelModuleBuilder builder = new(KernelUnderTest.Release, KernelUnderTest.HeadersPath, sources, NullLogger.Instance)
            {
                Answers = answers,
            };
            var core = await builder.BuildCoreAsync(
                Path.Combine(_work.FullName, "output"),
                diagnostics,
                TestContext.Current.CancellationToken
            );
            Assert.True(core is not null, string.Join('\n', diagnostics));
            return await File.ReadAllBytesAsync(core.Module, TestContext.Current.CancellationToken);
        }
    }
}
