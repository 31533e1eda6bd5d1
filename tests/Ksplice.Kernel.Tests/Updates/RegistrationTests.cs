// SPDX-License-Identifier: MIT
// An update's modules loaded by hand, in orders that `ksplice` never takes: the core says what is missing, and what is
// there goes on working.
using System.Buffers.Binary;
using System.Text;
using Ksplice.Build.Elf;
using Ksplice.Build.Kernel;

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
        var project = await UpdateGuest.SampleAsync("b-kernel-pages", guest.Release);
        var result = await guest.RunAsync(
            $$"""
            cd {{UpdateGuest.Place(project)}}
            update=ksplice_{{project.Id}}_0 sys=/sys/kernel/ksplice/{{project.Id}}
            ask() {
                echo $1 >$sys/stage; while [ "$(cat $sys/busy)" = 1 ]; do sleep 0.1; done
                echo "$1: $(cat $sys/stage) $(cat $sys/abort_cause)"
            }
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
            UpdateGuest.Package(project),
            Twin(project)
        );
        result.MustEndWith(0);
        Assert.Equal(
            [
                "vmlinux matched",
                "applied: preparing incomplete",
                "second helper refused",
                "vmlinux ready",
                "reversed: preparing unexpected",
                .. Enumerable
                    .Repeat<string[]>(
                        ["applied: applied ok", "applied: applied already_applied", "shown 0", "reversed: reversed ok", "shown 1"],
                        3
                    )
                    .SelectMany(lines => lines),
                "0 modules",
            ],
            result.Lines
        );
    }

    // A module of the update with another digest in it, as one would have that was built from another source by the same patch.
    private GuestFile OfAnotherBuild(PatchProject project, string part)
    {
        string module = $"ksplice_{project.Id}_{part}.ko";
        var bytes = File.ReadAllBytes(Path.Combine(project.Package, module));
        string folder = Assert.Single(Directory.GetFiles(project.At("obj"), "update_config.h", SearchOption.AllDirectories), file =>
            file.Contains("/0/", StringComparison.Ordinal)
        );
        string digest = System
            .Text.RegularExpressions.Regex.Match(File.ReadAllText(folder), "KSPLICE_DIGEST \"([0-9a-f]{64})\"")
            .Groups[1]
            .Value;
        int at = bytes.AsSpan().IndexOf(Encoding.ASCII.GetBytes(digest));
        Assert.True(at > 0, $"{module} holds no digest");
        bytes[at] = (byte)(bytes[at] == '0' ? '1' : '0');
        File.WriteAllBytes(Path.Combine(_work.FullName, module), bytes);
        return new GuestFile(Path.Combine(_work.FullName, module), "/other/" + module);
    }

    [Fact]
    public async Task Modules_of_two_builds_are_not_one_update()
    {
        using var project = await LateTargetTests.KernelAndLoopAsync(guest.Release);
        var result = await guest.RunAsync(
            $$"""
            update=ksplice_{{project.Id}} sys=/sys/kernel/ksplice/{{project.Id}}
            cd {{UpdateGuest.Place(project)}}
            insmod ksplice.ko && insmod ${update}_0_helper.ko || exit 1
            insmod /other/${update}_1_helper.ko && echo "helper taken"
            dmesg | grep -o 'the helper for loop is of another build than what is loaded of this update' | sort -u
            insmod ${update}_1_helper.ko || exit 1
            insmod /other/${update}_0_primary.ko && echo "primary taken"
            cat $sys/abort_cause $sys/reason
            insmod ${update}_0_primary.ko && insmod ${update}_1_primary.ko || exit 1
            echo applied >$sys/stage; while [ "$(cat $sys/busy)" = 1 ]; do sleep 0.1; done
            cat $sys/stage
            """,
            UpdateGuest.Package(project),
            OfAnotherBuild(project, "1_helper"),
            OfAnotherBuild(project, "0_primary")
        );
        result.MustEndWith(0);
        Assert.Equal(
            [
                "the helper for loop is of another build than what is loaded of this update",
                "other_build",
                "the primary for vmlinux is of another build than its helper",
                "applied",
            ],
            result.Lines
        );
    }

    // K20: a primary binds to the strings that it was built with, and the command says which module has others.
    [Fact]
    public async Task A_data_module_of_other_content_serves_no_primary()
    {
        var project = await UpdateGuest.SampleAsync("a-smaps-pages", guest.Release);
        // The module as another build would have it: another digest, in its version and in the names of its exports.
        string module = $"ksplice_{project.Id}_data.ko";
        var bytes = File.ReadAllBytes(Path.Combine(project.Package, module));
        byte[] digest = Encoding.ASCII.GetBytes(
            System
                .Text.RegularExpressions.Regex.Match(Encoding.Latin1.GetString(bytes), $"ksp_{project.Id}_data_([0-9a-f]{{16}})")
                .Groups[1]
                .Value
        );
        int places = 0;
        for (int at; (at = bytes.AsSpan().IndexOf(digest)) >= 0; places++)
            bytes[at] = (byte)(bytes[at] == '0' ? '1' : '0');
        Assert.True(places > 2, $"{module} has {places} digests");
        File.WriteAllBytes(Path.Combine(_work.FullName, module), bytes);
        var result = await guest.RunAsync(
            $$"""
            insmod /other/{{module}} || exit 1
            ksplice apply {{UpdateGuest.Place(project)}}
            echo "apply $?"
            cd {{UpdateGuest.Place(project)}}
            insmod ksplice.ko && insmod *_helper.ko || exit 1
            insmod *_primary.ko && echo "primary taken"
            dmesg | grep -o 'Unknown symbol ksp_{{project.Id}}_data_[0-9a-f]*' | sort -u
            rmmod {{module[..^3]}} || exit 1
            insmod {{module}} && insmod *_primary.ko && echo "its own taken"
            """,
            UpdateGuest.Command,
            UpdateGuest.Package(project),
            new GuestFile(Path.Combine(_work.FullName, module), "/other/" + module)
        );
        result.MustEndWith(0);
        Assert.Equal(
            ["apply 2", $"Unknown symbol ksp_{project.Id}_data_{Encoding.ASCII.GetString(digest)}", "its own taken"],
            result.Lines
        );
        Assert.Contains($"{module[..^3]} is loaded, and its content is not this package's", result.Errors, StringComparison.Ordinal);
    }

    // The primary with another version of its tables in it, as one of another release would have. ABI: update.h, struct ksplice_code.
    private GuestFile OfAnotherAbi(PatchProject project, string part)
    {
        string module = $"ksplice_{project.Id}_{part}.ko";
        var bytes = File.ReadAllBytes(Path.Combine(project.Package, module));
        var elf = ModuleFile.Read(bytes, module).Elf;
        var code = elf.Symbols.Single(symbol => symbol.Name == "ksplice_code");
        var section = elf.Sections[code.SectionIndex].Data.Span;
        int at = bytes.AsSpan().IndexOf(section);
        Assert.True(at > 0 && bytes.AsSpan(at + 1).IndexOf(section) < 0, "the section of ksplice_code is not there once");
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(at + (int)code.Value), 999);
        File.WriteAllBytes(Path.Combine(_work.FullName, module), bytes);
        return new GuestFile(Path.Combine(_work.FullName, module), "/other/" + module);
    }

    // What is not understood is refused when it comes, also where the module that it is for is not loaded and nothing is asked of it yet.
    [Fact]
    public async Task A_primary_of_another_abi_is_refused_whether_its_module_is_there_or_not()
    {
        using var project = await LateTargetTests.KernelAndLoopAsync(guest.Release);
        var result = await guest.RunAsync(
            $$"""
            update=ksplice_{{project.Id}} sys=/sys/kernel/ksplice/{{project.Id}}
            cd {{UpdateGuest.Place(project)}}
            insmod ksplice.ko && insmod ${update}_0_helper.ko && insmod ${update}_1_helper.ko || exit 1
            for part in 0 1; do
                insmod /other/${update}_${part}_primary.ko && echo "primary taken"
                cat $sys/abort_cause $sys/reason
            done
            insmod ${update}_0_primary.ko && insmod ${update}_1_primary.ko || exit 1
            echo applied >$sys/stage; while [ "$(cat $sys/busy)" = 1 ]; do sleep 0.1; done
            cat $sys/stage
            """,
            UpdateGuest.Package(project),
            OfAnotherAbi(project, "0_primary"),
            OfAnotherAbi(project, "1_primary")
        );
        result.MustEndWith(0);
        Assert.Equal(
            [
                "bad_data",
                "the primary for vmlinux has abi 999, wanted is 6",
                "bad_data",
                "the primary for loop has abi 999, wanted is 6",
                "applied",
            ],
            result.Lines
        );
    }

    // The primary with other flags of its first redirect. Redirects: update.h, struct ksplice_redirect.
    private GuestFile WithFlags(PatchProject project, uint flags)
    {
        string module = $"ksplice_{project.Id}_0_primary.ko";
        var bytes = File.ReadAllBytes(Path.Combine(project.Package, module));
        var section = ModuleFile.Read(bytes, module).Elf.Sections.Single(section => section.Name == ".ksplice.redirects").Data.Span;
        int at = bytes.AsSpan().IndexOf(section);
        Assert.True(at > 0 && bytes.AsSpan(at + 1).IndexOf(section) < 0, "the section of the redirects is not there once");
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(at + 16), flags);
        string name = $"{flags}.ko";
        File.WriteAllBytes(Path.Combine(_work.FullName, name), bytes);
        return new GuestFile(Path.Combine(_work.FullName, name), "/" + name);
    }

    // K33: what is to be led on by the tracer and has no site of it. Functions of lib/ have none.
    [Fact]
    public async Task A_redirect_with_a_flag_that_is_not_known_or_cannot_be_followed_is_refused()
    {
        using PatchProject project = new(guest.Release);
        project.Write(
            "uuid.patch",
            await KernelTree.ChangeAsync(
                guest.Release,
                "lib/uuid.c",
                (
                    "bool uuid_is_valid(const char *uuid)\n{\n\tunsigned int i;\n",
                    "bool uuid_is_valid(const char *uuid)\n{\n\tunsigned int i;\n\n\tif (!uuid)\n\t\treturn false;\n"
                )
            )
        );
        (await project.BuildAsync()).MustSucceed();
        var result = await guest.RunAsync(
            $$"""
            update=ksplice_{{project.Id}} sys=/sys/kernel/ksplice/{{project.Id}}
            cd {{UpdateGuest.Place(project)}}
            insmod ksplice.ko && insmod ${update}_0_helper.ko || exit 1
            for flags in 1 2; do
                insmod /$flags.ko && echo "primary taken"
                cat $sys/abort_cause $sys/reason
            done
            insmod ${update}_0_primary.ko || exit 1
            """,
            UpdateGuest.Package(project),
            WithFlags(project, 1),
            WithFlags(project, 2)
        );
        result.MustEndWith(0);
        Assert.Equal(
            [
                "unexpected",
                "uuid_is_valid may run in an NMI, and the function tracer cannot redirect it",
                "bad_data",
                "the primary for vmlinux: redirect 0 does not fit",
            ],
            result.Lines
        );
    }
}
