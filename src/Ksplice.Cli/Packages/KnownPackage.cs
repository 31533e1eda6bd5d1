// SPDX-License-Identifier: MIT
// What an applied update is called, who made it and what for: the core does not know. The command keeps the package's manifest and its
// signature below /run, which is as short-lived as the update: neither outlasts a reboot. Everybody may read them, no secret is in them.
using System.Text.Json;
using Ksplice.Build.Generation;

namespace Ksplice.Cli.Packages;

/// <summary>What a package says of itself.</summary>
/// <param name="Manifest">Its manifest.</param>
/// <param name="Text">The manifest's bytes, which are what is signed.</param>
/// <param name="Signature">The signature; null if it is not signed.</param>
public sealed record KnownPackage(UpdateManifest Manifest, ReadOnlyMemory<byte> Text, ReadOnlyMemory<byte>? Signature)
{
    /// <summary>Of a verified package.</summary>
    public static KnownPackage Of(UpdatePackage package) =>
        new(
            package.Manifest,
            package.Files[UpdateManifest.FileName],
            package.Files.TryGetValue(PackageSignature.FileName, out var signature) ? signature : (ReadOnlyMemory<byte>?)null
        );

    /// <summary>Of a folder with a manifest; null if there is none that this user may read.</summary>
    public static KnownPackage? Read(string folder)
    {
        try
        {
            var text = File.ReadAllBytes(Path.Combine(folder, UpdateManifest.FileName));
            var signature = Path.Combine(folder, PackageSignature.FileName);
            return new(
                UpdateManifest.FromJson(text),
                text,
                File.Exists(signature) ? File.ReadAllBytes(signature) : (ReadOnlyMemory<byte>?)null
            );
        }
        catch (Exception problem) when (problem is IOException or UnauthorizedAccessException or JsonException)
        {
            return null;
        }
    }
}

/// <summary>The packages of applied updates, below <paramref name="root"/>.</summary>
public sealed class AppliedPackages(string root)
{
    private const UnixFileMode ForAll = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.OtherRead;
    private const UnixFileMode Search = UnixFileMode.UserExecute | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute;

    /// <summary>The package of an update; null if this command did not apply it.</summary>
    public KnownPackage? Find(string id) =>
        KnownPackage.Read(Path.Combine(root, id)) is { } known && known.Manifest.Id == id ? known : null;

    /// <summary>Keeps what is to be known of a package. Where that cannot be, the update is applied all the same.</summary>
    public void Add(UpdatePackage package)
    {
        try
        {
            var folder = Path.Combine(root, package.Manifest.Id);
            foreach (var path in (string[])[root, folder])
                Directory.CreateDirectory(path, ForAll | Search);
            foreach (var name in (string[])[UpdateManifest.FileName, PackageSignature.FileName])
            {
                var path = Path.Combine(folder, name);
                File.Delete(path);
                if (!package.Files.TryGetValue(name, out var content))
                    continue;
                File.WriteAllBytes(path, content.Span);
                File.SetUnixFileMode(path, ForAll);
            }
        }
        catch (Exception problem) when (problem is IOException or UnauthorizedAccessException)
        {
            // Then view has no name for it.
        }
    }

    /// <summary>Forgets the package of an update that is not loaded any more.</summary>
    public void Remove(string id)
    {
        var folder = Path.Combine(root, id);
        if (Directory.Exists(folder))
            Directory.Delete(folder, recursive: true);
    }
}
