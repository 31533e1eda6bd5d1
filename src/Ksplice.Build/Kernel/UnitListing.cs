// SPDX-License-Identifier: MIT
// What kbuild would run to build a kernel, by two dry runs, and the sources that it generates on the way.
//
//  - `vmlinux modules`: the kernel and its modules, with what is linked into images of their own on the way there (the vDSO).
//  - `bzImage`: the boot image around the kernel. Its dry run needs files that only a whole build makes, so empty ones stand there as long
//    as it takes. In place of the linked kernel stands an object that has the symbols of the shipped image and nothing else, since a header
//    of the boot image is made from their addresses.
//
// Generated sources are made by the commands that the dry runs print.
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Elf;
using Microsoft.Extensions.Logging;

namespace Ksplice.Build.Kernel;

/// <summary>Lists the units of a kernel whose O= tree is prepared, and makes what they read.</summary>
/// <param name="release">The kernel.</param>
/// <param name="source">Its source tree.</param>
/// <param name="output">Its O= tree.</param>
/// <param name="logger">Takes what could not be made.</param>
internal sealed partial class UnitListing(KernelRelease release, string source, string output, ILogger logger)
{
    private const string LinkedKernel = "vmlinux";

    // What the boot image is linked from, as paths of the O= tree.
    private static readonly string[] FromOtherFolders = ["drivers/firmware/efi/libstub/lib.a"];

    /// <summary>The units; null after an error.</summary>
    public async Task<UnitDatabase?> MakeAsync(DiagnosticBag diagnostics, CancellationToken cancellation)
    {
        if (
            KernelImage.Open(release.Image, diagnostics) is not { } image
            || await ListAsync([.. KernelCache.Making(source), LinkedKernel, "modules"], diagnostics, cancellation).ConfigureAwait(false)
                is not { } ofKernel
        )
            return null;
        List<string> stands = [.. FromOtherFolders.Append(LinkedKernel).Select(path => Path.Combine(output, path))];
        if (stands.Find(File.Exists) is { } there)
            throw new IOException($"{there} is there before a build; {KernelCache.Remedy(output)}");
        try
        {
            foreach (string path in stands)
            {
                Directory.CreateDirectory(Path.GetDirectoryName(path)!);
                await File.WriteAllBytesAsync(path, [], cancellation).ConfigureAwait(false);
            }
            await File.WriteAllBytesAsync(stands[^1], SymbolsOf(image), cancellation).ConfigureAwait(false);
            string[] boot = ["-f", Path.Combine(source, "Makefile"), .. FolderListing.Kept, "-o", LinkedKernel, "bzImage"];
            if (await ListAsync(boot, diagnostics, cancellation).ConfigureAwait(false) is not { } ofBoot)
                return null;
            var units = UnitDatabase.Parse(ofKernel.Concat(ofBoot), source);
            return await GenerateAsync(ofKernel.Concat(ofBoot), diagnostics, cancellation).ConfigureAwait(false) ? units : null;
        }
        finally
        {
            foreach (string path in stands)
                File.Delete(path);
        }
    }

    private async Task<List<string>?> ListAsync(string[] arguments, DiagnosticBag diagnostics, CancellationToken cancellation)
    {
        List<string> lines = [];
        // What a make below writes comes in one piece (-Orecurse), else makes side by side would write into each other's lines. A dry run
        // ends with an error, since it cannot read what it did not make.
        var list = release.Tool(
            "make",
            [.. arguments, .. KernelCache.Variables(release), "-n", "-k", "V=1", KernelCache.Jobs, "-Orecurse"]
        ) with
        {
            Folder = output,
            Logger = logger,
            Lines = lines.Add,
            MayFail = true,
        };
        return await list.RunAsync(diagnostics, cancellation).ConfigureAwait(false) is null ? null : lines;
    }

    private static byte[] SymbolsOf(KernelImage image)
    {
        ElfBuilder builder = new();
        foreach (var symbol in image.Symbols.Symbols.DistinctBy(symbol => symbol.Name, StringComparer.Ordinal))
            builder.AddAbsoluteSymbol(symbol.Name, symbol.Address);
        return ElfWriter.Write(builder.Build(LinkedKernel));
    }

    // What needs more than a source and a host program (the vDSO's image) fails; a unit that reads it says so when it is compiled.
    private async Task<bool> GenerateAsync(IEnumerable<string> lines, DiagnosticBag diagnostics, CancellationToken cancellation)
    {
        foreach (var generated in GeneratedSource.Find(lines))
        {
            string target = Path.Combine(output, generated.Target);
            if (File.Exists(target))
                continue;
            Directory.CreateDirectory(Path.GetDirectoryName(target)!);
            var generate = release.Tool("sh", "-c", generated.Command) with { Folder = output, MayFail = true };
            if (await generate.RunAsync(diagnostics, cancellation).ConfigureAwait(false) is not { } ended)
                return false;
            if (ended.Succeeded)
                continue;
            File.Delete(target);
            LogNotGenerated(logger, generated.Target, ended.Cause);
        }
        return true;
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "not generated: {Target}: {Errors}")]
    private static partial void LogNotGenerated(ILogger logger, string target, string errors);
}
