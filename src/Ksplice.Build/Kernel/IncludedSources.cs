// SPDX-License-Identifier: MIT
using System.Collections.Frozen;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.RegularExpressions;
using Ksplice.Build.Files;

namespace Ksplice.Build.Kernel;

/// <summary>
/// Which sources (.c, .S) of a kernel's tree other files can include. To read every #include takes seconds, while
/// <see cref="IncludeIndex"/>, which knows who reads what, takes minutes. So this says for which sources that index has to be asked. Kept
/// beside the prepared tree.
/// </summary>
public sealed partial class IncludedSources
{
    // Sources that stand where an #include leads from its own folder.
    private readonly FrozenSet<string> _paths;

    // What other #includes and macros name: found in some folder that the compiler is told, so every path that ends in it may be meant.
    private readonly FrozenSet<string> _endings;

    private IncludedSources(StoredNames names)
    {
        _paths = names.Paths.ToFrozenSet(StringComparer.Ordinal);
        _endings = names.Endings.ToFrozenSet(StringComparer.Ordinal);
    }

    /// <summary>False if no file of the tree can include <paramref name="path"/>, which is relative to it.</summary>
    public bool MayInclude(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        if (_paths.Contains(path))
            return true;
        for (string rest = path; ; rest = rest[(rest.IndexOf('/', StringComparison.Ordinal) + 1)..])
        {
            if (_endings.Contains(rest))
                return true;
            if (!rest.Contains('/', StringComparison.Ordinal))
                return false;
        }
    }

    /// <summary>The included sources of <paramref name="kernel"/>, looked for if that was not done yet.</summary>
    public static async Task<IncludedSources> OpenAsync(PreparedKernel kernel, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(kernel);
        string path = Path.Combine(Path.GetDirectoryName(kernel.OutputDirectory)!, "included-sources.json");
        if (Load(path) is { } known)
            return new IncludedSources(known);
        var names = await Task.Run(() => Find(kernel.SourceDirectory, kernel.OutputDirectory, cancellation), cancellation)
            .ConfigureAwait(false);
        AtomicFile.Write(path, JsonSerializer.SerializeToUtf8Bytes(names, NamesContext.Default.StoredNames));
        return new IncludedSources(names);
    }

    private static StoredNames Find(string source, string output, CancellationToken cancellation)
    {
        EnumerationOptions options = new() { RecurseSubdirectories = true, AttributesToSkip = FileAttributes.ReparsePoint };
        var found = new[] { source, output }
            .SelectMany(root => Directory.EnumerateFiles(root, "*.*", options))
            .Where(file => file[^2..] is ".c" or ".h" or ".S")
            .AsParallel()
            .WithCancellation(cancellation)
            .SelectMany(file => NamesIn(file, source + "/"))
            .Distinct()
            .ToList();
        return new StoredNames(
            [.. found.Where(name => name.IsPath).Select(name => name.Text).Order(StringComparer.Ordinal)],
            [.. found.Where(name => !name.IsPath).Select(name => name.Text).Order(StringComparer.Ordinal)]
        );
    }

    private static IEnumerable<(string Text, bool IsPath)> NamesIn(string file, string root)
    {
        byte[] text = File.ReadAllBytes(file);
        if (text.AsSpan().IndexOf(".c"u8) < 0 && text.AsSpan().IndexOf(".S"u8) < 0)
            yield break;
        foreach (Match match in DirectivePattern().Matches(Encoding.Latin1.GetString(text)))
        {
            string name = match.Groups["path"].Value;
            string place = Path.GetFullPath(name, Path.GetDirectoryName(file)!);
            if (match.Groups["directive"].Value == "include" && place.StartsWith(root, StringComparison.Ordinal) && File.Exists(place))
                yield return (place[root.Length..], true);
            else
                yield return (Path.GetFullPath(name, "/")[1..], false);
        }
    }

    private static StoredNames? Load(string path)
    {
        try
        {
            // A damaged list is made anew.
            return File.Exists(path) ? JsonFile.Parse(File.ReadAllBytes(path), NamesContext.Default.StoredNames) : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }

    [GeneratedRegex(@"^[ \t]*#[ \t]*(?<directive>include|define)\b[^\n]*?(?<path>[\w.+/-]+\.[cS])["">]", RegexOptions.Multiline)]
    private static partial Regex DirectivePattern();

    private sealed record StoredNames(string[] Paths, string[] Endings);

    [JsonSourceGenerationOptions(RespectNullableAnnotations = true, RespectRequiredConstructorParameters = true)]
    [JsonSerializable(typeof(StoredNames))]
    private sealed partial class NamesContext : JsonSerializerContext;
}
