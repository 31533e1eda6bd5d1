// SPDX-License-Identifier: MIT
// Updates of loadable modules: what a guest's user space sees of them, and what is refused.
namespace Ksplice.Kernel.Tests.Updates;

public sealed class TargetTests(Guest guest)
{
    // In zram compact_store is static, and the kernel has a static function of that name too.
    internal const string Zram = """
        --- a/drivers/block/zram/zram_drv.c
        +++ b/drivers/block/zram/zram_drv.c
        @@ -1064,7 +1064,7 @@
         	down_read(&zram->init_lock);
         	if (!init_done(zram)) {
         		up_read(&zram->init_lock);
        -		return -EINVAL;
        +		return -ENODEV;
         	}
         
         	zs_compact(zram->mem_pool);

        """;

    private const string Look = """
        dd if=/dev/zero of=/tmp/secret bs=1024 count=64 2>/dev/null
        losetup /dev/loop0 /tmp/secret
        echo 'nobody:x:65534:65534:nobody:/:/bin/sh' >/etc/passwd
        look() {
            maps=$(grep -c vvar /proc/1/maps)
            path=$(su -s /bin/sh nobody -c "cat /sys/block/loop0/loop/backing_file" 2>/dev/null || echo refused)
            compact=$(sh -c 'echo 1 >/sys/block/zram0/compact' 2>&1 | sed 's/.*: //')
            echo "$1: vvar $maps, path $path, compact $compact, $(lsmod | grep -c ^ksplice) modules"
        }
        """;

    private PatchProject Three()
    {
        PatchProject project = new(guest.Release);
        project.Write("1-maps.patch", Sample("b-kernel-pages/kernel-pages.patch"));
        project.Write("2-loop.patch", Sample("d-loop-backing-file/loop-backing-file.patch"));
        project.Write("3-zram.patch", Zram);
        return project;
    }

    private async Task<PatchProject> ThreeTargetsAsync()
    {
        var project = Three();
        return await UpdateGuest.BuiltAsync(project);
    }

    private static string Sample(string path) => File.ReadAllText(Repository.At("samples", path));

    private GuestFile[] Files(PatchProject project) =>
        [
            UpdateGuest.Command,
            UpdateGuest.Package(project),
            UpdateGuest.Module(guest.Release, "drivers/block/loop"),
            UpdateGuest.Module(guest.Release, "mm/zsmalloc"),
            UpdateGuest.Module(guest.Release, "drivers/block/zram/zram"),
        ];

    [Fact]
    public async Task The_kernel_and_two_modules_change_at_once_and_change_back()
    {
        using var project = await ThreeTargetsAsync();
        var result = await guest.RunAsync(
            $$"""
            insmod /loop.ko && insmod /zsmalloc.ko && insmod /zram.ko || exit 1
            {{Look}}
            look before
            for round in 1 2; do
                ksplice apply {{UpdateGuest.Place(project)}} || exit 1
                look applied
                awk '{ print "function", $1, $4 }' /sys/kernel/ksplice/{{project.Id}}/functions
                ksplice undo {{project.Id}} || exit 1
                look undone
            done
            losetup -d /dev/loop0
            rmmod zram && rmmod loop && echo "modules can go"
            """,
            Files(project)
        );
        result.MustEndWith(0);
        const string Without = "vvar 1, path /tmp/secret, compact Invalid argument, 0 modules";
        string[] round =
        [
            "applied: vvar 0, path refused, compact No such device, 7 modules",
            "function m_next vmlinux",
            "function m_start vmlinux",
            "function loop_attr_do_show_backing_file loop",
            "function compact_store zram",
            "undone: " + Without,
        ];
        Assert.Equal(
            ["before: " + Without, .. round, .. round, "modules can go"],
            result.Lines.Where(line =>
                System.Text.RegularExpressions.Regex.IsMatch(line, "^(before|applied|undone|function|zram|modules)[ :]")
                && !line.StartsWith("function: ", StringComparison.Ordinal)
            )
        );
    }

    [Fact]
    public async Task A_module_that_is_not_loaded_is_named_and_nothing_has_changed()
    {
        // A hook runs when the update is applied, with the module or not at all.
        using var project = Three();
        project.Write(
            "4-hook.patch",
            """
            --- a/drivers/block/zram/zram_drv.c
            +++ b/drivers/block/zram/zram_drv.c
            @@ -36,5 +36,9 @@
             #include "zram_drv.h"
             
            +#include <ksplice/hooks.h>
            +static void look(void) { pr_info("%s is in force\n", THIS_MODULE->name); }
            +ksplice_post_apply(look);
            +
             static DEFINE_IDR(zram_index_idr);
             /* idr index must be protected */
             static DEFINE_MUTEX(zram_index_mutex);

            """
        );
        var built = (await project.BuildAsync("-tl:off", "-v:normal")).MustSucceed();
        Assert.Contains(
            "KSP6032: Module zram has to be loaded when the update is applied, and cannot be unloaded while it is: "
                + "drivers/block/zram/zram_drv.c has a hook",
            built.Output,
            StringComparison.Ordinal
        );
        Assert.DoesNotContain("KSP6032: Module loop", built.Output, StringComparison.Ordinal);
        var result = await guest.RunAsync(
            $$"""
            insmod /loop.ko && insmod /zsmalloc.ko || exit 1
            {{Look}}
            ksplice apply {{UpdateGuest.Place(project)}}
            echo "apply $?"
            look refused
            insmod /zram.ko
            ksplice apply {{UpdateGuest.Place(project)}}
            echo "apply $?"
            look applied
            dmesg | grep -o 'zram is in force'
            rmmod zram 2>/dev/null || echo "zram stays"
            """,
            Files(project)
        );
        result.MustEndWith(0);
        Assert.Equal(["zram is in force", "zram stays"], result.Lines.Where(line => line.StartsWith("zram ", StringComparison.Ordinal)));
        Assert.Equal(["apply 2", "apply 0"], result.Lines.Where(line => line.StartsWith("apply ", StringComparison.Ordinal)));
        Assert.Contains("it changes module zram, which is not loaded", result.Errors, StringComparison.Ordinal);
        Assert.Contains(result.Lines, line =>
            line.StartsWith("refused: vvar 1, path /tmp/secret,", StringComparison.Ordinal)
            && line.EndsWith(" 0 modules", StringComparison.Ordinal)
        );
        Assert.Contains("applied: vvar 0, path refused, compact No such device, 8 modules", result.Lines);
    }

    [Fact]
    public async Task New_code_of_a_module_is_that_modules()
    {
        using PatchProject project = new(guest.Release);
        project.Write(
            "loop.patch",
            """
            --- a/drivers/block/loop.c
            +++ b/drivers/block/loop.c
            @@ -687,4 +687,4 @@
             static ssize_t loop_attr_offset_show(struct loop_device *lo, char *buf)
             {
            -	return sysfs_emit(buf, "%llu\n", (unsigned long long)lo->lo_offset);
            +	return sysfs_emit(buf, "%llu of %s\n", (unsigned long long)lo->lo_offset, THIS_MODULE->name);
             }

            """
        );
        (await project.BuildAsync()).MustSucceed();
        // What `THIS_MODULE` is in a primary would be the primary.
        Assert.Contains(" __this_module\n", UpdateGuest.MatchReport(project), StringComparison.Ordinal);
        var result = await guest.RunAsync(
            $"""
            insmod /loop.ko || exit 1
            dd if=/dev/zero of=/tmp/file bs=1024 count=64 2>/dev/null
            losetup -o 512 /dev/loop0 /tmp/file
            ksplice apply {UpdateGuest.Place(project)} || exit 1
            echo "offset $(cat /sys/block/loop0/loop/offset)"
            ksplice undo {project.Id} || exit 1
            echo "offset $(cat /sys/block/loop0/loop/offset)"
            """,
            Files(project)
        );
        result.MustEndWith(0);
        Assert.Equal(
            ["offset 512 of loop", "offset 512"],
            result.Lines.Where(line => line.StartsWith("offset ", StringComparison.Ordinal))
        );
    }

    [Fact]
    public async Task A_module_whose_code_differs_keeps_all_targets_as_they_were()
    {
        using var project = await ThreeTargetsAsync();
        var result = await guest.RunAsync(
            $$"""
            insmod /loop.ko && insmod /zsmalloc.ko && insmod /zram.ko || exit 1
            {{Look}}
            insmod /poke.ko function=zram:compact_store offset=8 || exit 1
            ksplice apply {{UpdateGuest.Place(project)}}
            echo "apply $?"
            rmmod poke
            look refused
            """,
            [.. Files(project), await TestModule.BuildAsync("poke", guest.Release)]
        );
        result.MustEndWith(0);
        Assert.Contains("apply 2", result.Lines);
        Assert.Contains("zram: compact_store: its code differs", result.Errors, StringComparison.Ordinal);
        Assert.Contains("refused: vvar 1, path /tmp/secret, compact Invalid argument, 0 modules", result.Lines);
    }

    // loop uses a function that the patch adds to the kernel, one of the kernel's that it exports, and one that it adds to zram.
    private async Task<PatchProject> UsesOfOthersAsync()
    {
        const string Show = "static int uptime_proc_show(",
            Merge = "int add_range_with_merge(",
            Stat = "static ssize_t io_stat_show(",
            Offset = "static ssize_t loop_attr_offset_show(";
        PatchProject project = new(guest.Release);
        project.Write(
            "1-uptime.patch",
            await KernelTree.ChangeAsync(
                guest.Release,
                "fs/proc/uptime.c",
                (
                    Show,
                    $"static int uptime_read_count;\n\nint uptime_reads(void)\n{{\n\treturn uptime_read_count;\n}}\n"
                        + $"EXPORT_SYMBOL_GPL(uptime_reads);\n\n{Show}"
                ),
                ("\tidle_nsec = 0;\n", "\tidle_nsec = 0;\n\tuptime_read_count++;\n")
            )
        );
        project.Write(
            "2-range.patch",
            await KernelTree.ChangeAsync(guest.Release, "kernel/range.c", (Merge, $"EXPORT_SYMBOL_GPL(add_range);\n\n{Merge}"))
        );
        project.Write(
            "3-zram.patch",
            await KernelTree.ChangeAsync(
                guest.Release,
                "drivers/block/zram/zram_drv.c",
                ("\t\treturn -EINVAL;\n\t}\n\n\tzs_compact(", "\t\treturn -ENODEV;\n\t}\n\n\tzs_compact("),
                (
                    Stat,
                    "int zram_doubled(int value);\nint zram_doubled(int value)\n{\n\treturn 2 * value;\n}\n"
                        + $"EXPORT_SYMBOL_GPL(zram_doubled);\n\n{Stat}"
                )
            )
        );
        project.Write(
            "4-loop.patch",
            await KernelTree.ChangeAsync(
                guest.Release,
                "drivers/block/loop.c",
                (Offset, $"extern int uptime_reads(void), zram_doubled(int value);\n#include <linux/range.h>\n\n{Offset}"),
                (
                    "\treturn sysfs_emit(buf, \"%llu\\n\", (unsigned long long)lo->lo_offset);\n",
                    """
                    	struct range ranges[2];
                    	int count = add_range(ranges, 2, 0, 1, 6);

                    	return sysfs_emit(buf, "%llu, %d reads, %d range to %llu\n", (unsigned long long)lo->lo_offset,
                    			  zram_doubled(uptime_reads()), count, ranges[0].end);

                    """
                )
            )
        );
        return project;
    }

    [Fact]
    public async Task New_code_of_a_module_uses_what_the_update_brings_to_the_kernel_and_to_another_module()
    {
        using var project = await UsesOfOthersAsync();
        var built = (await project.BuildAsync("-tl:off", "-v:normal")).MustSucceed();
        Assert.Contains(
            "KSP6032: Module zram has to be loaded when the update is applied, and cannot be unloaded while it is: "
                + "new code of drivers/block/loop.c uses 'zram_doubled', which drivers/block/zram/zram_drv.c brings",
            built.Output,
            StringComparison.Ordinal
        );
        Assert.DoesNotContain("KSP6032: Module loop", built.Output, StringComparison.Ordinal);
        // An update on top: its new code uses the lower one's function too.
        using PatchProject upper = new(guest.Release);
        upper.OnTopOf(project);
        upper.Write(
            "limit.patch",
            """
            --- a/drivers/block/loop.c
            +++ b/drivers/block/loop.c
            @@ -699,4 +699,4 @@
             static ssize_t loop_attr_sizelimit_show(struct loop_device *lo, char *buf)
             {
            -	return sysfs_emit(buf, "%llu\n", (unsigned long long)lo->lo_sizelimit);
            +	return sysfs_emit(buf, "%llu, %d reads\n", (unsigned long long)lo->lo_sizelimit, uptime_reads());
             }

            """
        );
        (await upper.BuildAsync()).MustSucceed();
        string id = project.Id;
        var result = await guest.RunAsync(
            $$"""
            data() { ls -d /sys/module/ksplice_*_data | wc -l; }
            ours() { ls /sys/module | grep -v _data | grep -c ksplice; }
            dd if=/dev/zero of=/tmp/file bs=1024 count=64 2>/dev/null
            insmod /loop.ko && losetup -o 512 /dev/loop0 /tmp/file || exit 1
            look() { echo "$1: $(cat /sys/block/loop0/loop/offset), limit $(cat /sys/block/loop0/loop/sizelimit)"; }
            ksplice apply {{UpdateGuest.Place(project)}}
            echo "without zram $?, $(ours) modules"
            insmod /zsmalloc.ko && insmod /zram.ko || exit 1
            for round in 1 2; do
                look before
                ksplice apply {{UpdateGuest.Place(project)}} || exit 1
                cat /proc/uptime /proc/uptime >/dev/null
                look applied
                for index in 0 1 2; do
                    echo "holders of $index: $(ls /sys/module/ksplice_{{id}}_${index}_primary/holders | tr '\n' ' ')"
                done
                if [ $round = 2 ]; then
                    ksplice apply {{UpdateGuest.Place(upper)}} || exit 1
                    look "on top"
                    ksplice undo {{id}}
                    echo "undo below $?"
                    ksplice undo {{upper.Id}} || exit 1
                fi
                ksplice undo {{id}} || exit 1
                echo "undone, $(ours) modules"
            done

            # Loaded by hand, and left there: a primary is bound to nothing but the update's own.
            cd {{UpdateGuest.Place(project)}}
            insmod ksplice.ko || exit 1
            for index in 0 1 2; do insmod ksplice_{{id}}_${index}_helper.ko || exit 1; done
            insmod ksplice_{{id}}_2_primary.ko 2>/dev/null || dmesg | grep -o 'primary: Unknown symbol ksp_.*new_....' | head -1
            for index in 0 1 2; do insmod ksplice_{{id}}_${index}_primary.ko || exit 1; done
            rmmod ksplice_{{id}}_0_primary 2>/dev/null || echo "the kernel's primary stays"
            ksplice undo {{id}} || exit 1
            echo "taken out, $(ours) modules"

            # The user may come later; what is used may not go.
            losetup -d /dev/loop0 && rmmod loop || exit 1
            ksplice apply {{UpdateGuest.Place(project)}} || exit 1
            rmmod zram 2>/dev/null || echo "zram stays"
            insmod /loop.ko && losetup -o 512 /dev/loop0 /tmp/file || exit 1
            cat /proc/uptime >/dev/null
            look late
            ksplice undo {{id}} && rmmod zram || exit 1
            look after
            """,
            [.. Files(project), UpdateGuest.Package(upper)]
        );
        result.MustEndWith(0);
        string[] round =
        [
            "before: 512, limit 0",
            "applied: 512, 4 reads, 1 range to 6, limit 0",
            $"holders of 0: ksplice_{id}_2_primary ",
            $"holders of 1: ksplice_{id}_2_primary ",
            "holders of 2: ",
        ];
        Assert.Equal(
            [
                "without zram 2, 0 modules",
                .. round,
                "undone, 0 modules",
                .. round,
                "on top: 512, 4 reads, 1 range to 6, limit 0, 2 reads",
                "undo below 2",
                "undone, 0 modules",
                $"primary: Unknown symbol ksp_{id}_1_new_0000",
                "the kernel's primary stays",
                "taken out, 0 modules",
                "zram stays",
                "late: 512, 2 reads, 1 range to 6, limit 0",
                "after: 512, limit 0",
            ],
            result.Lines.Where(line =>
                System.Text.RegularExpressions.Regex.IsMatch(
                    line,
                    "^(without|before|applied|holders|on top|undo below|undone,|primary|the kernel's|taken|zram stays|late|after)"
                )
            )
        );
        Assert.Contains("it changes module zram, which is not loaded", result.Errors, StringComparison.Ordinal);
    }
}
