// SPDX-License-Identifier: MIT
using Ksplice.Build.Analysis;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Kernel;
using Ksplice.Build.Patching;
using Ksplice.Build.Targets;
using Ksplice.Build.Tests.Kernel;

namespace Ksplice.Build.Tests.Analysis;

public class HookAnalyzerTests
{
    private const string Version = "fs/proc/version.c",
        Uptime = "fs/proc/uptime.c";
    private const string VersionStart = "static int version_proc_show(struct seq_file *m, void *v)\n{\n",
        UptimeStart = "static int uptime_proc_show(";
    private static readonly string[] Kinds =
    [
        "pre_apply",
        "check_apply",
        "apply",
        "post_apply",
        "fail_apply",
        "pre_reverse",
        "check_reverse",
        "reverse",
        "post_reverse",
        "fail_reverse",
    ];

    // What a hook calls itself, through its own functions, through another unit's, by its address; and what only new code calls.
    [Fact]
    public async Task A_hook_that_waits_for_modules_is_refused_however_it_gets_there()
    {
        const string hooks = """
            #include <linux/kmod.h>
            #include <linux/module.h>
            #include <ksplice/hooks.h>
            extern void elsewhere(void);
            static noinline int deep(int i) { return request_module("loop%d", i); }
            static noinline int through(int i) { return deep(i) + deep(i + 1); }
            static int asks(void) { return request_module_nowait("loop") + 1; }
            ksplice_pre_apply(asks);
            static int goes_on(void) { return through(panic_timeout) ? -EPERM : 0; }
            ksplice_pre_reverse(goes_on);
            static struct notifier_block watcher;
            static void listens(void) { register_module_notifier(&watcher); pr_info("listens\n"); }
            ksplice_post_apply(listens);
            static void leaves(void) { unregister_module_notifier(&watcher); }
            ksplice_fail_apply(leaves);
            static char *argv[] = { "/bin/true", NULL };
            static void runs(void) { call_usermodehelper(argv[0], argv, NULL, UMH_WAIT_PROC); }
            ksplice_post_reverse(runs);
            static void far(void) { elsewhere(); pr_info("far\n"); }
            ksplice_apply(far);
            static void by_address(void) { int (*volatile how)(struct notifier_block *nb) = register_module_notifier; how(&watcher); }
            ksplice_reverse(by_address);
            static void says(void) { pr_info("says\n"); }
            ksplice_fail_reverse(says);

            """;
        var update = await PatchedKernel.ChangeAsync(
            [Version, Uptime],
            (Version, VersionStart, hooks + VersionStart + "\trequest_module(\"loop\");\n"),
            (
                Uptime,
                UptimeStart,
                "#include <linux/kmod.h>\nvoid elsewhere(void);\n"
                    + "void elsewhere(void) { request_module(\"loop\"); pr_info(\"elsewhere\\n\"); }\n"
                    + UptimeStart
            )
        );
        var found = update.Analyze().Where(diagnostic => diagnostic.Id == "KSP5019").ToList();
        Assert.Equal(
            [
                "'asks', a hook of kind pre_apply, calls __request_module, which waits for modprobe",
                "'by_address', a hook of kind reverse, calls register_module_notifier, which waits for the chain of module notifiers",
                "'far', a hook of kind apply, calls elsewhere, __request_module, which waits for modprobe",
                "'goes_on', a hook of kind pre_reverse, calls through, deep, __request_module, which waits for modprobe",
                "'leaves', a hook of kind fail_apply, calls unregister_module_notifier, which waits for the chain of module notifiers",
                "'listens', a hook of kind post_apply, calls register_module_notifier, which waits for the chain of module notifiers",
                "'runs', a hook of kind post_reverse, calls call_usermodehelper, which runs a program, which may load or unload a module",
            ],
            found.Select(diagnostic => diagnostic.Message.Split(": ")[0]).Order(StringComparer.Ordinal)
        );
        Assert.All(found, diagnostic =>
            Assert.True(
                diagnostic is { Severity: DiagnosticSeverity.Error, Descriptor.CanBeAcknowledged: false, Location: { Line: > 0 } place }
                    && LineDirectives.PathOf(place.Path) == Version
            )
        );
    }

    // The list is about this kernel's functions, and what it says of them is true.
    [Fact]
    public async Task Each_forbidden_name_is_the_kernels_and_does_what_is_said_of_it()
    {
        var kernel = await KernelUnderTest.PreparedAsync();
        RunningKernel running = new(
            KernelUnderTest.Image,
            KernelExports.Read(kernel.Release.ModuleSymvers, [])!.ModuleOf,
            KernelConfiguration.Read(kernel.Release.Config)
        );
        Assert.All(HookAnalyzer.Forbidden.Keys, name => Assert.NotEmpty(running.Image.Symbols.Find(name)));
        foreach (var (name, why) in HookAnalyzer.Forbidden)
        {
            string? end =
                why.StartsWith("loads a module", StringComparison.Ordinal) ? "__request_module"
                : name.EndsWith("register_module_notifier", StringComparison.Ordinal) ? "blocking_notifier_chain_" + name.Split('_')[0]
                : null;
            if (end is not null)
                Assert.Contains(running.Calls.Closure([name], _ => true, 8).Values, function => function.Name == end);
        }
    }

    // K28, by the configuration that Debian builds its real-time kernel with.
    [Fact]
    public async Task No_hook_runs_in_the_stop_of_a_kernel_with_PREEMPT_RT()
    {
        string hooks =
            "#include <ksplice/hooks.h>\n"
            + string.Concat(
                Kinds.Select(kind =>
                {
                    string type =
                        kind.StartsWith("pre_", StringComparison.Ordinal) || kind.StartsWith("check_", StringComparison.Ordinal)
                            ? "int"
                            : "void";
                    string end = kind[0] == 'p' && kind[1] == 'r' || kind[0] == 'c' ? "return 0; " : "";
                    return $"static {type} do_{kind}(void) {{ pr_info(\"{kind}\\n\"); {end}}}\nksplice_{kind}(do_{kind});\n";
                })
            );
        var update = await PatchedKernel.ChangeAsync([Version], (Version, VersionStart, hooks + VersionStart + "\tpr_info(\"new\\n\");\n"));
        Assert.DoesNotContain(update.Analyze(), diagnostic => diagnostic.Id is "KSP5018" or "KSP5019");
        string headers = "usr/src/linux-headers-" + KernelUnderTest.Release.Replace("-cloud-", "-rt-", StringComparison.Ordinal),
            unpacked = Path.Combine(KernelUnderTest.CacheRoot, "images", Path.GetFileName(headers)["linux-headers-".Length..]);
        var configuration = KernelConfiguration.Read(
            ((string[])["/", unpacked]).Select(root => Path.Combine(root, headers, ".config")).First(File.Exists)
        );
        var found = new AnalyzedUpdate(
            [],
            update.Units,
            new RunningKernel(KernelUnderTest.Image, update.Kernel!.ModuleExports, configuration)
        )
            .Analyze()
            .Where(diagnostic => diagnostic.Id == "KSP5018")
            .ToList();
        Assert.Equal(
            ["do_apply", "do_check_apply", "do_check_reverse", "do_reverse"],
            found.Select(diagnostic => diagnostic.Message.Split('\'')[1]).Order(StringComparer.Ordinal)
        );
        Assert.All(found, diagnostic =>
            Assert.True(
                diagnostic is { Severity: DiagnosticSeverity.Error, Descriptor.CanBeAcknowledged: false, Location: { Line: > 0 } place }
                    && LineDirectives.PathOf(place.Path) == Version
            )
        );
        // New code without hooks goes on such a kernel too.
        var plain = await PatchedKernel.ChangeAsync([Version], (Version, VersionStart, VersionStart + "\tpr_info(\"new\\n\");\n"));
        Assert.DoesNotContain(
            new AnalyzedUpdate(
                [],
                plain.Units,
                new RunningKernel(KernelUnderTest.Image, update.Kernel.ModuleExports, configuration)
            ).Analyze(),
            diagnostic => diagnostic.Id == "KSP5018"
        );
    }
}
