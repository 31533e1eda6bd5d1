// SPDX-License-Identifier: MIT
// What the core needs of the kernel and does not find there makes its load fail by name. The kernel cannot be made to lack a
// symbol; so the names are changed in a built core.
using System.Text;

namespace Ksplice.Kernel.Tests.Updates;

public sealed class LookupTests(Guest guest) : IDisposable
{
    private readonly DirectoryInfo _work = Directory.CreateTempSubdirectory("ksplice-lookup-");

    public void Dispose() => _work.Delete(recursive: true);

    // The core with another name, that is not longer, in the place of one that it looks up.
    private GuestFile Asking(GuestFile core, string instead, string of)
    {
        byte[] bytes = File.ReadAllBytes(core.HostPath);
        byte[] from = Encoding.ASCII.GetBytes($"\0{of}\0"),
            to = Encoding.ASCII.GetBytes($"\0{instead.PadRight(of.Length, '\0')}\0");
        Assert.Equal(from.Length, to.Length);
        int changed = 0;
        for (int at = 0, found; (found = bytes.AsSpan(at).IndexOf(from)) >= 0; at += found + 1, changed++)
            to.CopyTo(bytes, at + found);
        Assert.NotEqual(0, changed);
        string file = Path.Combine(_work.FullName, instead + ".ko");
        File.WriteAllBytes(file, bytes);
        return new GuestFile(file, $"/{instead}.ko");
    }

    [Fact]
    public async Task What_only_a_module_has_or_init_memory_had_or_is_there_twice_is_not_found()
    {
        var core = await TestModule.BuildCoreAsync(guest.Release);
        var result = await guest.RunAsync(
            """
            insmod /stranger.ko || exit 1
            for name in find_bUg kallsyms_on_each_match_symboL start_kernel type_show no_such; do
                insmod /$name.ko 2>/dev/null && echo "taken $name" && rmmod ksplice
                dmesg | grep -o "cannot find $name .*" | uniq # insmod asks twice
            done
            insmod /ksplice.ko && echo "taken as built"
            """,
            await TestModule.BuildAsync("stranger", guest.Release),
            core,
            Asking(core, "find_bUg", "find_bug"),
            Asking(core, "kallsyms_on_each_match_symboL", "kallsyms_on_each_match_symbol"),
            Asking(core, "start_kernel", "stop_machine_cpuslocked"),
            Asking(core, "type_show", "idle_task"),
            Asking(core, "no_such", "get_kprobe")
        );
        result.MustEndWith(0);
        Assert.Collection(
            result.Lines,
            line => Assert.Equal("cannot find find_bUg in this kernel: it has 0 symbols of that name", line),
            line =>
                Assert.Matches(@"^cannot find kallsyms_on_each_match_symboL in this kernel, only \w+\+0x0/0x[0-9a-f]+ \[stranger]$", line),
            line => Assert.Equal("cannot find start_kernel in this kernel: it stood in init memory", line),
            line => Assert.Matches(@"^cannot find type_show in this kernel: it has ([2-9]|\d\d+) symbols of that name$", line),
            line => Assert.Equal("cannot find no_such in this kernel: it has 0 symbols of that name", line),
            line => Assert.Equal("taken as built", line)
        );
    }
}
