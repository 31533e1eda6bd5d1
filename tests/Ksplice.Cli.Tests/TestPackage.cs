// SPDX-License-Identifier: MIT
// A package whose modules are no modules: enough for everything that the command does before the kernel sees them.
using System.Text;
using Ksplice.Build.Generation;

namespace Ksplice.Cli.Tests;

internal sealed class TestPackage : IDisposable
{
    public const string Release = "6.1.0-0-test";
    public const string Id = "0123abcd";

    private readonly string _root = Directory.CreateTempSubdirectory("ksplice-test-").FullName;

    public TestPackage(string release = Release, params string[] modules)
        : this(Id, null, release, modules) { }

    /// <summary>Another update for the same kernel.</summary>
    public static TestPackage Another(string id) => new(id, null, Release);

    /// <summary>With a data module of that digest.</summary>
    public static TestPackage WithData(string digest) => new(Id, digest, Release);

    private TestPackage(string id, string? digest, string release, params string[] modules)
    {
        ManifestTarget[] targets =
        [
            .. modules
                .Prepend("vmlinux")
                .Select(
                    (name, t) =>
                        new ManifestTarget(
                            name,
                            $"ksplice_{id}_{t}_helper.ko",
                            $"ksplice_{id}_{t}_primary.ko",
                            [new ManifestFunction("f", "fs/f.c", "bytes differ")]
                        )
                ),
        ];
        string[] files =
        [
            "ksplice.ko",
            .. targets.SelectMany(t => new[] { t.Helper, t.Primary }),
            .. digest is null ? [] : new[] { Data + ".ko" },
            "patches/one.patch",
            "README.txt",
        ];
        UpdateManifest manifest = new()
        {
            Format = UpdateManifest.CurrentFormat,
            Id = id,
            Name = "test",
            Kernel = new ManifestKernel(release, "Linux version " + release),
            Targets = targets,
            Pinned = false,
            Data = digest is null ? null : new(Data + ".ko", digest),
            Patches = ["patches/one.patch"],
            Files = [],
            Tool = "test",
        };
        (Folder, Archive) = UpdatePackage.Write(
            _root,
            manifest,
            files.ToDictionary(file => file, file => (ReadOnlyMemory<byte>)Bytes(file))
        );
    }

    public static string Helper => $"ksplice_{Id}_0_helper";

    public static string Primary => $"ksplice_{Id}_0_primary";

    public static string Data => $"ksplice_{Id}_data";

    public string Folder { get; }

    public string Archive { get; }

    /// <summary>A folder for other files of the test.</summary>
    public string Scratch => _root;

    public void Dispose() => Directory.Delete(_root, recursive: true);

    public static byte[] Bytes(string file) => Encoding.UTF8.GetBytes("bytes of " + file);
}
