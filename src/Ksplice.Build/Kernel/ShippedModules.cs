// SPDX-License-Identifier: MIT
// The loadable modules as the image package ships them: found by the name that the kernel has for them, unpacked, and checked
// to be of the release. `modules.dep` is not asked: depmod makes it on the machine, an unpacked package has none.
using System.Text;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Elf;

namespace Ksplice.Build.Kernel;

/// <summary>A loadable module's file.</summary>
/// <param name="Name">The name that the kernel has for it, with underscores.</param>
/// <param name="Path">The file.</param>
/// <param name="Elf">What it holds, unpacked.</param>
/// <param name="Depends">The names of the modules whose exports it uses.</param>
/// <param name="Release">The kernel release that it was built for.</param>
public sealed record ModuleFile(string Name, string Path, ElfObject Elf, IReadOnlyList<string> Depends, string Release)
{
    /// <summary>Reads a module from memory; <paramref name="path"/> is for messages.</summary>
    /// <exception cref="InvalidDataException">It is no module, or in a compression that is not known.</exception>
    /// <exception cref="ElfFormatException">The object is malformed.</exception>
    public static ModuleFile Read(ReadOnlyMemory<byte> bytes, string path)
    {
        bool isElf = bytes.Length > 4 && bytes.Span[..4].SequenceEqual("\u007fELF"u8);
        var elf = ElfObject.Read(isElf ? bytes : KernelPayload.Decompress(bytes), path);
        if (elf.FindSection(".modinfo") is not { } section || elf.FindSection(".gnu.linkonce.this_module") is null)
            throw new InvalidDataException("it is no module: it has no .modinfo and .gnu.linkonce.this_module");
        var information = Encoding
            .Latin1.GetString(section.Data.Span)
            .Split('\0')
            .Select(entry => entry.Split('=', 2))
            .Where(entry => entry.Length == 2)
            .ToLookup(entry => entry[0], entry => entry[1], StringComparer.Ordinal);
        return new ModuleFile(
            information["name"].FirstOrDefault() ?? "",
            path,
            elf,
            [
                .. information["depends"]
                    .SelectMany(names => names.Split(','))
                    .Where(name => name.Length != 0)
                    .Select(ShippedModules.Normalized),
            ],
            information["vermagic"].FirstOrDefault()?.Split(' ')[0] ?? ""
        );
    }
}

/// <summary>The modules of one kernel release.</summary>
public sealed class ShippedModules
{
    // The second where / and /usr are one (Debian 13).
    private static readonly string[] Folders = ["lib/modules", "usr/lib/modules"];

    private readonly string _release;
    private readonly string[] _folders;
    private readonly Lazy<Dictionary<string, string>> _paths;

    /// <summary>The modules that came with the image of <paramref name="release"/>, or are installed on this machine.</summary>
    public ShippedModules(KernelRelease release)
        : this((release ?? throw new ArgumentNullException(nameof(release))).Release, release.Image, release.Modules) { }

    /// <summary>
    /// The modules of <paramref name="release"/> in <paramref name="folder"/>, or where the package of <paramref name="image"/> has them.
    /// </summary>
    public ShippedModules(string release, string image, string folder = "")
    {
        ArgumentNullException.ThrowIfNull(folder);
        _release = release;
        string? root = Path.GetDirectoryName(Path.GetDirectoryName(Path.GetFullPath(image)));
        _folders =
            folder.Length != 0
                ? [folder]
                :
                [
                    .. new[] { root, "/" }
                        .OfType<string>()
                        .Distinct(StringComparer.Ordinal)
                        .SelectMany(place => Folders.Select(folder => Path.Combine(place, folder, release))),
                ];
        _paths = new(FindAll);
    }

    /// <summary>File names may have dashes where the kernel has underscores.</summary>
    public static string Normalized(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        return name.Replace('-', '_');
    }

    /// <summary>The file of the module of that name; null if there is none.</summary>
    public string? PathOf(string name) => _paths.Value.GetValueOrDefault(name);

    /// <summary>Opens the module of that name; null after an error.</summary>
    public ModuleFile? Open(string name, DiagnosticBag diagnostics)
    {
        ArgumentNullException.ThrowIfNull(diagnostics);
        if (PathOf(name) is not { } path)
        {
            diagnostics.Report(KernelDiagnostics.MissingModule, null, name, _release, string.Join(", ", _folders));
            return null;
        }
        try
        {
            var file = ModuleFile.Read(File.ReadAllBytes(path), path);
            if (file.Release == _release && file.Name == name)
                return file;
            diagnostics.Report(KernelDiagnostics.WrongModule, new SourceLocation(path), path, file.Name, file.Release, name, _release);
        }
        catch (Exception problem) when (problem is IOException or UnauthorizedAccessException or InvalidDataException or ElfFormatException)
        {
            diagnostics.Report(KernelDiagnostics.BadModule, new SourceLocation(path), path, problem.Message);
        }
        return null;
    }

    // Those of the kernel's own tree: what else is installed was not made from its source.
    private Dictionary<string, string> FindAll()
    {
        Dictionary<string, string> paths = new(StringComparer.Ordinal);
        foreach (string folder in _folders.Select(folder => Path.Combine(folder, "kernel")).Where(Directory.Exists))
        {
            foreach (string path in Directory.EnumerateFiles(folder, "*.ko*", SearchOption.AllDirectories).Order(StringComparer.Ordinal))
            {
                string name = Path.GetFileName(path);
                if (name[name.LastIndexOf(".ko", StringComparison.Ordinal)..] is ".ko" or ".ko.xz" or ".ko.zst" or ".ko.gz")
                    paths.TryAdd(Normalized(name[..name.LastIndexOf(".ko", StringComparison.Ordinal)]), path);
            }
        }
        return paths;
    }
}
