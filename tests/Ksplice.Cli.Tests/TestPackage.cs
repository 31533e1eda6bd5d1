// A package whose modules are no modules: enough for everything that the command does before the kernel sees them.
using System.Formats.Tar;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using ZstdSharp;

namespace Ksplice.Cli.Tests;

internal sealed class TestPackage : IDisposable
{
    public const string Release = "6.1.0-0-test";
    public const string Id = "0123abcd";

    private readonly string _root = Directory.CreateTempSubdirectory("ksplice-test-").FullName;

    public TestPackage(string release = Release)
    {
        Folder = Path.Combine(_root, "ksplice-" + Id);
        Directory.CreateDirectory(Path.Combine(Folder, "patches"));
        string[] files = ["ksplice.ko", Helper + ".ko", Primary + ".ko", "patches/one.patch", "README.txt"];
        foreach (var file in files)
            File.WriteAllText(Path.Combine(Folder, file), "bytes of " + file);
        Manifest = new JsonObject
        {
            ["id"] = Id,
            ["kernel"] = new JsonObject { ["release"] = release },
            ["files"] = new JsonArray([.. files.Select(file => new JsonObject
            {
                ["path"] = file,
                ["sha256"] = Convert.ToHexStringLower(SHA256.HashData(File.ReadAllBytes(Path.Combine(Folder, file)))),
            })]),
        };
        WriteManifest();
    }

    public static string Helper => $"ksplice_{Id}_helper";

    public static string Primary => $"ksplice_{Id}_primary";

    public string Folder { get; }

    /// <summary>A folder for other files of the test.</summary>
    public string Scratch => _root;

    public JsonObject Manifest { get; }

    public void WriteManifest() => File.WriteAllText(Path.Combine(Folder, "manifest.json"), Manifest.ToJsonString());

    public string Archive()
    {
        var path = Folder + ".tar.zst";
        using var file = File.Create(path);
        using var zstd = new CompressionStream(file);
        TarFile.CreateFromDirectory(Folder, zstd, includeBaseDirectory: true);
        return path;
    }

    public void Dispose() => Directory.Delete(_root, recursive: true);

    public static byte[] Bytes(string file) => Encoding.UTF8.GetBytes("bytes of " + file);
}
