// SPDX-License-Identifier: MIT
// Updates that outlast a reboot: what is stored, in which order it comes back, and what is said of those that do not.

namespace Ksplice.Cli.Tests;

public sealed class EnableTests : CommandFixture
{
    private string Units => Path.Combine(Package.Scratch, "units");

    [Fact]
    public async Task Stores_thePackage_and_the_unit_and_applies_nothing()
    {
        Assert.Equal(ExitCode.Ok, await RunAsync("enable", Package.Archive));
        Assert.Equal(ExitCode.Ok, await RunAsync("enable", Package.Folder));
        Assert.Empty(Kernel.Log);
        var stored = Assert.Single(Kernel.Enabled.All);
        Assert.Equal(TestPackage.Id, stored.Id);
        Assert.Equal(
            Directory
                .GetFiles(Package.Folder, "*", SearchOption.AllDirectories)
                .Select(path => Path.GetRelativePath(Package.Folder, path))
                .Order(StringComparer.Ordinal),
            Directory
                .GetFiles(stored.Folder, "*", SearchOption.AllDirectories)
                .Select(path => Path.GetRelativePath(stored.Folder, path))
                .Order(StringComparer.Ordinal)
        );
        Assert.Contains(
            " restore\n",
            File.ReadAllText(Path.Combine(Units, "multi-user.target.wants", "ksplice.service")),
            StringComparison.Ordinal
        );
    }

    [Fact]
    public async Task A_unit_that_came_with_the_command_is_left_to_do_its_work()
    {
        string packaged = Path.Combine(Package.Scratch, "packaged-units");
        Directory.CreateDirectory(packaged);
        File.WriteAllText(Path.Combine(packaged, "ksplice.service"), "");
        Assert.Equal(ExitCode.Ok, await RunAsync("enable", Package.Folder));
        Assert.False(Directory.Exists(Units));
        Assert.Equal(ExitCode.Ok, await RunAsync("disable", TestPackage.Id));
        Assert.Empty(Kernel.Enabled.All);
    }

    [Fact]
    public async Task Restores_what_is_for_this_kernel_and_names_the_rest()
    {
        Directory.CreateDirectory(Path.Combine(Package.Scratch, "store", $"000001-{TestPackage.Id}.new"));
        await RunAsync("enable", Package.Folder);
        var other = Path.Combine(Package.Scratch, "store", "000000-89abcdef");
        Directory.CreateDirectory(other);
        Assert.Equal(ExitCode.Damaged, await RunAsync("restore"));
        Assert.Contains($"{other} is damaged", Errors, StringComparison.Ordinal);
        Assert.Equal("applied", Kernel.Find(TestPackage.Id)!.Stage);

        Directory.Delete(other);
        Assert.Equal(ExitCode.Ok, await RunAsync("restore"));
        Assert.Contains("is applied already", Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Leaves_out_what_is_for_another_kernel_and_says_what_does_not_match()
    {
        using TestPackage other = new("6.1.0-1-other");
        await RunAsync("enable", other.Folder);
        Assert.Equal(ExitCode.Ok, await RunAsync("restore"));
        Assert.Contains("is for kernel 6.1.0-1-other: left out", Output, StringComparison.Ordinal);
        Assert.Empty(Kernel.Log);

        await RunAsync("disable", TestPackage.Id);
        await RunAsync("enable", Package.Folder);
        Kernel.LoadErrors[TestPackage.Helper] = 8;
        Kernel.Reason = "its code differs";
        Assert.Equal(ExitCode.Refused, await RunAsync("restore"));
        Assert.Contains("its code differs", Errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Restores_nothing_where_the_core_is_kept_out_and_does_not_fail()
    {
        await RunAsync("enable", Package.Folder);
        Kernel.LoadErrors["ksplice"] = 125;
        Assert.Equal(ExitCode.KeptOut, await RunAsync("apply", Package.Folder));
        Assert.Contains("noksplice or ksplice.off", Errors, StringComparison.Ordinal);
        Assert.Equal(ExitCode.Ok, await RunAsync("restore"));
        Assert.Contains("nothing is restored: the core is kept out", Output, StringComparison.Ordinal);
        Kernel.LoadErrors["ksplice"] = 1;
        Assert.Equal(ExitCode.Refused, await RunAsync("restore"));
        Assert.Contains("module_blacklist", Errors, StringComparison.Ordinal);
        Assert.Null(Kernel.Find(TestPackage.Id));
    }

    [Fact]
    public async Task Forgets_an_update_and_with_the_last_one_the_unit()
    {
        await RunAsync("enable", Package.Folder);
        Assert.Equal(ExitCode.Ok, await RunAsync("disable", TestPackage.Id));
        Assert.Empty(Kernel.Enabled.All);
        Assert.Empty(Directory.GetFiles(Units, "*", SearchOption.AllDirectories));
        Assert.Equal(ExitCode.Unknown, await RunAsync("disable", TestPackage.Id));
    }

    [Fact]
    public async Task Keeps_what_it_stores_from_others_and_quotes_the_command()
    {
        await RunAsync("enable", Package.Folder);
        var stored = Assert.Single(Kernel.Enabled.All);
        foreach (var folder in (string[])[Path.Combine(Package.Scratch, "store"), stored.Folder, Path.Combine(stored.Folder, "patches")])
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute, File.GetUnixFileMode(folder));

        await RunAsync("disable", TestPackage.Id);
        Kernel.Enabled.Add(Build.Generation.UpdatePackage.Open(Package.Folder, [])!, """/opt/a b/50% "$x"\ksplice""");
        Assert.Contains(
            """ ExecStart="/opt/a b/50%% \"$$x\"\\ksplice" restore """.Trim(),
            await File.ReadAllTextAsync(Path.Combine(Units, "ksplice.service"), TestContext.Current.CancellationToken),
            StringComparison.Ordinal
        );
    }
}
