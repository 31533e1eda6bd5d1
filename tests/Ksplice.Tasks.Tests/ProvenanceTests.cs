// SPDX-License-Identifier: MIT
// What a build server asks of a build: equal bytes wherever it runs, and a statement of what they were made from.
using System.Security.Cryptography;
using System.Text.Json.Nodes;

namespace Ksplice.Tasks.Tests;

public sealed class ProvenanceTests
{
    private const string Builder = "https://ci.example/runners/kernel";

    [Fact]
    public async Task Two_folders_make_the_same_archive_and_the_same_statement_which_names_what_was_read()
    {
        (string Name, string Value)[] properties =
        [
            ("KspliceBuilderId", Builder),
            ("ContinuousIntegrationBuild", "true"),
            ("UpdateVersion", "1.2"),
        ];
        using PatchProject one = new(Patches.Release, properties),
            other = new(Patches.Release, properties);
        foreach (var project in (PatchProject[])[one, other])
        {
            project.Write("1-smaps.patch", Patches.Smaps);
            project.Write("2-loop.patch", File.ReadAllText(Repository.At("samples", "d-loop-backing-file", "loop-backing-file.patch")));
            (await project.BuildAsync()).MustSucceed();
        }
        string archive = Built(one, "*.tar.zst"),
            file = Built(one, "*.provenance.json");
        Assert.Equal(Digest(archive), Digest(Built(other, "*.tar.zst")));
        string statement = File.ReadAllText(file);
        Assert.Equal(statement, File.ReadAllText(Built(other, "*.provenance.json")));

        Schema.Check("provenance.schema.json", statement);
        var json = JsonNode.Parse(statement)!;
        var subject = Assert.Single(json["subject"]!.AsArray())!;
        Assert.Equal(Path.GetFileName(archive), subject["name"]!.GetValue<string>());
        Assert.Equal(Digest(archive), subject["digest"]!["sha256"]!.GetValue<string>());
        var read = json["predicate"]!["buildDefinition"]!["resolvedDependencies"]!
            .AsArray()
            .ToDictionary(file => file!["name"]!.GetValue<string>(), file => file!["digest"]?["sha256"]?.GetValue<string>());
        Assert.Equal(Digest(one.At("1-smaps.patch")), read["patches/01-1-smaps.patch"]);
        Assert.Equal(Digest(Patches.Image), read["image"]);
        Assert.Contains(read.Keys, name => name.StartsWith("module loop.ko", StringComparison.Ordinal));
        Assert.Equal(Builder, json["predicate"]!["runDetails"]!["builder"]!["id"]!.GetValue<string>());
        Assert.DoesNotContain(one.Folder, statement, StringComparison.Ordinal);

        // Another builder says so; with none there is no statement; Clean takes it away.
        (await one.BuildAsync("-p:KspliceBuilderId=https://ci.example/other")).MustSucceed();
        Assert.Contains("https://ci.example/other", File.ReadAllText(file), StringComparison.Ordinal);
        (await one.BuildAsync("-p:KspliceBuilderId=")).MustSucceed();
        Assert.False(File.Exists(file));
        Assert.True(File.Exists(archive));
        foreach (string wrong in (string[])["the build server", "/usr/bin/builder"])
            (await one.BuildAsync("-p:KspliceBuilderId=" + wrong)).MustFailWith("KSP2058");
        (await other.RunAsync(["clean"])).MustSucceed();
        Assert.Empty(Directory.GetFiles(other.At("bin"), "ksplice-*", SearchOption.AllDirectories));
    }

    private static string Built(PatchProject project, string pattern) =>
        Assert.Single(Directory.GetFiles(project.At($"bin/Debug/{Patches.Release}"), pattern));

    private static string Digest(string path) => Convert.ToHexStringLower(SHA256.HashData(File.ReadAllBytes(path)));
}
