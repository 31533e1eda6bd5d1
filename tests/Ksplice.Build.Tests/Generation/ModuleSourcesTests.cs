// SPDX-License-Identifier: MIT
// The digest by which the core tells that helpers and primaries are of one build.
using Ksplice.Build.Differencing;
using Ksplice.Build.Generation;
using Ksplice.Build.Matching;
using Ksplice.Build.Targets;
using Ksplice.Build.Tests.Differencing;
using Ksplice.Build.Tests.Patching;

namespace Ksplice.Build.Tests.Generation;

public sealed class ModuleSourcesTests : IDisposable
{
    private const string Id = "0123abcd",
        Source = "int f(int a) { return probe(a) * 3; }";
    private readonly TestTree _tree = new();
    private int _written;

    public void Dispose() => _tree.Dispose();

    // Both targets' modules are made from update_config.h, one each.
    private string Digest(byte[] match, string code, params string[] bases)
    {
        List<(HelperSource, PrimaryObject)> targets = [];
        foreach (var target in (UpdateTarget[])[new(Id, UpdateTarget.KernelName, 0, 2), new(Id, "loop", 1, 2)])
        {
            // What differs from call to call is the second target's.
            bool second = target.Index == 1;
            string post = second ? code : Source.Replace("* 3", "* 4", StringComparison.Ordinal);
            var diff = CPair.Compare(Source, post).Accepted;
            MatchData data = new(second ? match : [1, 2], [new GlobalSymbol("probe")], [new(CPair.Unit, "f")]);
            var primary = PrimaryObject.Build([diff], data, target, new ExportedSymbols([]), null, []);
            Assert.NotNull(primary);
            targets.Add((HelperSource.Create(target, data), primary));
        }
        string folder = _tree[(++_written).ToString(System.Globalization.CultureInfo.InvariantCulture)];
        ModuleSources.Write(folder, targets, null, bases);
        string[] headers =
        [
            .. Enumerable
                .Range(0, 2)
                .Select(index => File.ReadAllText(Path.Combine(ModuleSources.FolderOf(folder, index), "update_config.h"))),
        ];
        Assert.All(headers, header =>
            Assert.Contains(
                $"#define KSPLICE_BASES {string.Join(", ", bases.Select(id => $"\"{id}\""))}\n",
                header,
                StringComparison.Ordinal
            )
        );
        string[] digests =
        [
            .. headers.Select(header =>
                header.Split('\n').Single(line => line.StartsWith("#define KSPLICE_DIGEST ", StringComparison.Ordinal))
            ),
        ];
        Assert.Equal(digests[0], digests[1]);
        Assert.Matches("^#define KSPLICE_DIGEST \"[0-9a-f]{64}\"$", digests[0]);
        return digests[0];
    }

    [Fact]
    public void Match_data_and_new_code_of_any_target_make_another_digest_for_all()
    {
        string code = Source.Replace("* 3", "* 5", StringComparison.Ordinal),
            other = Source.Replace("* 3", "* 6", StringComparison.Ordinal);
        string first = Digest([3, 4], code);
        Assert.Equal(first, Digest([3, 4], code));
        Assert.Equal(first, Digest([3, 4], code, "89abcdef", "01234567"));
        Assert.Equal(3, new[] { first, Digest([3, 5], code), Digest([3, 4], other) }.Distinct().Count());
    }
}
