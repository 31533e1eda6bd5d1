// SPDX-License-Identifier: MIT
// Fixes that are not ours: what changed between the two oldest source packages that the distribution offers, one file at a
// time, as updates of the older one's kernel. The files are chosen by a rule, and what becomes of each is asserted: an
// update is applied and undone in a guest; a file that does not make an update alone says why.
using CliWrap;
using CliWrap.Buffered;
using Ksplice.Build.Kernel;

namespace Ksplice.Kernel.Tests.Updates;

public sealed class RealFixesTests(Guest guest, ITestOutputHelper output)
{
    private const int Wanted = 5;

    [Fact]
    [Trait("Run", "long")]
    public async Task The_first_five_changed_files_are_updates_or_say_why_not()
    {
        var cancellation = TestContext.Current.CancellationToken;
        var fetched = await Cli.Wrap(Repository.At("tests", "Ksplice.Kernel.Tests", "fetch-fixes"))
            .WithValidation(CommandResultValidation.None)
            .ExecuteBufferedAsync(cancellation);
        Assert.True(fetched.ExitCode == 0, fetched.StandardError);
        string[] words = fetched.StandardOutput.TrimEnd().Split('\n')[^1].Split(' ');
        var (release, older, newer) = (words[0], words[1], words[2]);
        var kernel = await KernelTree.PrepareAsync(release, older);
        var scratch = Directory.CreateTempSubdirectory("ksplice-newer-");
        try
        {
            await Cli.Wrap("tar")
                .WithArguments(["-xf", newer, "-C", scratch.FullName, "--strip-components=1", "--wildcards", "*.c"])
                .ExecuteAsync(cancellation);
            var patches = await PatchesAsync(kernel, scratch.FullName);
            Assert.Equal(Wanted, patches.Count);
            int updated = 0,
                inFuture = 0;
            foreach (var (source, patch) in patches)
            {
                using PatchProject project = new(release, ("KernelSource", older));
                project.Write("fix.patch", patch);
                var build = await project.BuildAsync();
                if (build.ExitCode != 0)
                {
                    // Refused by name, or a file that needs others of its release to compile.
                    string why = build.Output.Split('\n').First(line => line.Contains(" error KSP", StringComparison.Ordinal));
                    Assert.Matches(": error KSP(2009|[3-6][0-9]{3}):", why);
                    Assert.Empty(Directory.GetDirectories(project.At("."), "ksplice-????????", SearchOption.AllDirectories));
                    output.WriteLine($"{source}: not an update: {why.Replace(project.Folder, "", StringComparison.Ordinal)}");
                    continue;
                }
                await ApplyAndUndoAsync(project, release);
                string equal = await VerifyFutureAsync(project);
                output.WriteLine($"{source}: {string.Join(' ', UpdateGuest.Replaced(project))} replaced, applied and undone; {equal}");
                updated++;
                if (!equal.StartsWith("0 of", StringComparison.Ordinal))
                    inFuture++;
            }
            // Which files these are changes with the archive; that none of five could be updated would be news.
            Assert.NotEqual(0, updated);
            // The kernel of the tests is later than both and has all five: where nothing else changed, it has the same code.
            Assert.NotEqual(0, inFuture);
        }
        finally
        {
            scratch.Delete(recursive: true);
        }
    }

    // The first .c files, in path order, that are built into the kernel and differ by one hunk.
    private static async Task<List<(string Source, string Patch)>> PatchesAsync(PreparedKernel kernel, string newer)
    {
        List<(string, string)> patches = [];
        foreach (
            var unit in kernel
                .Units.Units.Where(unit => unit.Module is null && !unit.IsAssembly)
                .OrderBy(unit => unit.Source, StringComparer.Ordinal)
        )
        {
            string before = Path.Combine(kernel.SourceDirectory, unit.Source),
                after = Path.Combine(newer, unit.Source);
            if (!File.Exists(after) || File.ReadAllBytes(before).AsSpan().SequenceEqual(File.ReadAllBytes(after)))
                continue;
            string patch = await KernelTree.DiffAsync(unit.Source, before, after);
            if (patch.Split('\n').Count(line => line.StartsWith("@@", StringComparison.Ordinal)) != 1)
                continue;
            patches.Add((unit.Source, patch));
            if (patches.Count == Wanted)
                break;
        }
        return patches;
    }

    // "N of M functions", as the build says.
    private async Task<string> VerifyFutureAsync(PatchProject project)
    {
        var build = (await project.BuildAsync("-t:KspliceVerifyFuture", "-p:KernelFutureRelease=" + guest.Release)).MustSucceed();
        string line = build.Output.Split('\n').Single(line => line.Contains(" functions are in ", StringComparison.Ordinal));
        return line[..line.IndexOf(" are in ", StringComparison.Ordinal)].Trim();
    }

    private async Task ApplyAndUndoAsync(PatchProject project, string release)
    {
        var result = await guest.RunAsync(
            $"""
            ksplice apply {UpdateGuest.Place(project)} || exit 1
            ksplice view {project.Id}
            ksplice undo {project.Id}
            """,
            ["--release", release],
            UpdateGuest.Command,
            UpdateGuest.Package(project)
        );
        result.MustEndWith(0);
        Assert.Contains("stage:     applied", result.Lines);
        Assert.Contains(result.Lines, line => line.StartsWith($"update {project.Id} undone", StringComparison.Ordinal));
    }
}
