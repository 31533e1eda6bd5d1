// SPDX-License-Identifier: MIT
// Types as pahole and pfunct print them: layouts and prototypes from DWARF, where the engine reads BTF; enums from pahole's
// own reader of BTF.
using System.Text.RegularExpressions;
using CliWrap;

namespace Ksplice.Corpus.Witness;

/// <summary>The types of both objects, by name.</summary>
internal sealed partial class TypeWitness
{
    private readonly Dictionary<string, SortedSet<string>> _pre,
        _post;

    private TypeWitness(Dictionary<string, SortedSet<string>> pre, Dictionary<string, SortedSet<string>> post) =>
        (_pre, _post) = (pre, post);

    public static async Task<TypeWitness> ReadAsync(string pre, string post, CancellationToken cancellation) =>
        new(await TypesAsync(pre, cancellation).ConfigureAwait(false), await TypesAsync(post, cancellation).ConfigureAwait(false));

    /// <summary>Names of types and global functions that both objects have, not alike.</summary>
    public IEnumerable<string> Changed =>
        _pre.Where(type => _post.TryGetValue(type.Key, out var now) && !type.Value.Overlaps(now))
            .Select(type => type.Key)
            .Order(StringComparer.Ordinal);

    /// <summary>The witness of a type error, or null.</summary>
    public string? Confirm(string id, string message)
    {
        var changed = Changed.ToHashSet();
        string? name = TypeName().Matches(message).Select(match => match.Value).FirstOrDefault(changed.Contains)
            ?? (
                id == "KSP5004"
                    ? Prototype().Match(message).Groups[1].Value is { Length: > 0 } function && changed.Contains(function)
                        ? function
                        : null
                    : null
            );
        return name is null ? null : $"{(id == "KSP5004" ? "pfunct" : "pahole")}:{name.Replace(' ', '_')}";
    }

    private static async Task<Dictionary<string, SortedSet<string>>> TypesAsync(string path, CancellationToken cancellation)
    {
        Dictionary<string, SortedSet<string>> types = [];
        foreach (
            Match match in Block()
                .Matches(await BinutilsObject.RunAsync("pahole", ["-F", "dwarf", path], cancellation).ConfigureAwait(false))
        )
            Add(match.Groups[1].Value, match.Value);
        // pahole 1.24 gives up in the middle of some units (arch/x86/kvm/svm/sev.c): an enum that it did not come to has no witness.
        foreach (
            Match match in EnumBlock()
                .Matches(
                    await BinutilsObject
                        .RunAsync("pahole", ["-F", "btf", "--compile", path], cancellation, CommandResultValidation.None)
                        .ConfigureAwait(false)
                )
        )
            Add(match.Groups[1].Value, match.Value);
        foreach (
            string line in (
                await BinutilsObject
                    .RunAsync("pfunct", ["-F", "dwarf", "-P", "-E", "--no_parm_names", path], cancellation)
                    .ConfigureAwait(false)
            ).Split('\n')
        )
        {
            if (FunctionName().Match(line) is { Success: true } match)
                Add(match.Groups[1].Value, line);
        }
        return types;

        void Add(string name, string text)
        {
            if (!types.TryGetValue(name, out var texts))
                types[name] = texts = new SortedSet<string>(StringComparer.Ordinal);
            texts.Add(text);
        }
    }

    [GeneratedRegex(@"^((?:struct|union) \w+) \{\n.*?^\}", RegexOptions.Multiline | RegexOptions.Singleline)]
    private static partial Regex Block();

    [GeneratedRegex(@"^(enum \w+) \{\n.*?^\}", RegexOptions.Multiline | RegexOptions.Singleline)]
    private static partial Regex EnumBlock();

    [GeneratedRegex(@"^[^(]*\b(\w+)\(.*\);$")]
    private static partial Regex FunctionName();

    [GeneratedRegex(@"(?:struct|union|enum) \w+")]
    private static partial Regex TypeName();

    [GeneratedRegex(@"prototype of (\w+)")]
    private static partial Regex Prototype();
}
