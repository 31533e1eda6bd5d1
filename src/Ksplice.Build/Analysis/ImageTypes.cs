// SPDX-License-Identifier: MIT
// A run-pre matching of types: what a unit was compiled with has to be what the running kernel was compiled with. The image
// carries BTF of its own. A name may stand for several types in one kernel, so a type is right if any type of its name and
// kind is like it; one that the image does not have was dropped there or belongs to a module, and says nothing.
using System.Globalization;

namespace Ksplice.Build.Analysis;

/// <summary>Compares a unit's types with the image's.</summary>
internal static class ImageTypes
{
    /// <summary>
    /// Structs, unions and enums of <paramref name="unit"/> that are like none of that name in <paramref name="image"/>, with what differs.
    /// </summary>
    public static IEnumerable<(string Name, string Difference)> Differences(BtfTypes unit, BtfTypes image)
    {
        var byName = image.ByKeyword;
        for (int id = 1; id < unit.Count; id++)
        {
            if (
                BtfTypes.Keyword(unit.KindOf(id)) is not { } keyword
                || unit.NameOf(id) is not { Length: > 0 } name
                || !byName.TryGetValue(keyword + name, out var rivals)
            )
                continue;
            string? difference = null;
            foreach (int rival in rivals)
            {
                difference = Difference(unit, id, image, rival);
                if (difference is null)
                    break;
            }
            if (difference is not null)
                yield return (keyword + name, difference);
        }
    }

    private static string? Difference(BtfTypes unit, int id, BtfTypes image, int rival)
    {
        if (unit.SizeOf(id) != image.SizeOf(rival))
            return string.Create(CultureInfo.InvariantCulture, $"{unit.SizeOf(id)} bytes here, {image.SizeOf(rival)} there");
        if (unit.KindOf(id) is BtfKind.Enum or BtfKind.Enum64)
            return OtherConstant(unit.Enumerators(id), image.Enumerators(rival)) is { } constant
                ? $"'{constant}' is another constant or missing"
                : null;
        var (here, there) = (unit.Members(id), image.Members(rival));
        for (int i = 0; i < Math.Max(here.Count, there.Count); i++)
        {
            if (i >= here.Count || i >= there.Count)
                return $"{here.Count} members here, {there.Count} there";
            if (here[i].Name != there[i].Name || here[i].BitOffset != there[i].BitOffset || here[i].BitFieldSize != there[i].BitFieldSize)
                return $"member '{here[i].Name}' at bit {here[i].BitOffset} here, '{there[i].Name}' at bit {there[i].BitOffset} there";
        }
        return null;
    }

    // gcc 12 leaves out constants that an int does not hold; the image may have all of them, or their lower half.
    private static string? OtherConstant(IReadOnlyList<BtfEnumerator> unit, IReadOnlyList<BtfEnumerator> image)
    {
        var there = image.ToLookup(constant => constant.Name, constant => (int)constant.Value, StringComparer.Ordinal);
        var here = unit.Select(constant => constant.Name).ToHashSet(StringComparer.Ordinal);
        foreach (var constant in unit)
        {
            if (!there[constant.Name].Contains((int)constant.Value))
                return constant.Name;
        }
        return image.FirstOrDefault(constant => !here.Contains(constant.Name) && constant.Value is >= 0 and <= int.MaxValue).Name;
    }
}
