// SPDX-License-Identifier: MIT
// The eight fixes for which the paper needed hand-written code, because they change what data means, made again in spirit for
// today's kernel. Each by itself is stopped by the rule that tells what is wrong with it; with a few lines of new code (the
// -hook patches) all of them are built, applied and undone. What was acknowledged is in the manifest.
using System.Text.Json;
using CliWrap;

namespace Ksplice.Kernel.Tests.Updates;

public sealed class DataFixesTests(Guest guest)
{
    private static readonly (string Fix, string Rule, string Object)[] Fixes =
    [
        ("2005-2709", "KSP5001", "struct devkmsg_user"),
        ("2005-3179", "KSP3005", "__param"),
        ("2006-1056", "KSP3004", "early_cpu_init"),
        ("2006-2071", "KSP3046", "protection_map"),
        ("2006-5753", "KSP3043", "bad_file_ops"),
        ("2007-3851", "KSP3049", "tgid_base_stuff"),
        ("2007-4571", "KSP3043", "kmsg_proc_ops"),
        ("2008-0007", "KSP3001", "sysctl_max_map_count"),
    ];

    [Fact]
    public async Task Fixes_that_change_what_data_means_are_stopped_and_go_through_with_their_hooks()
    {
        using PatchProject project = new(guest.Release);
        Copy(project, "fix");
        var refused = await project.BuildAsync();
        foreach (var (fix, rule, name) in Fixes)
            Assert.True(
                refused
                    .Output.Split('\n')
                    .Any(line =>
                        line.Contains($"error {rule}:", StringComparison.Ordinal) && line.Contains(name, StringComparison.Ordinal)
                    ),
                $"{fix}: {rule} does not name {name}\n{refused.Output}"
            );

        Copy(project, "hook");
        (await project.BuildAsync()).MustSucceed();
        using (
            var manifest = JsonDocument.Parse(
                await File.ReadAllBytesAsync(Path.Combine(project.Package, "manifest.json"), TestContext.Current.CancellationToken)
            )
        )
        {
            // Of two the hook patch takes the change of data back, and nothing is left to acknowledge.
            Assert.Equal(
                Fixes
                    .Where(fix => fix.Fix is not ("2005-2709" or "2007-4571"))
                    .Select(fix => $"{fix.Rule} {fix.Object}")
                    .Order(StringComparer.Ordinal),
                manifest
                    .RootElement.GetProperty("acknowledged")
                    .EnumerateArray()
                    .Select(entry => $"{entry.GetProperty("id").GetString()} {entry.GetProperty("object").GetString()}")
                    .Order(StringComparer.Ordinal)
            );
        }

        string program = project.At("exec_only");
        await Cli.Wrap("gcc")
            .WithArguments(["-static", "-O1", "-o", program, Source("exec_only.c")])
            .ExecuteAsync(TestContext.Current.CancellationToken);
        var result = await guest.RunAsync(
            $"""
            sh /see.sh
            ksplice apply {UpdateGuest.Place(project)} >&2 || exit 1
            sh /see.sh
            ksplice undo {project.Id} >&2 || exit 1
            sh /see.sh
            """,
            UpdateGuest.Command,
            UpdateGuest.Package(project),
            new(program, "/exec_only"),
            new(Source("see.sh"), "/see.sh")
        );
        result.MustEndWith(0);
        string[] before =
        [
            "2005-2709 5",
            "2005-3179 644",
            "2006-1056 0",
            "2006-2071 executed",
            "2007-3851 444",
            "2007-4571 read",
            "2008-0007 65530",
        ];
        string[] applied =
        [
            "2005-2709 3",
            "2005-3179 600",
            "2006-1056 2",
            "2006-2071 killed",
            "2007-3851 400",
            "2007-4571 refused",
            "2008-0007 32765",
        ];
        Assert.Equal([.. before, .. applied, .. before], result.Lines);
    }

    private static string Source(string name) => Repository.At("tests", "Ksplice.Kernel.Tests", "cves", name);

    private static void Copy(PatchProject project, string kind)
    {
        foreach (var (fix, _, _) in Fixes)
            File.Copy(Source($"{fix}-{kind}.patch"), project.At($"{fix}-{kind}.patch"));
    }
}
