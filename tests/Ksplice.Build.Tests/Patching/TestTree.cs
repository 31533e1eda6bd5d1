// SPDX-License-Identifier: MIT
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Patching;

namespace Ksplice.Build.Tests.Patching;

/// <summary>A folder that goes away with the test, and the outside tools that serve as oracles.</summary>
internal sealed class TestTree : IDisposable
{
    public TestTree() => Root = Directory.CreateTempSubdirectory("ksplice-test-").FullName;

    public string Root { get; }

    public string this[string path] => Path.Combine(Root, path);

    public void Dispose() => Directory.Delete(Root, recursive: true);

    public string Write(string path, string text)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(this[path])!);
        File.WriteAllText(this[path], text, System.Text.Encoding.Latin1);
        return this[path];
    }

    public string Read(string path) => File.ReadAllText(this[path], System.Text.Encoding.Latin1);

    /// <summary>Runs a program in the tree; its exit code and all that it printed.</summary>
    public (int ExitCode, string Output) Run(string program, params string[] arguments)
    {
        // Or git would take the tree for a part of a repository around it.
        (string, string?) alone = ("GIT_CEILING_DIRECTORIES", Path.GetDirectoryName(Root));
        var (code, output, errors) = Programs.Run(program, arguments, Root, System.Text.Encoding.Latin1, alone);
        return (code, output + errors);
    }

    public string RunOk(string program, params string[] arguments)
    {
        var (code, output) = Run(program, arguments);
        Assert.True(code == 0, $"{program} {string.Join(' ', arguments)} ended with {code}: {output}");
        return output;
    }
}

internal static class Patches
{
    public static SourcePatch Parse(string text)
    {
        var bag = new DiagnosticBag();
        var patch = UnifiedDiff.Parse(text, "test.patch", bag);
        Assert.True(patch is not null, string.Join('\n', bag));
        return patch;
    }

    /// <summary>The only error, which must be there.</summary>
    public static Diagnostic TheError(DiagnosticBag bag) =>
        Assert.Single(bag, diagnostic => diagnostic.Severity == DiagnosticSeverity.Error);
}
