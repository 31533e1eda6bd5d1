// SPDX-License-Identifier: MIT
// Kernels for which no update can be made, told by their configuration before anything is compiled: else each function of them would be
// reported as one that differs.
using System.Text.RegularExpressions;
using Ksplice.Build.Diagnostics;

namespace Ksplice.Build.Kernel;

internal static partial class UnsupportedKernel
{
    private const int HeadLines = 5;

    // What implies another one stands before it: LTO and kCFI are clang's.
    private static readonly (string Option, string Name, string Why)[] Features =
    [
        ("CONFIG_LTO", "link time optimization", "its functions are made at the link, out of many files at once"),
        ("CONFIG_RANDSTRUCT", RandomLayouts, WhyNotRandom),
        ("CONFIG_GCC_PLUGIN_RANDSTRUCT", RandomLayouts, WhyNotRandom),
        ("CONFIG_CFI_CLANG", ControlFlow, WhyNotControlled),
        ("CONFIG_CFI", ControlFlow, WhyNotControlled),
        ("CONFIG_CC_IS_CLANG", "clang as its compiler", "units are compiled again with options that only gcc knows"),
    ];

    private const string RandomLayouts = "randomized layouts of structs",
        WhyNotRandom = "the seed that decides them is in no package",
        ControlFlow = "control flow integrity (kCFI)",
        WhyNotControlled = "an indirect call checks a hash in front of the function, which new code does not have";

    /// <summary>False, and reported, if the kernel with the configuration at <paramref name="path"/> is one of them.</summary>
    public static bool Check(string release, string path, DiagnosticBag diagnostics)
    {
        var config = KernelConfiguration.Read(path);
        if (!config.Has("CONFIG_X86_64"))
        {
            string architecture = File.ReadLines(path)
                .Take(HeadLines)
                .Select(line => HeadPattern().Match(line))
                .FirstOrDefault(match => match.Success)
                is { } head
                ? $"the architecture {head.Groups["name"].Value}"
                : "another architecture";
            Report(architecture, "CONFIG_X86_64 is not set", "only x86-64 is supported");
            return false;
        }
        foreach (var (option, name, why) in Features)
        {
            if (!config.Has(option))
                continue;
            Report(name, option + "=y", why);
            return false;
        }
        return true;

        void Report(string name, string option, string why) =>
            diagnostics.Report(KernelDiagnostics.UnsupportedKernel, new SourceLocation(path), release, name, option, why);
    }

    [GeneratedRegex(@"^# Linux/(?<name>\S+) .*Kernel Configuration")]
    private static partial Regex HeadPattern();
}
