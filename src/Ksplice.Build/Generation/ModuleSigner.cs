// SPDX-License-Identifier: MIT
// Signs modules for kernels that load no others (CONFIG_MODULE_SIG_FORCE, module.sig_enforce, lockdown): with the kernel's own
// scripts/sign-file, which appends a PKCS#7 message and the marker that kernel/module/signing.c looks for.
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Kernel;
using Ksplice.Build.Processes;

namespace Ksplice.Build.Generation;

/// <summary>Appends signatures to modules.</summary>
public static class ModuleSigner
{
    // What CONFIG_MODULE_SIG_HASH is in most configurations; each kernel with MODULE_SIG verifies it, as it selects SHA-2.
    private const string Hash = "sha256";

    /// <summary>
    /// Signs a module where it lies; false after an error. <paramref name="outputDirectory"/> is the prepared kernel's
    /// O= tree, in which sign-file was built, <paramref name="toolchain"/> the root folder that it was built in.
    /// </summary>
    public static async Task<bool> SignAsync(
        string module,
        SigningIdentity identity,
        string outputDirectory,
        DiagnosticBag diagnostics,
        CancellationToken cancellation = default,
        string toolchain = ""
    )
    {
        ArgumentNullException.ThrowIfNull(identity);
        ArgumentNullException.ThrowIfNull(diagnostics);
        string tool = Path.Combine(outputDirectory, "scripts", "sign-file");
        if (!File.Exists(tool))
        {
            diagnostics.Report(
                GenerationDiagnostics.SigningNotPossible,
                new SourceLocation(module),
                $"the kernel's configuration signs no modules (CONFIG_MODULE_SIG): {tool} was not made"
            );
            return false;
        }
        foreach (string file in (string[])[identity.KeyFile, identity.CertificateFile])
            if (!ToolRoot.CheckShown("a file to sign with", file, toolchain, diagnostics))
                return false;
        Tool sign = new(tool, Hash, identity.KeyFile, identity.CertificateFile, module)
        {
            Root = toolchain,
            Remedy = KernelCache.Remedy(outputDirectory),
        };
        if (await sign.RunAsync(diagnostics, cancellation).ConfigureAwait(false) is not { } result)
            return false;
        if (result.Succeeded)
            return true;
        diagnostics.Report(GenerationDiagnostics.SigningNotPossible, new SourceLocation(module), $"{tool}: {result.Said}");
        return false;
    }
}
