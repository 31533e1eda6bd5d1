// SPDX-License-Identifier: MIT
// What a package says about itself. docs/manifest.schema.json describes the file for others; the order of properties is
// the order here, so that equal updates have equal manifests.
using System.Text.Json;
using System.Text.Json.Serialization;
using Ksplice.Build.Files;

namespace Ksplice.Build.Generation;

/// <summary>The contents of manifest.json.</summary>
public sealed record UpdateManifest
{
    /// <summary>The version of the format that this code writes and reads.</summary>
    public const int CurrentFormat = 2;

    /// <summary>The file's name in a package.</summary>
    public const string FileName = "manifest.json";

    /// <summary>Version of the format.</summary>
    public required int Format { get; init; }

    /// <summary>The update's id, 8 hexadecimal digits.</summary>
    public required string Id { get; init; }

    /// <summary>The name that its author gave it.</summary>
    public required string Name { get; init; }

    /// <summary>The version that its author gave it, or null.</summary>
    public string? Version { get; init; }

    /// <summary>What it is for, in one line; null if nobody said.</summary>
    public string? Description { get; init; }

    /// <summary>The advisories that it answers, such as CVE-2022-0847.</summary>
    public IReadOnlyList<string> Advisories
    {
        get => field ?? [];
        init;
    }

    /// <summary>The kernel that it is for.</summary>
    public required ManifestKernel Kernel { get; init; }

    /// <summary>What is updated, and by which modules.</summary>
    public required IReadOnlyList<ManifestTarget> Targets { get; init; }

    /// <summary>True if the primary stays loaded for good once it has been applied (K20).</summary>
    public required bool Pinned { get; init; }

    /// <summary>The data module, which stays loaded for good once the update has been applied; null if the update has none.</summary>
    public ManifestData? Data { get; init; }

    /// <summary>Errors of the build that a person took over, with the reasons.</summary>
    public IReadOnlyList<ManifestAcknowledgement> Acknowledged
    {
        get => field ?? [];
        init;
    }

    /// <summary>The updates that have to be in place already, the lowest first; most updates have none.</summary>
    public IReadOnlyList<ManifestBase> Base
    {
        get => field ?? [];
        init;
    }

    /// <summary>The source patches, as paths in the package, in the order of their application.</summary>
    public required IReadOnlyList<string> Patches { get; init; }

    /// <summary>Every other file of the package.</summary>
    public required IReadOnlyList<ManifestFile> Files { get; init; }

    /// <summary>Name and version of what built the package.</summary>
    public required string Tool { get; init; }

    /// <summary>The file's text.</summary>
    public string ToJson() => JsonSerializer.Serialize(this, ManifestContext.Default.UpdateManifest).ReplaceLineEndings("\n") + "\n";

    /// <summary>Reads the file's bytes.</summary>
    /// <exception cref="JsonException">It is no manifest.</exception>
    public static UpdateManifest FromJson(ReadOnlySpan<byte> text) => JsonFile.Parse(text, ManifestContext.Default.UpdateManifest);

    /// <summary>Reads the file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="remedy">What to do if it is damaged.</param>
    /// <exception cref="DamagedFileException">It is no manifest.</exception>
    /// <exception cref="IOException">It cannot be read.</exception>
    public static UpdateManifest Read(string path, string remedy) => JsonFile.Read(path, ManifestContext.Default.UpdateManifest, remedy);
}

/// <summary>An error that a person took over.</summary>
/// <param name="Id">The rule, KSPnnnn.</param>
/// <param name="Object">The object of the kernel that it is about.</param>
/// <param name="Reason">Why the change is safe, in the words of who says so.</param>
/// <param name="Source">The project or source file that says it.</param>
public sealed record ManifestAcknowledgement(string Id, string Object, string Reason, string Source);

/// <summary>An update that has to be in place already.</summary>
/// <param name="Id">Its id.</param>
/// <param name="Patches">Its source patches, as paths in the package, in the order of their application.</param>
public sealed record ManifestBase(string Id, IReadOnlyList<string> Patches);

/// <summary>A kernel.</summary>
/// <param name="Release">As <c>uname -r</c> has it.</param>
/// <param name="Banner">The image's version banner, with compiler and build.</param>
public sealed record ManifestKernel(string Release, string Banner);

/// <summary>A thing that is updated: the kernel itself, or one of its modules.</summary>
/// <param name="Name"><c>vmlinux</c> or the module's name.</param>
/// <param name="Helper">The helper module's file.</param>
/// <param name="Primary">The primary module's file.</param>
/// <param name="Functions">The functions that are replaced.</param>
public sealed record ManifestTarget(string Name, string Helper, string Primary, IReadOnlyList<ManifestFunction> Functions)
{
    /// <summary>True if it is a module that may be loaded after the update, and unloaded.</summary>
    public bool Late { get; init; }
}

/// <summary>The module with the strings and constants whose addresses may outlive an undo.</summary>
/// <param name="Module">The module's file.</param>
/// <param name="Digest">The digest of its content, which the loaded module shows as its version.</param>
public sealed record ManifestData(string Module, string Digest);

/// <summary>A replaced function.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Unit">Its source file.</param>
/// <param name="Why">What of it differs.</param>
public sealed record ManifestFunction(string Name, string Unit, string Why);

/// <summary>A file of the package.</summary>
/// <param name="Path">Its path in the package, with slashes.</param>
/// <param name="Size">Bytes.</param>
/// <param name="Sha256">Its digest, hexadecimal.</param>
public sealed record ManifestFile(string Path, long Size, string Sha256);

[JsonSourceGenerationOptions(
    WriteIndented = true,
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    RespectNullableAnnotations = true,
    RespectRequiredConstructorParameters = true,
    UnmappedMemberHandling = JsonUnmappedMemberHandling.Skip
)]
[JsonSerializable(typeof(UpdateManifest))]
internal sealed partial class ManifestContext : JsonSerializerContext;
