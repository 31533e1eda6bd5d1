// SPDX-License-Identifier: MIT
// What a user of the analysis sees: severities from configuration files, errors that stay errors, acknowledgements that land in
// the manifest, and rules of his own.
using System.Text.Json;

namespace Ksplice.Tasks.Tests;

public sealed class AnalysisTests
{
    [Fact]
    public async Task Own_analyzers_report_and_configuration_files_decide_how_loudly()
    {
        using PatchProject project = new(Patches.Release);
        project.Write(
            "fix.patch",
            await Patches.ChangeAsync(
                "fs/proc/task_mmu.c",
                "\tsmap_gather_stats(vma, &mss, 0);\n\n\tshow_map_vma(m, vma);",
                "\tsmap_gather_stats(vma, &mss, 0);\n\tpr_info(\"smap\\n\");\n\tshow_map_vma(m, vma);"
            )
        );
        project.Write(
            "Directory.Build.targets",
            $"""
            <Project><ItemGroup>
              <ProjectReference Include="{Repository.At(
                "samples",
                "own-analyzer",
                "own-analyzer.csproj"
            )}" ReferenceOutputAssembly="false" OutputItemType="KspliceAnalyzer" />
            </ItemGroup></Project>
            """
        );
        string sarif = project.At("log/build.sarif");
        project.Write(
            "Directory.Build.props",
            $"<Project><PropertyGroup><ErrorLog>{sarif},version=2.1</ErrorLog></PropertyGroup></Project>"
        );
        var shown = (await project.BuildAsync()).MustSucceed();
        string line = shown.Output.Split('\n').First(line => line.Contains("warning OWN0001", StringComparison.Ordinal));
        Assert.Contains("show_smap calls _printk 1 times, 0 before", line, StringComparison.Ordinal);
        Assert.Contains("fs/proc/task_mmu.c(", line, StringComparison.Ordinal);
        using (var log = JsonDocument.Parse(await File.ReadAllBytesAsync(sarif, TestContext.Current.CancellationToken)))
        {
            Assert.Contains("https://rules.example/OWN0001", log.RootElement.GetRawText(), StringComparison.Ordinal);
            // No path of this machine.
            Assert.DoesNotContain("file:///", log.RootElement.GetRawText(), StringComparison.Ordinal);
            Assert.Contains("\"uriBaseId\": \"", log.RootElement.GetRawText(), StringComparison.Ordinal);
        }

        // By patched path, in the nearest file; a section about other files says nothing.
        project.Write(
            ".editorconfig",
            "root = true\n[fs/{proc,sysfs}/*.c]\ndotnet_diagnostic.OWN0001.severity = error\n[mm/*.c]\n"
                + "dotnet_diagnostic.OWN0001.severity = none\n"
        );
        (await project.BuildAsync()).MustFailWith("OWN0001");
        (await project.BuildAsync()).MustFailWith("OWN0001");
        project.Write(
            ".editorconfig",
            "root = true\n[*.c]\ndotnet_diagnostic.OWN0001.severity = none\ndotnet_diagnostic.KSP5001.severity = none\n"
        );
        var quiet = (await project.BuildAsync()).MustSucceed();
        Assert.DoesNotContain("OWN0001", quiet.Output, StringComparison.Ordinal);
        Assert.Contains("warning KSP5074", quiet.Output, StringComparison.Ordinal);
        File.Delete(project.At(".editorconfig"));
        (await project.BuildAsync("-p:TreatWarningsAsErrors=true")).MustFailWith("OWN0001");
        Assert.DoesNotContain(
            "OWN0001",
            (await project.BuildAsync("-p:TreatWarningsAsErrors=true", "-p:NoWarn=OWN0001")).MustSucceed().Output,
            StringComparison.Ordinal
        );
    }

    // Texts of the project stand in messages as they are, with braces too, which MSBuild's formats have a use for.
    [Fact]
    public async Task A_section_that_is_no_glob_is_warned_of_and_quoted_as_it_stands()
    {
        using PatchProject project = new(Patches.Release);
        project.Write("fix.patch", Patches.Smaps);
        const string Setting = "dotnet_diagnostic.KSP5014.severity = none\n";
        project.Write(".editorconfig", $"root = true\n[fs/{{proc,sysfs/*.c]\n{Setting}[fs/{{proc,sysfs}}/*.c]\n{Setting}");
        var warned = (await project.BuildAsync("-t:KspliceConfigure")).MustSucceed();
        string line = Assert.Single(
            warned.Output.Split('\n').Where(line => line.Contains("KSP5075", StringComparison.Ordinal)).Distinct(StringComparer.Ordinal)
        );
        Assert.Contains(
            "/.editorconfig(2): warning KSP5075: dotnet_diagnostic.ksp5014.severity has no effect here: [fs/{proc,sysfs/*.c] is no glob,",
            line,
            StringComparison.Ordinal
        );
        project.Items("<KspliceAcknowledge Include=\"KSP{5001}\" Object=\"struct a\" Reason=\"none\" />");
        Assert.Contains("'KSP{5001}'", (await project.BuildAsync("-t:KspliceConfigure")).MustFailWith("KSP5073"), StringComparison.Ordinal);
    }

    // Rules that ask the image and the list of exports speak of the kernel itself only: the build has to say which units are its.
    [Fact]
    public async Task What_the_running_kernel_forbids_is_refused_by_the_build_too()
    {
        using PatchProject project = new(Patches.Release);
        const string Stop = "long copy_from_kernel_nofault(void *dst, const void *src, size_t size)\n{\n",
            Shown = "static int version_proc_show(struct seq_file *m, void *v)\n{\n";
        project.Write("fix.patch", await Patches.ChangeAsync("mm/maccess.c", Stop, Stop + "\tpr_info(\"changed\\n\");\n"));
        Assert.Contains(
            "'copy_from_kernel_nofault' runs while",
            (await project.BuildAsync()).MustFailWith("KSP5011"),
            StringComparison.Ordinal
        );
        string module = File.ReadLines($"/usr/src/linux-headers-{Patches.Release}/Module.symvers")
            .Select(line => line.Split('\t'))
            .First(fields => fields[2] != "vmlinux")[1];
        project.Write(
            "fix.patch",
            await Patches.ChangeAsync("fs/proc/version.c", Shown, $"extern void {module}(void);\n{Shown}\t{module}();\n")
        );
        Assert.Contains($"'{module}'", (await project.BuildAsync()).MustFailWith("KSP5017"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_missing_analyzer_and_an_error_stop_the_build_and_an_acknowledged_error_stands_in_the_manifest()
    {
        using PatchProject project = new(Patches.Release);
        project.Write(
            "fix.patch",
            await Patches.ChangeAsync(
                "fs/proc/cmdline.c",
                "static int cmdline_proc_show",
                """
                #include <ksplice/hooks.h>

                static void raise(void) { }
                ksplice_apply(raise);
                static int cmdline_proc_show
                """.Trim()
            )
        );
        string data = await Patches.ChangeAsync(
            "kernel/printk/printk.c",
            "int __read_mostly suppress_printk;",
            "int __read_mostly suppress_printk = 1;"
        );
        project.Write("data.patch", data);
        project.Write("Directory.Build.targets", "<Project><ItemGroup><KspliceAnalyzer Include=\"no-such.dll\" /></ItemGroup></Project>");
        var refused = await project.BuildAsync();
        Assert.Contains("does not exist", refused.MustFailWith("KSP5071"), StringComparison.Ordinal);
        string line = refused.MustFailWith("KSP3001");
        Assert.Contains("its value changes from 0 to 1", line, StringComparison.Ordinal);
        Assert.Contains("data.patch(8,1)", line, StringComparison.Ordinal);
        project.Write(
            "Directory.Build.targets",
            "<Project><ItemGroup><KspliceAcknowledge Include=\"KSP3001\" Object=\"suppress_printk\" /></ItemGroup></Project>"
        );
        Assert.Contains("gives no reason", (await project.BuildAsync()).MustFailWith("KSP5073"), StringComparison.Ordinal);
        project.Write(
            "Directory.Build.targets",
            """
            <Project><ItemGroup>
              <KspliceAcknowledge Include="KSP3001" Object="suppress_printk" Reason="the hook sets it" />
              <KspliceAcknowledge Include="KSP3001" Object="no_such_variable" Reason="left over" />
            </ItemGroup></Project>
            """
        );
        var built = (await project.BuildAsync()).MustSucceed();
        Assert.Contains("warning KSP5072: KSP3001 of 'no_such_variable'", built.Output, StringComparison.Ordinal);
        Assert.Contains(
            "0 functions replaced, 1 new function, 1 warning, 1 acknowledged error; report: ",
            built.Output,
            StringComparison.Ordinal
        );
        using var manifest = JsonDocument.Parse(
            await File.ReadAllBytesAsync(Path.Combine(project.Package, "manifest.json"), TestContext.Current.CancellationToken)
        );
        var acknowledged = Assert.Single(manifest.RootElement.GetProperty("acknowledged").EnumerateArray());
        Assert.Equal(
            ("KSP3001", "suppress_printk", "the hook sets it"),
            (
                acknowledged.GetProperty("id").GetString(),
                acknowledged.GetProperty("object").GetString(),
                acknowledged.GetProperty("reason").GetString()
            )
        );
    }
}
