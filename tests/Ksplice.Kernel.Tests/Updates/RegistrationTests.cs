// An update's modules loaded by hand, in orders that `ksplice` never takes: the core says what is missing, and what is
// there goes on working.
using System.Text;

namespace Ksplice.Kernel.Tests.Updates;

public sealed class RegistrationTests(Guest guest) : IDisposable
{
    private readonly DirectoryInfo _work = Directory.CreateTempSubdirectory("ksplice-registration-");

    public void Dispose() => _work.Delete(recursive: true);

    // The same helper under names of its own, so that the loader takes it and it is the core that has to refuse.
    private GuestFile Twin(PatchProject project)
    {
        var bytes = File.ReadAllBytes(Path.Combine(project.Package, $"ksplice_{project.Id}_0_helper.ko"));
        foreach (string prefix in (string[])["ksplice_", "ksp_"])
        {
            byte[] from = Encoding.ASCII.GetBytes($"{prefix}{project.Id}_0_");
            for (int at = 0; (at = Array.FindIndex(bytes, at, b => b == from[0])) >= 0; at++)
            {
                if (bytes.AsSpan(at).StartsWith(from))
                    bytes[at + from.Length - 2] = (byte)'9';
            }
        }
        string twin = Path.Combine(_work.FullName, "twin.ko");
        File.WriteAllBytes(twin, bytes);
        return new GuestFile(twin, "/twin.ko");
    }

    [Fact]
    public async Task Half_an_update_a_second_helper_and_modules_taken_out_too_early()
    {
        using var project = PatchProject.Sample("b-kernel-pages", guest.Release);
        (await project.BuildAsync()).MustSucceed();
        var result = await guest.RunAsync(
            $$"""
            cd {{UpdateGuest.Place(project)}}
            update=ksplice_{{project.Id}}_0 sys=/sys/kernel/ksplice/{{project.Id}}
            ask() { echo $1 >$sys/stage; while [ "$(cat $sys/busy)" = 1 ]; do sleep 0.1; done; echo "$1: $(cat $sys/stage) $(cat $sys/abort_cause)"; }
            insmod ksplice.ko
            insmod ${update}_primary.ko && echo "primary without helper"
            insmod ${update}_helper.ko || exit 1
            cat $sys/targets
            ask applied
            insmod /twin.ko && echo "second helper"
            dmesg | grep -q 'a helper of this update for vmlinux is loaded already' && echo "second helper refused"
            insmod ${update}_primary.ko || exit 1
            cat $sys/targets
            ask reversed
            for round in 1 2 3; do
                ask applied
                ask applied
                echo "shown $(grep -c vvar /proc/1/maps)"
                rmmod ${update}_primary && echo "primary taken out"
                ask reversed
                echo "shown $(grep -c vvar /proc/1/maps)"
            done
            rmmod ${update}_helper && echo "helper taken out"
            rmmod ${update}_primary ${update}_helper ksplice || exit 1
            ls /sys/kernel/ksplice
            echo "$(lsmod | grep -c ksplice) modules"
            """,
            UpdateGuest.Package(project), Twin(project));
        result.MustEndWith(0);
        Assert.Equal(
            [
                "vmlinux matched",
                "applied: preparing incomplete",
                "second helper refused",
                "vmlinux ready",
                "reversed: preparing unexpected",
                .. Enumerable.Repeat<string[]>(["applied: applied ok", "applied: applied already_applied", "shown 0", "reversed: reversed ok", "shown 1"], 3).SelectMany(lines => lines),
                "0 modules",
            ],
            result.Lines);
    }
}
