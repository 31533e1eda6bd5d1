// SPDX-License-Identifier: MIT
// info: what a package is, told to anybody who has the file.
using System.Text.Json;

namespace Ksplice.Cli.Tests;

public sealed class InfoTests : CommandFixture
{
    [Fact]
    public async Task Shows_a_package_to_those_who_are_not_root_and_asks_nothing_of_the_kernel()
    {
        using TestPackage package = new("6.1.0-1-other", "loop");
        Kernel.Root = false;
        foreach (var path in (string[])[package.Folder, package.Archive])
        {
            ForgetOutput();
            Assert.Equal(ExitCode.Ok, await RunAsync("info", path));
            foreach (
                var line in (string[])
                    [
                        $"id:           {TestPackage.Id}",
                        "name:         test",
                        "signature:    none",
                        "kernel:       6.1.0-1-other",
                        "target:       loop",
                        "function:     f (fs/f.c)",
                        "patch:        patches/one.patch",
                        "built by:     test",
                    ]
            )
                Assert.Contains(line + "\n", Output, StringComparison.Ordinal);
        }

        Assert.Empty(Kernel.Log);
    }

    [Fact]
    public async Task Prints_the_manifest_as_json_with_the_signature()
    {
        Assert.Equal(ExitCode.Ok, await RunAsync("info", Package.Archive, "--json"));
        var info = JsonDocument.Parse(Output).RootElement;
        Assert.Equal(TestPackage.Id, info.GetProperty("manifest").GetProperty("id").GetString());
        Assert.False(info.GetProperty("signature").GetProperty("signed").GetBoolean());
        Assert.False(info.GetProperty("signature").TryGetProperty("trusted", out _));
    }

    [Fact]
    public async Task Refuses_what_is_damaged_or_not_there()
    {
        File.AppendAllText(Path.Combine(Package.Folder, "README.txt"), "x");
        Assert.Equal(ExitCode.Damaged, await RunAsync("info", Package.Folder));
        Assert.Equal(ExitCode.Usage, await RunAsync("info", "/nowhere"));
    }
}
