// An update of two units of assembly: a function of nine bytes without a fentry site, and code that is no function, by
// which eight functions end when they fault. The test module calls them.
using CliWrap;
using CliWrap.Buffered;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Kernel;
using Microsoft.Extensions.Logging.Abstractions;

namespace Ksplice.Kernel.Tests.Updates;

public sealed class AssemblyUpdateTests(Guest guest)
{
    [Fact]
    public async Task Functions_of_assembly_are_replaced_show_their_effect_and_are_taken_back()
    {
        using PatchProject project = new(guest.Release);
        project.Write("getuser.patch", await ChangeAsync("arch/x86/lib/getuser.S", "mov $(-EFAULT),%_ASM_AX", "mov $(-EIO),%_ASM_AX"));
        project.Write("iomap.patch", await ChangeAsync("arch/x86/lib/iomap_copy_64.S", "\trep movsl\n", "\trep movsl\n\tnotl -4(%rdi)\n"));
        (await project.BuildAsync()).MustSucceed();
        Assert.Equal(
            ["__get_user_1", "__get_user_2", "__get_user_4", "__get_user_8", "__get_user_nocheck_1", "__get_user_nocheck_2", "__get_user_nocheck_4", "__get_user_nocheck_8", "__iowrite32_copy"],
            UpdateGuest.Replaced(project));

        var result = await guest.RunAsync(
            $"""
            insmod /calls.ko || exit 1
            results=/sys/module/calls/parameters/results
            echo "before $(cat $results)"
            for round in 1 2; do
                ksplice apply {UpdateGuest.Place(project)} || exit 1
                echo "applied $(cat $results)"
                ksplice undo {project.Id} || exit 1
                echo "undone $(cat $results)"
            done
            """,
            UpdateGuest.Command, UpdateGuest.Package(project), await TestModule.BuildAsync("calls", guest.Release));
        result.MustEndWith(0);
        const string Before = "1 2 -14 -14", After = "1 4294967293 -5 -5";
        Assert.Equal(["before " + Before, "applied " + After, "undone " + Before, "applied " + After, "undone " + Before],
            result.Lines.Where(line => line.EndsWith(Before, StringComparison.Ordinal) || line.EndsWith(After, StringComparison.Ordinal)));
    }

    private async Task<string> ChangeAsync(string file, string old, string now)
    {
        DiagnosticBag diagnostics = [];
        var release = await KernelReleaseResolver.ResolveAsync(new() { Release = guest.Release }, diagnostics);
        var kernel = release is null ? null : await new KernelCache(KernelCache.DefaultRoot, NullLogger.Instance).PrepareAsync(release, diagnostics);
        Assert.True(kernel is not null, string.Join('\n', diagnostics));
        string path = Path.Combine(kernel.SourceDirectory, file), edited = Path.GetTempFileName();
        string text = await File.ReadAllTextAsync(path, TestContext.Current.CancellationToken);
        Assert.Contains(old, text, StringComparison.Ordinal);
        await File.WriteAllTextAsync(edited, text.Replace(old, now, StringComparison.Ordinal), TestContext.Current.CancellationToken);
        var diff = await Cli.Wrap("diff").WithArguments(["-u", "--label", "a/" + file, "--label", "b/" + file, path, edited])
            .WithValidation(CommandResultValidation.None).ExecuteBufferedAsync(TestContext.Current.CancellationToken);
        File.Delete(edited);
        return diff.StandardOutput;
    }
}
