// A package on its way into the kernel: a folder or a .tar.zst, read into memory once. Every file that the manifest
// names is checked against its hash, and what is loaded later are those very bytes.
using System.Formats.Tar;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.RegularExpressions;
using ZstdSharp;

namespace Ksplice.Cli.Packages;

/// <summary>An update's package, whole and verified.</summary>
public sealed partial class InstallablePackage
{
    private const long MostBytes = 256 << 20; // an archive that unpacks to more is no update

    private readonly Dictionary<string, ReadOnlyMemory<byte>> _files;

    private InstallablePackage(string id, string kernelRelease, Dictionary<string, ReadOnlyMemory<byte>> files) =>
        (Id, KernelRelease, _files) = (id, kernelRelease, files);

    /// <summary>The update's id, 8 hex digits.</summary>
    public string Id { get; }

    /// <summary>The kernel release it was built for.</summary>
    public string KernelRelease { get; }

    /// <summary>The bytes of a module.</summary>
    public ReadOnlyMemory<byte> Module(string name) => _files[name + ".ko"];

    /// <summary>Reads and verifies.</summary>
    public static InstallablePackage Open(string path)
    {
        try
        {
            var files = Directory.Exists(path) ? ReadFolder(path)
                : File.Exists(path) ? ReadArchive(path)
                : throw new CommandException(ExitCode.Usage, $"no package at {path}");
            return Verify(path, files);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new CommandException(ExitCode.Usage, $"cannot read {path}", e.Message);
        }
    }

    private static Dictionary<string, ReadOnlyMemory<byte>> ReadFolder(string path)
    {
        if (!File.Exists(Path.Combine(path, "manifest.json")))
            throw Damaged(path, "it holds no manifest.json: not an update's folder");
        return Directory.EnumerateFiles(path, "*", SearchOption.AllDirectories)
            .ToDictionary(file => Path.GetRelativePath(path, file), file => (ReadOnlyMemory<byte>)File.ReadAllBytes(file));
    }

    private static Dictionary<string, ReadOnlyMemory<byte>> ReadArchive(string path)
    {
        // In the archive everything lies in one folder, ksplice-<id>/, which is taken off.
        var files = new Dictionary<string, ReadOnlyMemory<byte>>(StringComparer.Ordinal);
        try
        {
            using var unpacked = new DecompressionStream(File.OpenRead(path), leaveOpen: false);
            using var tar = new TarReader(unpacked);
            var left = MostBytes;
            while (tar.GetNextEntry() is { } entry)
            {
                if (entry.DataStream is null)
                    continue;
                left -= entry.Length;
                if (left < 0)
                    throw Damaged(path, "it unpacks to more than an update can be");
                using var content = new MemoryStream();
                entry.DataStream.CopyTo(content);
                var name = entry.Name.StartsWith("./", StringComparison.Ordinal) ? entry.Name[2..] : entry.Name;
                files[name[(name.IndexOf('/') + 1)..]] = content.ToArray();
            }
        }
        catch (Exception e) when (e is ZstdException or InvalidDataException or FormatException or EndOfStreamException or ArgumentException)
        {
            throw Damaged(path, $"it cannot be unpacked: {e.Message}");
        }

        return files;
    }

    private static InstallablePackage Verify(string path, Dictionary<string, ReadOnlyMemory<byte>> files)
    {
        if (!files.TryGetValue("manifest.json", out var manifest))
            throw Damaged(path, "it holds no manifest.json");
        string id, release;
        List<(string Path, string Sha256)> listed;
        try
        {
            using var json = JsonDocument.Parse(manifest);
            var root = json.RootElement;
            id = root.GetProperty("id").GetString()!;
            release = root.GetProperty("kernel").GetProperty("release").GetString()!;
            listed =
            [
                .. root.GetProperty("files").EnumerateArray()
                    .Select(file => (file.GetProperty("path").GetString()!, file.GetProperty("sha256").GetString()!)),
            ];
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or KeyNotFoundException)
        {
            throw Damaged(path, $"its manifest.json is not one: {e.Message}");
        }

        if (id is null || !IdPattern().IsMatch(id) || string.IsNullOrEmpty(release))
            throw Damaged(path, "its manifest.json names no update or no kernel");

        var wrong = new List<string>();
        foreach (var (name, sha256) in listed)
        {
            if (!files.TryGetValue(name, out var content))
                wrong.Add($"{name} is missing");
            else if (!string.Equals(Convert.ToHexString(SHA256.HashData(content.Span)), sha256, StringComparison.OrdinalIgnoreCase))
                wrong.Add($"{name} is not what the manifest says (SHA-256 differs)");
        }

        foreach (var module in new[] { "ksplice.ko", $"ksplice_{id}_helper.ko", $"ksplice_{id}_primary.ko" })
        {
            if (!listed.Any(file => file.Path == module))
                wrong.Add($"the manifest does not list {module}");
        }

        return wrong.Count == 0 ? new InstallablePackage(id, release, files) : throw Damaged(path, [.. wrong]);
    }

    private static CommandException Damaged(string path, params IReadOnlyList<string> what) =>
        new(ExitCode.Damaged, $"{path} is damaged or no update", what);

    [GeneratedRegex("^[0-9a-f]{8}$")]
    private static partial Regex IdPattern();
}
