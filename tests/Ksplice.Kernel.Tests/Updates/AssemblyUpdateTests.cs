// SPDX-License-Identifier: MIT
// An update of two units of assembly: a function of nine bytes without a fentry site, and code that is no function, by
// which eight functions end when they fault. The test module calls them.
namespace Ksplice.Kernel.Tests.Updates;

public sealed class AssemblyUpdateTests(Guest guest)
{
    [Fact]
    public async Task Functions_of_assembly_are_replaced_show_their_effect_and_are_taken_back()
    {
        var fault = ("mov $(-EFAULT),%_ASM_AX", "mov $(-EIO),%_ASM_AX");
        using PatchProject project = new(guest.Release);
        project.Write("getuser.patch", await KernelTree.ChangeAsync(guest.Release, "arch/x86/lib/getuser.S", fault, fault));
        project.Write(
            "iomap.patch",
            await KernelTree.ChangeAsync(guest.Release, "arch/x86/lib/iomap_copy_64.S", ("\trep movsl\n", "\trep movsl\n\tnotl -4(%rdi)\n"))
        );
        (await project.BuildAsync()).MustSucceed();
        Assert.Equal(
            [
                "__get_user_1",
                "__get_user_2",
                "__get_user_4",
                "__get_user_8",
                "__get_user_nocheck_1",
                "__get_user_nocheck_2",
                "__get_user_nocheck_4",
                "__get_user_nocheck_8",
                "__iowrite32_copy",
            ],
            UpdateGuest.Replaced(project)
        );

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
            UpdateGuest.Command,
            UpdateGuest.Package(project),
            await TestModule.BuildAsync("calls", guest.Release)
        );
        result.MustEndWith(0);
        const string Before = "1 2 -14 -14",
            After = "1 4294967293 -5 -5";
        Assert.Equal(
            ["before " + Before, "applied " + After, "undone " + Before, "applied " + After, "undone " + Before],
            result.Lines.Where(line => line.EndsWith(Before, StringComparison.Ordinal) || line.EndsWith(After, StringComparison.Ordinal))
        );
    }
}
