// SPDX-License-Identifier: MIT
// The published command in a guest that has busybox and, beside the command, only the libraries that it is linked to.
using Ksplice.Kernel.Tests.Updates;

namespace Ksplice.Kernel.Tests.Guests;

public sealed class CommandInGuestTests(Guest guest)
{
    private static readonly GuestFile s_command = new(Repository.Command, "/bin/ksplice");

    [Fact]
    public async Task Starts_without_dotnet_and_finds_no_updates()
    {
        var result = await guest.RunAsync("ksplice view; ksplice view --json; ksplice undo 0123abcd; exit $?", s_command);
        result.MustEndWith(8);
        Assert.Equal(["no updates are loaded", "[]"], result.Lines);
        Assert.Contains("no update 0123abcd is loaded", result.Errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Restores_at_boot_what_was_enabled()
    {
        var project = await UpdateGuest.SampleAsync("a-smaps-pages", guest.Release);
        var result = await guest.RunAsync(
            $"""
            mkdir -p /etc/systemd/system
            ksplice enable {UpdateGuest.Place(project)} >/dev/null; echo "enable $?"
            rm -r {UpdateGuest.Place(project)}
            grep -q ^Pages: /proc/self/smaps; echo "pages $?"
            eval "$(sed -n 's/^ExecStart=//p' /etc/systemd/system/multi-user.target.wants/ksplice.service)" >/dev/null; echo "boot $?"
            grep -q ^Pages: /proc/self/smaps; echo "pages $?"
            printf x >>/var/lib/ksplice/000001-{project.Id}/ksplice.ko
            ksplice undo {project.Id} >/dev/null
            ksplice restore; echo "damaged $?"
            ksplice disable {project.Id} >/dev/null; echo "disable $?"
            find /etc/systemd/system -name 'ksplice*'
            """,
            s_command,
            UpdateGuest.Package(project)
        );
        result.MustEndWith(0);
        Assert.Equal(["enable 0", "pages 1", "boot 0", "pages 0", "damaged 6", "disable 0"], result.Lines);
    }

    [Fact]
    public async Task Refuses_who_is_not_root()
    {
        var result = await guest.RunAsync(
            """
            echo "nobody:x:65534:65534:nobody:/:/bin/sh" >/etc/passwd
            su nobody -s /bin/sh -c "ksplice apply /nowhere"
            """,
            s_command
        );
        result.MustEndWith(4);
        Assert.Contains("must be root", result.Errors, StringComparison.Ordinal);
    }

    // Matching by the real core, without a change; what the kernel lets others see; and two updates off in one command.
    [Fact]
    public async Task Checks_without_a_change_shows_others_what_they_may_see_and_undoes_all()
    {
        var first = await UpdateGuest.SampleAsync("a-smaps-pages", guest.Release);
        var second = await UpdateGuest.SampleAsync("c-kmsg-permission", guest.Release);
        string a = UpdateGuest.Place(first),
            c = UpdateGuest.Place(second);
        var result = await guest.RunAsync(
            $"""
            echo "nobody:x:65534:65534:nobody:/:/bin/sh" >/etc/passwd
            livepatched() ( echo "livepatched $(($(cat /proc/sys/kernel/tainted) >> 15 & 1))" )
            ksplice check {a} | head -1
            livepatched
            grep -q ^Pages: /proc/self/smaps; echo "pages $?, modules $(grep -c ^ksplice /proc/modules)"
            ksplice apply {a} >/dev/null; echo "apply $?"
            livepatched
            ksplice apply {a}
            ksplice apply {c} >/dev/null; echo "apply $?"
            su nobody -s /bin/sh -c "ksplice view {first.Id} 2>/dev/null; ksplice status >/dev/null 2>&1; echo status \$?"
            ksplice undo --all >/dev/null; echo "undo $?, modules $(grep -c ^ksplice_.*mary /proc/modules)"
            ls /run/ksplice | wc -l
            """,
            s_command,
            UpdateGuest.Package(first),
            UpdateGuest.Package(second)
        );
        result.MustEndWith(0);
        Assert.Matches($"^update {first.Id} matches this kernel: [0-9]+ functions? would be replaced$", result.Lines[0]);
        Assert.Equal(
            [
                "livepatched 0",
                "pages 1, modules 0",
                "apply 0",
                "livepatched 1",
                $"update {first.Id} is applied already: unchanged",
                "apply 0",
                $"id:        {first.Id}",
            ],
            result.Lines.Skip(1).Take(7)
        );
        Assert.Contains("stage:     applied", result.Lines);
        Assert.DoesNotContain(result.Lines, line => line.Contains("target:", StringComparison.Ordinal));
        Assert.Equal(["status 4", "undo 0, modules 0", "0"], result.Lines.TakeLast(3));
    }
}
