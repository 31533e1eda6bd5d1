// SPDX-License-Identifier: MIT
// Is a function ever replaced only because a line number moved? Patch and kernel are compiled once more in a form in which no
// number moves, without any #line: both versions of the file are padded with empty lines, so that each unchanged line has one
// number in both. What differs between these two differs by what the patch says. The functions that the real update finds
// changed must be among them. The patched file as it is, without #line, tells what would be replaced for line numbers alone.
using System.Text;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Kernel;
using Ksplice.Build.Patching;
using Ksplice.Corpus.Witness;
using Microsoft.Extensions.Logging.Abstractions;

namespace Ksplice.Corpus;

/// <summary>What the proof says of one patch; all names are the witness's.</summary>
/// <param name="Patch">The source file that the patch changes.</param>
/// <param name="Changed">Functions that differ in the objects of the update.</param>
/// <param name="OnlyLines">Those of them that do not differ where no number moves: must be none.</param>
/// <param name="Without">Functions that differ without #line only.</param>
internal sealed record LineRow(string Patch, int Changed, IReadOnlyList<string> OnlyLines, IReadOnlyList<string> Without);

/// <summary>The proof, for patches whose objects a run left in the working folder.</summary>
internal sealed class LineProof(PreparedKernel kernel, PatchBuild build, string newer)
{
    /// <summary>The row of <paramref name="source"/>, or null if it does not compile alone.</summary>
    public async Task<LineRow?> RunAsync(string source, CancellationToken cancellation)
    {
        string folder = build.Folder(source),
            pre = Path.Combine(folder, "pre.o"),
            post = Path.Combine(folder, "post.o");
        DiagnosticBag diagnostics = [];
        if (!File.Exists(post) || await build.PatchAsync(source, diagnostics, cancellation).ConfigureAwait(false) is not { } patch)
            return null;
        var (before, after) = Align(patch, Lines(Path.Combine(kernel.SourceDirectory, source)), Lines(Path.Combine(newer, source)));
        var real = await ObjectWitness.ReadAsync(pre, post, cancellation).ConfigureAwait(false);
        var aligned = await ObjectWitness
            .ReadAsync(
                await CompileAsync(source, patch, "aligned-pre", before, diagnostics, cancellation).ConfigureAwait(false),
                await CompileAsync(source, patch, "aligned-post", after, diagnostics, cancellation).ConfigureAwait(false),
                cancellation
            )
            .ConfigureAwait(false);
        var plain = await ObjectWitness
            .ReadAsync(
                pre,
                await CompileAsync(source, patch, "plain", Lines(Path.Combine(newer, source)), diagnostics, cancellation)
                    .ConfigureAwait(false),
                cancellation
            )
            .ConfigureAwait(false);
        return new LineRow(source, real.Changed.Count, [.. real.Changed.Except(aligned.Changed)], [.. plain.Changed.Except(real.Changed)]);
    }

    private static string[] Lines(string path) => File.ReadAllText(path, Encoding.Latin1).Split('\n');

    // Behind each run of changed lines the side that has fewer gets empty ones; within a macro they end in a backslash.
    private static (string[] Before, string[] After) Align(SourcePatch patch, string[] before, string[] after)
    {
        List<string> first = [],
            second = [];
        int a = 0,
            b = 0;
        foreach (var hunk in patch.Files.SelectMany(file => file.Hunks))
        {
            // A hunk of no old lines names the line that it comes after.
            for (int start = hunk.OldCount == 0 ? hunk.OldStart : hunk.OldStart - 1; a < start; )
                Same();
            foreach (var line in hunk.Lines)
            {
                if (line.Kind == HunkLineKind.Removed)
                    first.Add(before[a++]);
                else if (line.Kind == HunkLineKind.Added)
                    second.Add(after[b++]);
                else
                    Same();
            }
        }
        while (a < before.Length)
            Same();
        if (b != after.Length)
            throw new InvalidDataException($"{patch.Path} does not lead from one file to the other");
        return ([.. first], [.. second]);

        void Same()
        {
            Pad(first, second.Count);
            Pad(second, first.Count);
            if (before[a] != after[b])
                throw new InvalidDataException($"{patch.Path}: line {a + 1} is not line {b + 1}");
            first.Add(before[a++]);
            second.Add(after[b++]);
        }

        static void Pad(List<string> lines, int count)
        {
            while (lines.Count < count)
                lines.Add(lines.Count != 0 && lines[^1].EndsWith('\\') ? "\\" : "");
        }
    }

    private async Task<string> CompileAsync(
        string source,
        SourcePatch patch,
        string name,
        string[] lines,
        DiagnosticBag diagnostics,
        CancellationToken cancellation
    )
    {
        string folder = build.Folder(source),
            output = Path.Combine(folder, name + ".o");
        if (
            PostTree.Write(kernel.SourceDirectory, Path.Combine(folder, name), [patch], diagnostics, cancellationToken: cancellation)
            is not { } tree
        )
            throw new InvalidDataException(string.Join('\n', diagnostics));
        await File.WriteAllTextAsync(Path.Combine(tree.Root, source), string.Join('\n', lines), Encoding.Latin1, cancellation)
            .ConfigureAwait(false);
        return
            await new UnitCompiler(kernel, NullLogger.Instance)
                .CompileAsync(kernel.Units.Find(source)!, tree.Root, output, [], diagnostics, cancellation)
                .ConfigureAwait(false)
                is null
            ? throw new InvalidDataException(string.Join('\n', diagnostics))
            : output;
    }

    /// <summary>The table: patch, changed, only_lines, without_line_directives.</summary>
    public static string ToCsv(IEnumerable<LineRow> rows) =>
        "patch,changed,only_lines,without_line_directives\n"
        + string.Concat(
            rows.OrderBy(row => row.Patch, StringComparer.Ordinal)
                .Select(row => $"{row.Patch},{row.Changed},{string.Join(' ', row.OnlyLines)},{string.Join(' ', row.Without)}\n")
        );
}
