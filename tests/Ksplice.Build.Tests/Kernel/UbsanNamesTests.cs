// SPDX-License-Identifier: MIT
using System.Text;
using CliWrap;
using Ksplice.Build.Elf;
using Ksplice.Build.Kernel;

namespace Ksplice.Build.Tests.Kernel;

public sealed class UbsanNamesTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("ksplice-ubsan-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task Names_of_files_are_those_in_the_tree_wherever_it_is()
    {
        string[] one = Strings(await CompileAsync("one", "-fsanitize=shift")),
            other = Strings(await CompileAsync("a-longer-name", "-fsanitize=shift"));
        Assert.Equal(one, other);
        Assert.Equal(["fs/patched.c", "fs/unit.c", "what else is said"], one.Distinct(StringComparer.Ordinal));
    }

    [Fact]
    public async Task An_object_without_such_data_stays_as_it_is()
    {
        Assert.Equal(["/ksplice-patched/0/fs/patched.c", "what else is said"], Strings(await CompileAsync("one")));
    }

    private static string[] Strings(byte[] bytes) =>
        [
            .. ElfObject
                .Read(bytes, "unit.o")
                .Sections.Where(section => section.Name.StartsWith(".rodata", StringComparison.Ordinal))
                .SelectMany(section => Encoding.ASCII.GetString(section.Data.Span).Split('\0', StringSplitOptions.RemoveEmptyEntries))
                .Order(StringComparer.Ordinal),
        ];

    private async Task<byte[]> CompileAsync(string tree, params string[] options)
    {
        string root = Path.Combine(_folder, tree),
            source = Path.Combine(root, "fs/unit.c"),
            output = Path.Combine(_folder, "unit.o");
        Directory.CreateDirectory(Path.GetDirectoryName(source)!);
        File.WriteAllText(
            source,
            """
            int f(int a) { return a << a; }
            const char *s(void) { return "what else is said"; }
            # 5 "/ksplice-patched/0/fs/patched.c" 1
            int g(int a) { return 2 << a; }
            const char *file(void) { return __FILE__; }
            """
        );
        string[] arguments = ["-c", "-O2", "-fdata-sections", "-ffunction-sections", source, "-o", output, .. options];
        await Cli.Wrap("gcc").WithArguments(arguments).ExecuteAsync(TestContext.Current.CancellationToken);
        UbsanNames.Shorten(output, root);
        return File.ReadAllBytes(output);
    }
}
