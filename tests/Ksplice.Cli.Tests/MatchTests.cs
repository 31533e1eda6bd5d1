// SPDX-License-Identifier: MIT
// ksplice match on objects of which the kernel has nothing, or something else.

namespace Ksplice.Cli.Tests;

public sealed class MatchTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("ksplice-match-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData(".init.text", 3)]
    [InlineData(".text", 2)]
    public void Init_code_alone_ends_with_3_and_code_that_the_kernel_lacks_with_2(string section, int code)
    {
        string source = Path.Combine(_folder, "unit.c"),
            made = Path.Combine(_folder, "unit.o");
        File.WriteAllText(source, $"int __attribute__((section(\"{section}\"))) not_of_any_kernel(int a) {{ return a * 5; }}\n");
        Programs.RunOk("gcc", "-O2", "-c", "-fno-pie", "-mcmodel=kernel", "-fno-asynchronous-unwind-tables", source, "-o", made);
        var (ended, output, errors) = ProcessTests.Run("match", made, "--image", StockKernel.Image);
        Assert.True(ended == code, $"{ended}\n{output}\n{errors}");
        Assert.Equal(code == 2, output.Contains("differs  not_of_any_kernel", StringComparison.Ordinal));
        Assert.Equal(code == 2, errors.Contains("unit.tables.o is not there", StringComparison.Ordinal));
    }
}
