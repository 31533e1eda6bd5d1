// SPDX-License-Identifier: MIT
// What an update was made from, and by whom: an in-toto statement with SLSA's provenance, beside the package. It is not a part of it, as it
// names the digest of the archive. It has no times and no paths of the machine, so equal builds say the same.
//
// https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md and https://slsa.dev/spec/v1.0/provenance; the part of both that is
// written here has a schema, docs/provenance.schema.json.
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Serialization;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Files;
using Ksplice.Build.Generation;
using Ksplice.Build.Kernel;

namespace Ksplice.Tasks;

/// <summary>The statement.</summary>
/// <param name="Subject">What was built.</param>
/// <param name="Predicate">How.</param>
internal sealed record Provenance(IReadOnlyList<ProvenanceResource> Subject, [property: JsonPropertyOrder(1)] ProvenancePredicate Predicate)
{
    /// <summary>What the Sdk's builds are, for those who read <see cref="ProvenanceDefinition.ExternalParameters"/>.</summary>
    public const string BuildType = "urn:ksplice-for-dotnet:build:1";

    /// <summary>What follows the name of a package in the name of its statement.</summary>
    public const string Suffix = ".provenance.json";

    /// <summary>The statement's version.</summary>
    [JsonPropertyName("_type"), JsonPropertyOrder(-1)]
    public string Type { get; } = "https://in-toto.io/Statement/v1";

    /// <summary>The predicate's version.</summary>
    public string PredicateType { get; } = "https://slsa.dev/provenance/v1";

    /// <summary>Writes the statement of a package; returns its path.</summary>
    public static async Task<string> WriteAsync(
        string archive,
        UpdateManifest manifest,
        IEnumerable<(string Name, ReadOnlyMemory<byte> Content)> patches,
        KernelRelease release,
        string builder,
        CancellationToken cancellation
    )
    {
        SortedDictionary<string, string> versions = new(StringComparer.Ordinal)
        {
            ["compiler"] = release.CompilerVersion,
            ["ksplice"] = manifest.Tool,
            ["runtime"] = System.Runtime.InteropServices.RuntimeInformation.FrameworkDescription,
        };
        foreach (string program in (string[])["ld", "make"])
            versions[program] = await VersionAsync(release, program, cancellation).ConfigureAwait(false);
        ShippedModules modules = new(release);
        Provenance statement = new(
            [Resource(Path.GetFileName(archive), archive)],
            new(
                new(
                    BuildType,
                    new(release.Release, manifest.Name, manifest.Version, manifest.Description, manifest.Advisories, manifest.Patches),
                    [
                        .. patches.Select(patch => new ProvenanceResource(patch.Name, Digest(SHA256.HashData(patch.Content.Span)))),
                        Resource("image", release.Image),
                        Resource("config", release.Config),
                        Resource("Module.symvers", release.ModuleSymvers),
                        // A tree has no digest of its own.
                        File.Exists(release.Source)
                            ? Resource("source", release.Source)
                            : new ProvenanceResource("source", null),
                        .. manifest
                            .Targets.Select(target => modules.PathOf(target.Name))
                            .OfType<string>()
                            .Select(module => Resource("module " + Path.GetFileName(module), module)),
                    ]
                ),
                new(new(builder, versions))
            )
        );
        string path = archive[..^UpdatePackage.ArchiveSuffix.Length] + Suffix;
        AtomicFile.Write(path, [.. JsonSerializer.SerializeToUtf8Bytes(statement, ProvenanceContext.Default.Provenance), (byte)'\n']);
        return path;
    }

    private static async Task<string> VersionAsync(KernelRelease release, string program, CancellationToken cancellation) =>
        (await release.Tool(program, "--version").RunAsync([], cancellation).ConfigureAwait(false))?.Output.Split('\n')[0].Trim() ?? "";

    private static ProvenanceResource Resource(string name, string path)
    {
        using var file = File.OpenRead(path);
        return new(name, Digest(SHA256.HashData(file)));
    }

    private static ProvenanceDigest Digest(byte[] digest) => new(Convert.ToHexStringLower(digest));
}

/// <summary>SLSA's provenance.</summary>
internal sealed record ProvenancePredicate(ProvenanceDefinition BuildDefinition, ProvenanceRun RunDetails);

/// <summary>What the build was asked to do, and what it read.</summary>
internal sealed record ProvenanceDefinition(
    string BuildType,
    ProvenanceParameters ExternalParameters,
    IReadOnlyList<ProvenanceResource> ResolvedDependencies
);

/// <summary>What the project says.</summary>
internal sealed record ProvenanceParameters(
    string KernelRelease,
    string UpdateName,
    string? UpdateVersion,
    string? UpdateDescription,
    IReadOnlyList<string> Advisories,
    IReadOnlyList<string> Patches
);

/// <summary>A file.</summary>
internal sealed record ProvenanceResource(
    string Name,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] ProvenanceDigest? Digest
);

/// <summary>The digest of a file.</summary>
internal sealed record ProvenanceDigest(string Sha256);

/// <summary>How the build ran.</summary>
internal sealed record ProvenanceRun(ProvenanceBuilder Builder);

/// <summary>Who built, and with which tools.</summary>
internal sealed record ProvenanceBuilder(string Id, IReadOnlyDictionary<string, string> Version);

[JsonSourceGenerationOptions(WriteIndented = true, NewLine = "\n", PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(Provenance))]
internal sealed partial class ProvenanceContext : JsonSerializerContext;
