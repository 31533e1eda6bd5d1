// SPDX-License-Identifier: MIT
using System.Text;

namespace Ksplice.Build.Tests.Matching;

/// <summary>The vectors of tests/vectors.</summary>
internal static class SmallVectors
{
    private const string Head = """
        # SPDX-License-Identifier: MIT
        # Written by `dotnet run --project benchmarks/Ksplice.Matching -- write-vectors` from tests/Ksplice.Build.Tests/Matching/Vectors,
        # where MatchVector.cs says what the lines mean.


        """;

    /// <summary>The content of each file by its name.</summary>
    public static IReadOnlyDictionary<string, string> Files() =>
        new Dictionary<string, IEnumerable<VectorGroup>>
        {
            ["bytes.txt"] = ByteVectors.Groups(),
            ["branches.txt"] = BranchVectors.Groups(),
            ["sites.txt"] = SiteVectors.Groups(),
            ["tables.txt"] = TableVectors.Groups(),
            ["objects.txt"] = ObjectVectors.Groups(),
            ["malformed.txt"] = MalformedVectors.Groups(),
        }.ToDictionary(file => file.Key, file => Text(file.Value));

    private static string Text(IEnumerable<VectorGroup> groups)
    {
        StringBuilder text = new(Head);
        foreach (var vector in groups.SelectMany(group => group.Vectors))
            vector.Write(text);
        return text.ToString();
    }
}
