// SPDX-License-Identifier: MIT
using Ksplice.Build.Analysis;
using Ksplice.Build.Diagnostics;
using Microsoft.Build.Framework;

namespace Ksplice.Tasks;

/// <summary>Judges whether the change can be made to a kernel that runs: what differencing refuses and what analyzers find.</summary>
public sealed class AnalyzeUnits : UpdateTask
{
    /// <summary>The SARIF file to write, also after an error.</summary>
    [Required]
    public string SarifFile { get; set; } = "";

    /// <summary>
    /// Where the project wants the SARIF file too, as the C# compiler's ErrorLog: a path, and perhaps <c>,version=2.1</c>.
    /// </summary>
    public string? ErrorLog { get; set; }

    private protected override bool RunStage(CancellationToken cancellation)
    {
        var judgement = Take(Update.Judgement(cancellation));
        WriteLogs();
        ReplayWarnings.Shown(BuildEngine4, SarifFile);
        if (judgement is null)
            return false;
        if (Record is not null)
            StageRecord.Write(Record, "", [KernelFile, .. AnalyzerFiles, .. Objects], [SarifFile]);
        return true;
    }

    private void WriteLogs()
    {
        List<SarifBase> bases =
        [
            // The post tree is in the project's folder mostly.
            new("PATCHED", Path.GetFullPath(PostTree), "the kernel's source with the patches"),
            new("KERNEL", SourceTree, "the kernel's source"),
        ];
        if (ConfigurationFile.Read(Configuration) is { } configuration)
            bases.Add(new("SRCROOT", configuration.Folder, "the project's folder"));
        byte[] sarif = SarifLog.Write([.. Diagnostics.Select(Severities.Apply).OfType<Diagnostic>().Select(Locate)], bases, PageOf);
        foreach (string file in (string[])[SarifFile, .. (ErrorLog ?? "").Split(',')[..1].Where(path => path.Length != 0)])
        {
            Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(file))!);
            File.WriteAllBytes(file, sarif);
        }
    }

    /// <inheritdoc/>
    protected override Diagnostic Locate(Diagnostic diagnostic) => InPatch(diagnostic);
}
