// SPDX-License-Identifier: MIT
// K22 on a 6.12 kernel, which overwrites each ENDBR that it thinks nobody needs, whatever its processor can do: new code may call
// such a function, and must not hand its address out. The emulator's processor would let it; the build and the core do not.
using System.Runtime.InteropServices;
using System.Text;
using Ksplice.Build.Matching;

namespace Ksplice.Kernel.Tests.Updates;

public sealed class SealedFunctionTests(Guest guest) : IDisposable
{
    private const string Name = "kallsyms_lookup_name";

    private readonly DirectoryInfo _work = Directory.CreateTempSubdirectory("ksplice-sealed-");

    public void Dispose() => _work.Delete(recursive: true);

    private static async Task<PatchProject> ProjectAsync(string declaration, string call)
    {
        string release = await NewerSeries.ReleaseAsync();
        PatchProject project = new(release);
        project.Write(
            "uptime.patch",
            await KernelTree.ChangeAsync(
                release,
                "fs/proc/uptime.c",
                ("#include <linux/kernel_stat.h>\n", "#include <linux/kernel_stat.h>\n#include <linux/kallsyms.h>\n"),
                ("static int uptime_proc_show(", declaration + "static int uptime_proc_show("),
                ("\treturn 0;\n", $"\tseq_printf(m, \"%d\\n\", {call} != 0);\n\treturn 0;\n")
            )
        );
        return project;
    }

    [Fact]
    public async Task The_build_refuses_new_code_that_takes_its_address()
    {
        using var project = await ProjectAsync(
            $"static unsigned long (*lookup)(const char *name) = {Name};\n\n",
            "READ_ONCE(lookup)(\"jiffies\")"
        );
        string refusal = (await project.BuildAsync()).MustFailWith("KSP4007");
        Assert.StartsWith("fs/proc/uptime.c", refusal, StringComparison.Ordinal);
        Assert.Contains(
            $"at the start of {Name}, or the kernel overwrites it, and lookup takes its address",
            refusal,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public async Task The_core_refuses_it_too_and_takes_the_direct_call()
    {
        using var project = await ProjectAsync("", $"{Name}(\"jiffies\")");
        (await project.BuildAsync()).MustSucceed();
        var result = await guest.RunAsync(
            $"""
            cd {UpdateGuest.Place(project)}
            sys=/sys/kernel/ksplice/{project.Id}
            insmod ksplice.ko || exit 1
            insmod /sealed.ko 2>/dev/null && echo "taken"
            cat $sys/abort_cause $sys/reason
            ksplice apply {UpdateGuest.Place(project)}
            echo "apply $?"
            tail -1 /proc/uptime
            """,
            ["--release", await NewerSeries.ReleaseAsync()],
            UpdateGuest.Command,
            UpdateGuest.Package(project),
            Tampered(project)
        );
        result.MustEndWith(0);
        Assert.DoesNotContain("taken", result.Lines);
        Assert.Contains("no_match", result.Lines);
        Assert.Single(result.Lines, line =>
            line.Contains($"an indirect call of it would fault, and the new code takes its address: {Name}, at ", StringComparison.Ordinal)
            && line.Contains("expected f3 0f 1e fa, found 66 0f 1f 00", StringComparison.Ordinal)
        );
        Assert.Equal(["apply 0", "1"], result.Lines.TakeLast(2));
    }

    // The helper, with match data as a build without the check would write it.
    private GuestFile Tampered(PatchProject project)
    {
        byte[] module = File.ReadAllBytes(Path.Combine(project.Package, $"ksplice_{project.Id}_0_helper.ko"));
        var data = module.AsSpan(module.AsSpan().IndexOf("KSPMTCH\0"u8));
        var header = MemoryMarshal.Read<MatchHeader>(data);
        Assert.Equal((MatchFormat.Magic, MatchFormat.Version), (header.Magic, header.Version));
        var symbols = MemoryMarshal.Cast<byte, MatchSymbol>(
            data.Slice((int)header.Symbols, (int)header.SymbolCount * Marshal.SizeOf<MatchSymbol>())
        );
        byte[] name = Encoding.ASCII.GetBytes(Name + "\0");
        int found = 0;
        foreach (ref var symbol in symbols)
        {
            if (symbol.Export == MatchFormat.None || !data[(int)(header.Names + symbol.Name)..].StartsWith(name))
                continue;
            Assert.Equal(SymbolFlags.None, symbol.Flags & SymbolFlags.Called);
            symbol.Flags |= SymbolFlags.Called;
            found++;
        }
        Assert.Equal(1, found);
        string path = Path.Combine(_work.FullName, "sealed.ko");
        File.WriteAllBytes(path, module);
        return new GuestFile(path, "/sealed.ko");
    }
}
