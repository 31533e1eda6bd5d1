using System.Diagnostics;
using CliWrap;
using CliWrap.Buffered;
using Ksplice.Build.Analysis;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Ksplice.Build.Elf;
using Ksplice.Build.Generation;
using Ksplice.Build.Kernel;
using Ksplice.Build.Matching;
using Ksplice.Build.Patching;
using Microsoft.Extensions.Logging.Abstractions;

namespace Ksplice.Corpus;

/// <summary>The stages of an update's build, up to offline run-pre matching, for patches of one source file.</summary>
/// <param name="kernel">The kernel to update.</param>
/// <param name="image">Its shipped image.</param>
/// <param name="newer">The tree with the patched files.</param>
/// <param name="work">A folder for objects and patches.</param>
internal sealed class PatchBuild(PreparedKernel kernel, KernelImage image, string newer, string work)
{
    private readonly ExportedSymbols _exported = ExportedSymbols.Read(kernel.Release.ModuleSymvers, []) ?? throw new InvalidDataException("no Module.symvers");

    /// <summary>Builds the update that changes <paramref name="source"/> alone.</summary>
    public async Task<CorpusRow> RunAsync(string source, CancellationToken cancellation)
    {
        var clock = Stopwatch.StartNew();
        DiagnosticBag diagnostics = [];
        var (result, functions) = await BuildAsync(source, diagnostics, cancellation).ConfigureAwait(false);
        var error = diagnostics.FirstOrDefault(diagnostic => diagnostic.Severity == DiagnosticSeverity.Error);
        if (error is not null)
            result = error.Id == KernelDiagnostics.CompilerError.Id ? "not_alone" : "refused";
        string all = string.Join('\n', diagnostics.Where(diagnostic => diagnostic.Severity == DiagnosticSeverity.Error));
        return new CorpusRow(source, result, error?.Id ?? "", all, "", string.Join(' ', functions), clock.Elapsed.TotalSeconds);
    }

    private async Task<(string Result, IEnumerable<string> Functions)> BuildAsync(string source, DiagnosticBag diagnostics, CancellationToken cancellation)
    {
        string folder = Path.Combine(work, source);
        Directory.CreateDirectory(folder);
        string patchFile = Path.Combine(folder, "fix.patch");
        var diff = await Cli.Wrap("diff").WithArguments(["-u", "--label", "a/" + source, "--label", "b/" + source, Path.Combine(kernel.SourceDirectory, source), Path.Combine(newer, source)])
            .WithValidation(CommandResultValidation.None).ExecuteBufferedAsync(cancellation).ConfigureAwait(false);
        await File.WriteAllTextAsync(patchFile, diff.StandardOutput, cancellation).ConfigureAwait(false);
        if (SourcePatch.Read(patchFile, diagnostics) is not { } patch
            || PostTree.Write(kernel.SourceDirectory, Path.Combine(folder, "post"), [patch], diagnostics, cancellation) is not { } tree)
            return ("", []);
        UnitCompiler compiler = new(kernel, NullLogger.Instance);
        var unit = kernel.Units.Find(source)!;
        string pre = Path.Combine(folder, "pre.o"), post = Path.Combine(folder, "post.o");
        foreach (var (root, output) in ((string, string)[])[(kernel.SourceDirectory, pre), (tree.Root, post)])
        {
            if (await compiler.CompileAsync(unit, root, output, [], diagnostics, cancellation).ConfigureAwait(false) is null)
                return ("", []);
        }
        return Compare(source, Read(pre), Read(post), diagnostics);
    }

    private (string, IEnumerable<string>) Compare(string source, ElfObject pre, ElfObject post, DiagnosticBag diagnostics)
    {
        var diff = ObjectDiffer.Compare(source, pre, post, diagnostics);
        if (diff is { IsEmpty: true })
            return ("unchanged", []);
        TypeComparison.Compare(pre, post, source, diagnostics);
        if (diff is null || diagnostics.HasErrors)
            return ("", []);
        if (MatchDataBuilder.Build([diff], PrimaryObject.SymbolsToResolve([diff], _exported), diagnostics) is { } data)
        {
            ImageMatch.Check(data, image, diagnostics);
            StaticKeyCheck.Check([diff], image, diagnostics);
        }
        return ("updated", diff.Replaced.Select(function => function.Name).Concat(diff.NewFunctions.Select(function => "+" + function.Name)));
    }

    private static ElfObject Read(string path) => ElfObject.Read(File.ReadAllBytes(path), path);
}
