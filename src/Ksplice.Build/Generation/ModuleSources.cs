// SPDX-License-Identifier: MIT
// What kbuild makes the two modules of a target and the data module from, beside the C files that are the same for every update.
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Ksplice.Build.Elf;
using Ksplice.Build.Files;
using Ksplice.Build.Targets;

namespace Ksplice.Build.Generation;

/// <summary>The generated sources of an update's modules as files.</summary>
public static class ModuleSources
{
    /// <summary>The list of what the modules of a folder export, in the form of Module.symvers.</summary>
    public const string SymbolVersions = "extra.symvers";

    /// <summary>The exports of a primary; most primaries have none.</summary>
    internal const string LentAssembly = "lent.S";

    /// <summary>The folder of target <paramref name="index"/> below that of an update.</summary>
    public static string FolderOf(string folder, int index) => Path.Combine(folder, index.ToString(CultureInfo.InvariantCulture));

    /// <summary>The folder of the data module below that of an update.</summary>
    public static string DataFolderOf(string folder) => Path.Combine(folder, "data");

    /// <summary>
    /// Writes those of an update into folders below <paramref name="folder"/>, one for each target and one for the data module, and returns
    /// their paths. Equal updates have equal files, and a file that would be the same is left alone. Other folders go.
    /// </summary>
    /// <param name="folder">The folder.</param>
    /// <param name="targets">Helper and primary of each target.</param>
    /// <param name="data">The data module, or null if the update has none.</param>
    /// <param name="bases">The ids of the updates that this one was built on, the lowest first.</param>
    public static IReadOnlyList<string> Write(
        string folder,
        IReadOnlyList<(HelperSource Helper, PrimaryObject Primary)> targets,
        DataSource? data,
        IReadOnlyList<string> bases
    )
    {
        ArgumentNullException.ThrowIfNull(targets);
        ArgumentNullException.ThrowIfNull(bases);
        // The core takes helpers and primaries of one build only for one update: this is how it tells.
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        byte[][] codes = [.. targets.Select(target => ElfWriter.Write(target.Primary.Code))];
        foreach (var (target, code) in targets.Zip(codes))
        {
            hash.AppendData(SHA256.HashData(target.Helper.MatchBytes.Span));
            hash.AppendData(SHA256.HashData(code));
        }
        hash.AppendData(Encoding.ASCII.GetBytes(data?.Digest ?? ""));
        string digest = Convert.ToHexStringLower(hash.GetHashAndReset());
        List<string> files =
        [
            .. targets
                .Zip(codes)
                .SelectMany(pair => WriteTarget(folder, pair.First.Helper, pair.First.Primary, data, pair.Second, digest, bases)),
            .. data is null ? [] : WriteData(DataFolderOf(folder), data),
        ];
        // What the update was before may have had more targets.
        foreach (string target in Directory.GetDirectories(folder).Except(files.Select(Path.GetDirectoryName), StringComparer.Ordinal)!)
            Directory.Delete(target, recursive: true);
        return files;
    }

    private static List<string> WriteTarget(
        string folder,
        HelperSource helper,
        PrimaryObject primary,
        DataSource? data,
        byte[] code,
        string digest,
        IReadOnlyList<string> bases
    )
    {
        folder = FolderOf(folder, helper.Target.Index);
        var lent = LentSource.Create(helper.Target, primary);
        string assembly = Path.Combine(folder, LentAssembly);
        if (lent is null && File.Exists(assembly))
            File.Delete(assembly);
        return WriteFiles(
            folder,
            [
                ("exports.S", Text(helper.Assembly)),
                (SymbolVersions, Text(helper.SymbolVersions + lent?.SymbolVersions)),
                ("update_config.h", Text(Configuration(helper, primary, data, digest, bases))),
                ("match.bin", helper.MatchBytes.ToArray()),
                ("code.o_shipped", code),
                .. lent is null ? ((string, byte[])[])[] : [(LentAssembly, Text(lent.Assembly))],
            ]
        );
    }

    private static List<string> WriteData(string folder, DataSource data) =>
        WriteFiles(
            folder,
            ("exports.S", Text(data.Assembly)),
            (SymbolVersions, Text(data.SymbolVersions)),
            (
                "update_config.h",
                Text(
                    $"""
                    /* Generated: what tells this data module from others. */
                    #define KSPLICE_ID "{data.UpdateId}"
                    #define KSPLICE_DATA {data.Symbol}
                    #define KSPLICE_DATA_DIGEST "{data.Digest}"

                    """
                )
            ),
            ("data.bin", data.Content.ToArray())
        );

    private static byte[] Text(string text) => Encoding.UTF8.GetBytes(text);

    private static List<string> WriteFiles(string folder, params (string Name, byte[] Bytes)[] files)
    {
        foreach (var (name, bytes) in files)
            AtomicFile.WriteIfDifferent(Path.Combine(folder, name), bytes);
        return [.. files.Select(file => Path.Combine(folder, file.Name))];
    }

    private static string Configuration(
        HelperSource helper,
        PrimaryObject primary,
        DataSource? data,
        string digest,
        IReadOnlyList<string> bases
    )
    {
        string imports = string.Concat(primary.Namespaces.Select(name => $" MODULE_INFO(import_ns, \"{name}\");"));
        return string.Create(
            CultureInfo.InvariantCulture,
            $"""
            /* Generated: what tells this update and this target from others. */
            #define KSPLICE_ID "{helper.Target.UpdateId}"
            #define KSPLICE_TARGET {(helper.Target.IsKernel ? "NULL" : $"\"{helper.Target.Name}\"")}
            #define KSPLICE_N_TARGETS {helper.Target.Count}
            #define KSPLICE_N_EXPORTS {helper.ExportCount}
            #define KSPLICE_LATE {(helper.Target.IsLate ? "true" : "false")}
            #define KSPLICE_PINNED {(primary.IsPinned ? "true" : "false")}
            #define KSPLICE_HAS_DATA {(data is null ? 0 : 1)}
            #define KSPLICE_DATA {data?.Symbol}
            #define KSPLICE_DIGEST "{digest}"
            #define KSPLICE_BASES {string.Join(", ", bases.Select(id => $"\"{id}\""))}
            #define KSPLICE_NAMESPACES{imports}

            """
        );
    }
}
