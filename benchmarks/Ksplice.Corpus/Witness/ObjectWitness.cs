// SPDX-License-Identifier: MIT
// The second opinion on a row of the table: the contents of both objects as binutils and pahole print them, compared as
// texts. A refusal is confirmed if what each of its errors names does differ there; an acceptance, if nothing else differs
// than the functions that the update replaces and what travels with them.
using System.Text.RegularExpressions;

namespace Ksplice.Corpus.Witness;

/// <summary>What a witness says.</summary>
/// <param name="ConfirmedBy">The witnesses, blank-separated; empty if the verdict is wrong.</param>
/// <param name="Objections">What speaks against the verdict.</param>
internal sealed record Testimony(string ConfirmedBy, IReadOnlyList<string> Objections);

/// <summary>The differences of two objects.</summary>
internal sealed partial class ObjectWitness
{
    private readonly ObjectContents _pre,
        _post;

    private ObjectWitness(ObjectContents pre, ObjectContents post)
    {
        (_pre, _post) = (pre, post);
        Changed =
        [
            .. pre
                .Functions.Where(function => post.Functions.TryGetValue(function.Key, out var now) && !now.SetEquals(function.Value))
                .Select(function => function.Key),
        ];
        New = [.. post.Functions.Keys.Except(pre.Functions.Keys)];
        Gone = [.. pre.Functions.Keys.Except(post.Functions.Keys)];
    }

    /// <summary>Functions that both objects have and whose code, parts or table entries differ.</summary>
    public SortedSet<string> Changed { get; }

    /// <summary>Functions that only the post object has.</summary>
    public SortedSet<string> New { get; }

    /// <summary>Functions that only the pre object has.</summary>
    public SortedSet<string> Gone { get; }

    public static async Task<ObjectWitness> ReadAsync(string pre, string post, CancellationToken cancellation) =>
        new(
            new ObjectContents(await BinutilsObject.ReadAsync(pre, cancellation).ConfigureAwait(false)),
            new ObjectContents(await BinutilsObject.ReadAsync(post, cancellation).ConfigureAwait(false))
        );

    /// <summary>What of a function the objects do not have in common, a line each.</summary>
    public IEnumerable<string> Lines(string function) =>
        _pre.Functions[function]
            .Except(_post.Functions[function])
            .Select(text => "- " + text)
            .Concat(_post.Functions[function].Except(_pre.Functions[function]).Select(text => "+ " + text));

    /// <summary>Whether an update that replaces and brings these functions covers all that differs.</summary>
    /// <param name="replaced">The replaced functions, with the reason that the engine gives for each.</param>
    /// <param name="brought">The new functions.</param>
    public List<string> Object(IReadOnlyDictionary<string, string> replaced, IEnumerable<string> brought)
    {
        var names = replaced.Keys.Select(ObjectContents.Whole).ToHashSet();
        var fresh = brought.Select(ObjectContents.Whole).ToHashSet();
        List<string> objections = [];
        objections.AddRange(Changed.Except(names).Except(fresh).Select(name => $"{name} differs and is not replaced"));
        // The exit code of a built-in unit is no part of the kernel.
        objections.AddRange(
            New.Except(fresh)
                .Except(names)
                .Where(name => _post.SectionOf[name] != ".exit.text")
                .Select(name => $"{name} is new and not carried")
        );
        foreach (
            var (name, reason) in replaced.Where(function =>
                !Changed.Contains(ObjectContents.Whole(function.Key)) && !reasonIsElsewhere(function.Value)
            )
        )
            objections.Add($"{name} is replaced ({reason}) and does not differ");
        foreach (string name in _pre.Data.Keys.Order(StringComparer.Ordinal))
        {
            if (DataChange(name) is { } change && !TravelsWith(name, names))
                objections.Add($"{name} {change}");
        }
        foreach (string section in _pre.Rest.Keys.Union(_post.Rest.Keys).Where(RestDiffers).Order(StringComparer.Ordinal))
            objections.Add($"section {section} differs");
        return objections;

        // It jumps into a function that is replaced and has no difference of its own.
        static bool reasonIsElsewhere(string reason) => reason.StartsWith("BranchIntoReplaced", StringComparison.Ordinal);
    }

    // What of the old object's data of that name the new one does not have.
    private string? DataChange(string name)
    {
        List<WitnessData> left = [.. _post.Data.GetValueOrDefault(name) ?? []];
        bool known = left.Count != 0;
        int missing = _pre.Data[name]
            .Count(data => !IsNobodys(data) && !left.Remove(left.FirstOrDefault(other => Same(data, other)) ?? data));
        return missing == 0 ? null
            : known ? "differs"
            : "is gone";
    }

    private static bool Same(WitnessData a, WitnessData b) =>
        a.Content == b.Content && a.Size == b.Size && a.IsWritable == b.IsWritable && SectionClass(a.Section) == SectionClass(b.Section);

    // .data.x and .data.y are one section in a kernel; .data..percpu and .data..read_mostly are not.
    private static string SectionClass(string section) => SymbolSection().Replace(section, "$1");

    // Flags of WARN_ONCE, lock classes without content, and the descriptors of debug prints, of which replaced code brings its own.
    private static bool IsNobodys(WitnessData data) => data.Size == 0 || data.Section is ".data.once" or "__dyndbg";

    // Constants that only replaced functions use come along with them.
    private bool TravelsWith(string name, HashSet<string> replaced) =>
        _pre.Data[name].TrueForAll(data => data is { IsWritable: false, IsLocal: true })
        && (_pre.Users.GetValueOrDefault(name) ?? []).All(user =>
            replaced.Contains(user) || _pre.Data.ContainsKey(user) && user != name && TravelsWith(user, replaced)
        );

    private bool RestDiffers(string section) => _pre.Rest.GetValueOrDefault(section) != _post.Rest.GetValueOrDefault(section);

    /// <summary>Whether what an error of differencing names does differ, and how that was seen; null if it does not.</summary>
    public string? Confirm(string id, string message)
    {
        string name = (id == "KSP5005" ? Variable() : Quoted()).Match(message) is { Success: true } match
            ? ObjectContents.Stem(match.Groups[1].Value)
            : "";
        switch (id)
        {
            case "KSP3001"
            or "KSP3002"
            or "KSP3012"
            or "KSP5005"
            or "KSP3043"
            or "KSP3044"
            or "KSP3045"
            or "KSP3046"
            or "KSP3047"
            or "KSP3048"
            or "KSP3049"
            or "KSP3050":
                if (_pre.Data.ContainsKey(name) && DataChange(name) is not null)
                    return $"bytes:{name}";
                if (_post.Data.ContainsKey(name) && !_pre.Data.ContainsKey(name))
                    return $"readelf:{name}";
                return RestDiffers(name) ? $"bytes:{name}" : null;
            case "KSP3004":
                name = ObjectContents.Whole(name);
                return Changed.Contains(name) && _pre.SectionOf[name].StartsWith('.') && InitSection().IsMatch(_pre.SectionOf[name])
                    ? $"objdump:{name}"
                    : null;
            case "KSP5011" or "KSP5012" or "KSP5013":
                return Changed.Contains(ObjectContents.Whole(name)) ? $"objdump:{name}" : null;
            case "KSP3005":
                name = SectionName().Match(message).Groups[1].Value;
                return RestDiffers(name) || SectionSymbolsDiffer(name) ? $"bytes:{name}" : null;
            default:
                return null;
        }
    }

    private bool SectionSymbolsDiffer(string section)
    {
        static IEnumerable<string> Of(ObjectContents contents, string section) =>
            contents
                .Data.SelectMany(data => data.Value.Where(one => one.Section == section).Select(one => data.Key + one.Content))
                .Order(StringComparer.Ordinal);
        return !Of(_pre, section).SequenceEqual(Of(_post, section), StringComparer.Ordinal);
    }

    [GeneratedRegex(@"^(\.data|\.bss|\.rodata)\.[^.].*$")]
    private static partial Regex SymbolSection();

    [GeneratedRegex("'([^']+)'")]
    private static partial Regex Quoted();

    [GeneratedRegex(@"type of (\S+) changes")]
    private static partial Regex Variable();

    [GeneratedRegex(@"^\.(init|exit|meminit|memexit|cpuinit|devinit)\.?")]
    private static partial Regex InitSection();

    [GeneratedRegex(@"Section (\S+) of")]
    private static partial Regex SectionName();
}
