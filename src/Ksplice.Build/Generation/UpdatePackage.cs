// SPDX-License-Identifier: MIT
// The package that goes to the target: a folder, and the same as one archive. Written so that equal content makes equal
// bytes (entries sorted, no times, no owners), read so that nothing is believed: names, links, sizes and digests are
// checked before anybody sees a file.
using System.Formats.Tar;
using System.Globalization;
using System.Text.Json;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Files;
using Ksplice.Build.Targets;
using Org.BouncyCastle.Crypto.Digests;
using ZstdSharp;

namespace Ksplice.Build.Generation;

/// <summary>An update's package, whole and verified.</summary>
/// <param name="Manifest">What it says about itself.</param>
/// <param name="Files">Its files by path, the manifest among them.</param>
public sealed record UpdatePackage(UpdateManifest Manifest, IReadOnlyDictionary<string, ReadOnlyMemory<byte>> Files)
{
    private const long MostBytes = 256L << 20;
    private const int MostFiles = 4096;
    private const int CompressionLevel = 19;

    /// <summary>What follows the name of a package in the name of its archive.</summary>
    public const string ArchiveSuffix = ".tar.zst";

    /// <summary>
    /// Writes a package as the folder <see cref="NameOf"/> below <paramref name="outputDirectory"/> and as an archive beside it,
    /// both under temporary names first. <paramref name="files"/> are all but the manifest; with a <paramref name="signer"/> the manifest's
    /// signature lies beside it.
    /// </summary>
    /// <returns>The paths of the folder and of the archive.</returns>
    public static (string Folder, string Archive) Write(
        string outputDirectory,
        UpdateManifest manifest,
        IReadOnlyDictionary<string, ReadOnlyMemory<byte>> files,
        SigningIdentity? signer = null
    )
    {
        ArgumentNullException.ThrowIfNull(manifest);
        ArgumentNullException.ThrowIfNull(files);
        manifest = manifest with { Files = Describe(files) };
        SortedDictionary<string, ReadOnlyMemory<byte>> all = new(StringComparer.Ordinal);
        foreach (var (path, content) in files)
            all.Add(path, content);
        byte[] text = System.Text.Encoding.UTF8.GetBytes(manifest.ToJson());
        all.Add(UpdateManifest.FileName, text);
        if (signer is not null)
            all.Add(PackageSignature.FileName, PackageSignature.Sign(text, signer.Key, signer.Certificate));

        string name = NameOf(manifest.Id, manifest.Version);
        string folder = Path.Combine(outputDirectory, name),
            archive = folder + ArchiveSuffix;
        string newFolder = folder + ".new",
            newArchive = archive + ".new";
        if (Directory.Exists(newFolder))
            Directory.Delete(newFolder, recursive: true);
        foreach (var (path, content) in all)
        {
            string target = Path.Combine(newFolder, path);
            Directory.CreateDirectory(Path.GetDirectoryName(target)!);
            File.WriteAllBytes(target, content.Span);
        }
        File.WriteAllBytes(newArchive, Archive(name, all));
        if (Directory.Exists(folder))
            Directory.Delete(folder, recursive: true);
        Directory.Move(newFolder, folder);
        File.Move(newArchive, archive, overwrite: true);
        return (folder, archive);
    }

    /// <summary>The name of a package, its archive and report without their endings: ksplice-ID or ksplice-ID-VERSION.</summary>
    public static string NameOf(string id, string? version) => version is null ? "ksplice-" + id : $"ksplice-{id}-{version}";

    /// <summary>
    /// What a package calls the file of its patch <paramref name="number"/>: two folders may have a patch of one
    /// name, and the number keeps the order too.
    /// </summary>
    public static string PatchName(int number, string path) =>
        string.Create(CultureInfo.InvariantCulture, $"{number:d2}-{Path.GetFileName(path)}");

    private static List<ManifestFile> Describe(IReadOnlyDictionary<string, ReadOnlyMemory<byte>> files) =>
        [
            .. files
                .OrderBy(file => file.Key, StringComparer.Ordinal)
                .Select(file => new ManifestFile(file.Key, file.Value.Length, Digest(file.Value.Span))),
        ];

    // The runtime's own SHA-256 is OpenSSL's, which a machine to be updated may not have.
    private static string Digest(ReadOnlySpan<byte> content)
    {
        Sha256Digest digest = new();
        digest.BlockUpdate(content);
        var bytes = new byte[digest.GetDigestSize()];
        digest.DoFinal(bytes);
        return Convert.ToHexStringLower(bytes);
    }

    private static byte[] Archive(string folder, SortedDictionary<string, ReadOnlyMemory<byte>> files)
    {
        using Compressor compressor = new(CompressionLevel);
        return compressor.Wrap(TarArchive.Write(files.Select(file => ($"{folder}/{file.Key}", file.Value)))).ToArray();
    }

    /// <summary>Reads a package, a folder or an archive, and verifies all of it; null after an error.</summary>
    public static UpdatePackage? Open(string path, DiagnosticBag diagnostics)
    {
        ArgumentNullException.ThrowIfNull(path);
        ArgumentNullException.ThrowIfNull(diagnostics);
        try
        {
            return Verify(Directory.Exists(path) ? ReadFolder(path) : ReadArchive(path));
        }
        catch (Exception problem)
            when (problem
                    is DamagedException
                        or IOException
                        or UnauthorizedAccessException
                        or JsonException
                        or ZstdException
                        or InvalidDataException
                        or FormatException
                        or ArgumentException
            )
        {
            diagnostics.Report(GenerationDiagnostics.DamagedPackage, new SourceLocation(path), path, problem.Message);
            return null;
        }
    }

    private static Dictionary<string, ReadOnlyMemory<byte>> ReadFolder(string folder)
    {
        Dictionary<string, ReadOnlyMemory<byte>> files = new(StringComparer.Ordinal);
        long total = 0;
        foreach (var entry in new DirectoryInfo(folder).EnumerateFileSystemInfos("*", SearchOption.AllDirectories))
        {
            string name = Path.GetRelativePath(folder, entry.FullName);
            if (entry.LinkTarget is not null)
                throw new DamagedException($"{name} is a link");
            if (entry is FileInfo file)
            {
                Account(ref total, file.Length, files.Count);
                files.Add(name, File.ReadAllBytes(file.FullName));
            }
        }
        return files;
    }

    // In the archive everything lies in one folder, which is taken off.
    private static Dictionary<string, ReadOnlyMemory<byte>> ReadArchive(string path)
    {
        Dictionary<string, ReadOnlyMemory<byte>> files = new(StringComparer.Ordinal);
        using DecompressionStream plain = new(File.OpenRead(path), leaveOpen: false);
        using TarReader tar = new(plain);
        string? top = null;
        long total = 0;
        while (tar.GetNextEntry() is { } entry)
        {
            string name = entry.Name.StartsWith("./", StringComparison.Ordinal) ? entry.Name[2..] : entry.Name;
            string[] parts = name.TrimEnd('/').Split('/');
            if (name.StartsWith('/') || parts.Any(part => part is "" or "." or ".."))
                throw new DamagedException($"entry '{entry.Name}' leaves the folder");
            if (entry.EntryType == TarEntryType.Directory)
                continue;
            if (entry.EntryType is not (TarEntryType.RegularFile or TarEntryType.V7RegularFile))
                throw new DamagedException($"entry '{entry.Name}' is a {entry.EntryType} and no file");
            top ??= parts[0];
            if (parts.Length < 2 || parts[0] != top)
                throw new DamagedException($"entry '{entry.Name}' is not in folder '{top}'");
            Account(ref total, entry.Length, files.Count);
            using MemoryStream content = new();
            entry.DataStream?.CopyTo(content);
            if (content.Length != entry.Length)
                throw new DamagedException($"entry '{entry.Name}' ends early");
            if (!files.TryAdd(string.Join('/', parts[1..]), content.ToArray()))
                throw new DamagedException($"entry '{entry.Name}' occurs twice");
        }
        return files;
    }

    private static void Account(ref long total, long size, int count)
    {
        total += size;
        if (total > MostBytes || count >= MostFiles)
            throw new DamagedException($"it holds more than {MostBytes >> 20} MiB or {MostFiles} files");
    }

    private static UpdatePackage Verify(Dictionary<string, ReadOnlyMemory<byte>> files)
    {
        if (!files.TryGetValue(UpdateManifest.FileName, out var text))
            throw new DamagedException($"it has no {UpdateManifest.FileName}");
        var manifest = UpdateManifest.FromJson(text.Span);
        if (manifest.Format != UpdateManifest.CurrentFormat)
            throw new DamagedException($"its format is {manifest.Format}; this tool reads {UpdateManifest.CurrentFormat}");
        if (manifest.Base.Select(part => part.Id).Prepend(manifest.Id).FirstOrDefault(id => !UpdateId.IsWellFormed(id)) is { } wrong)
            throw new DamagedException($"'{wrong}' is no update id");
        if (
            manifest
                .Base.Select(part => part.Id)
                .Prepend(manifest.Id)
                .GroupBy(id => id, StringComparer.Ordinal)
                .FirstOrDefault(group => group.Count() > 1)
                ?.Key is
            { } twice
        )
            throw new DamagedException($"it names update {twice} twice");
        VerifyIdentity(manifest);
        VerifyTargets(manifest);
        HashSet<string> listed = new(StringComparer.Ordinal) { UpdateManifest.FileName, PackageSignature.FileName };
        foreach (var file in manifest.Files)
        {
            if (!listed.Add(file.Path))
                throw new DamagedException($"the manifest lists {file.Path} twice");
            if (!files.TryGetValue(file.Path, out var content))
                throw new DamagedException($"{file.Path} is missing");
            if (content.Length != file.Size)
                throw new DamagedException($"{file.Path} has {content.Length} bytes, not {file.Size}");
            if (!string.Equals(Digest(content.Span), file.Sha256, StringComparison.OrdinalIgnoreCase))
                throw new DamagedException($"{file.Path} differs from its digest in the manifest");
        }
        if (files.Keys.FirstOrDefault(name => !listed.Contains(name)) is { } extra)
            throw new DamagedException($"{extra} is not in the manifest");
        string core = KernelModuleBuilder.CoreName + ".ko";
        string? absent = manifest
            .Targets.SelectMany(target => (string[])[target.Helper, target.Primary])
            .Concat(manifest.Base.SelectMany(part => part.Patches))
            .Concat(manifest.Patches)
            .Concat(manifest.Data is { } data ? [data.Module] : [])
            .Prepend(core)
            .FirstOrDefault(name => !listed.Contains(name));
        if (absent is not null)
            throw new DamagedException($"{absent} is named but not listed");
        return new UpdatePackage(manifest, files);
    }

    private static void VerifyIdentity(UpdateManifest manifest)
    {
        if (manifest.Version is { } version && !UpdateIdentity.IsVersion(version))
            throw new DamagedException($"'{Printable(version)}' is no version");
        if (manifest.Description is { } description && !UpdateIdentity.IsDescription(description))
            throw new DamagedException("its description is not one line of text");
        if (manifest.Advisories.FirstOrDefault(advisory => !UpdateIdentity.IsAdvisory(advisory)) is { } wrong)
            throw new DamagedException($"'{Printable(wrong)}' is no id of an advisory");
    }

    private static string Printable(string text) => string.Concat(text.Select(letter => char.IsControl(letter) ? '?' : letter));

    // What is loaded goes by these names, so they have to be what the id and the order say.
    private static void VerifyTargets(UpdateManifest manifest)
    {
        if (manifest.Targets.Count == 0)
            throw new DamagedException("it has no target");
        var order = LoadOrder.Of(
            [.. manifest.Targets.Select(target => target.Name)],
            manifest
                .Targets.SelectMany(target => target.Uses.Select(used => (target.Name, used)))
                .ToLookup(pair => pair.Name, pair => pair.used, StringComparer.Ordinal)
        );
        for (int i = 0; i < manifest.Targets.Count; i++)
        {
            var target = manifest.Targets[i];
            if (target.Name.Length == 0 || !target.Name.All(letter => char.IsAsciiLetterOrDigit(letter) || letter == '_'))
                throw new DamagedException($"'{target.Name}' is no name of a target");
            if (i >= order.Count || order[i] != target.Name)
                throw new DamagedException($"target {target.Name} is not in its place");
            if (
                target.Helper != UpdateTarget.HelperOf(manifest.Id, i) + ".ko"
                || target.Primary != UpdateTarget.PrimaryOf(manifest.Id, i) + ".ko"
            )
                throw new DamagedException($"the modules of target {target.Name} are not named as its place says");
        }
        if (manifest.Data is { } data && data.Module != UpdateTarget.DataOf(manifest.Id) + ".ko")
            throw new DamagedException($"'{data.Module}' is no name of its data module");
    }

    private sealed class DamagedException(string message) : Exception(message);
}
