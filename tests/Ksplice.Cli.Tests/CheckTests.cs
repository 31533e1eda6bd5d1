// SPDX-License-Identifier: MIT
// check: the kernel matches as it would for apply, and is left as it was.

namespace Ksplice.Cli.Tests;

public sealed class CheckTests : CommandFixture
{
    [Fact]
    public async Task Loads_the_helpers_tells_what_would_be_replaced_and_takes_all_out_again()
    {
        using var package = TestPackage.WithData("d1");
        Assert.Equal(ExitCode.Ok, await RunAsync("check", package.Folder));
        Assert.Equal(["+ksplice", "+" + TestPackage.Helper, "-" + TestPackage.Helper, "-ksplice"], Kernel.Log);
        Assert.Contains(
            $"update {TestPackage.Id} matches this kernel: 1 function would be replaced\n  show_smap (vmlinux)\n",
            Output,
            StringComparison.Ordinal
        );
        Assert.False(Directory.Exists(Path.Combine(package.Scratch, "run", "ksplice")));
    }

    [Fact]
    public async Task Says_what_differs()
    {
        Kernel.LoadErrors[TestPackage.Helper] = 8;
        Kernel.Reason = "show_smap at 0xffffffff81234560 differs at +0x12";
        Assert.Equal(ExitCode.Refused, await RunAsync("check", Package.Folder));
        Assert.Equal(["+ksplice", "+" + TestPackage.Helper, "-ksplice"], Kernel.Log);
        Assert.Contains($"update {TestPackage.Id} cannot be applied: no_match\n  {Kernel.Reason}\n", Errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Leaves_an_update_that_is_applied_alone()
    {
        await RunAsync("apply", Package.Folder);
        var before = Kernel.Log.Count;
        Assert.Equal(ExitCode.Ok, await RunAsync("check", Package.Folder));
        Assert.Equal(before, Kernel.Log.Count);
        Assert.Contains("is applied already", Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Refuses_what_apply_refuses()
    {
        using TestPackage other = new("6.1.0-1-other");
        Assert.Equal(ExitCode.WrongKernel, await RunAsync("check", other.Folder));
        Assert.Equal(ExitCode.Usage, await RunAsync("check", "/nowhere"));
        Directory.CreateDirectory(Path.Combine(Package.Scratch, "trusted"));
        Assert.Equal(ExitCode.Untrusted, await RunAsync("check", Package.Folder));
        Kernel.Root = false;
        Assert.Equal(ExitCode.NotRoot, await RunAsync("check", Package.Folder));
        Assert.Empty(Kernel.Log);
    }
}
