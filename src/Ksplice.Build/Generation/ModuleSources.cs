// SPDX-License-Identifier: MIT
// What kbuild makes the two modules of a target from, beside the C files that are the same for every update.
using System.Globalization;
using System.Security.Cryptography;
using Ksplice.Build.Elf;
using Ksplice.Build.Files;
using Ksplice.Build.Targets;

namespace Ksplice.Build.Generation;

/// <summary>The generated sources of helper and primary as files.</summary>
public static class ModuleSources
{
    /// <summary>The list of what the helper exports, in the form of Module.symvers.</summary>
    public const string SymbolVersions = "extra.symvers";

    /// <summary>The folder of target <paramref name="index"/> below that of an update.</summary>
    public static string FolderOf(string folder, int index) => Path.Combine(folder, index.ToString(CultureInfo.InvariantCulture));

    /// <summary>
    /// Writes those of all targets of an update into their folders below <paramref name="folder"/> and returns their paths. Equal updates
    /// have equal files, and a file that would be the same is left alone. Folders of other targets go.
    /// </summary>
    /// <param name="folder">The folder.</param>
    /// <param name="targets">Helper and primary of each target.</param>
    /// <param name="bases">The ids of the updates that this one was built on, the lowest first.</param>
    public static IReadOnlyList<string> Write(
        string folder,
        IReadOnlyList<(HelperSource Helper, PrimaryObject Primary)> targets,
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
        string digest = Convert.ToHexStringLower(hash.GetHashAndReset());
        List<string> files =
        [
            .. targets
                .Zip(codes)
                .SelectMany(pair => WriteTarget(folder, pair.First.Helper, pair.First.Primary, pair.Second, digest, bases)),
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
        byte[] code,
        string digest,
        IReadOnlyList<string> bases
    )
    {
        folder = FolderOf(folder, helper.Target.Index);
        List<string> files = [];
        Text("exports.S", helper.Assembly);
        Text(SymbolVersions, helper.SymbolVersions);
        Text("update_config.h", Configuration(helper, primary, digest, bases));
        Bytes("match.bin", helper.MatchBytes.ToArray());
        Bytes("code.o_shipped", code);
        return files;

        void Text(string name, string text) => Bytes(name, System.Text.Encoding.UTF8.GetBytes(text));

        void Bytes(string name, byte[] bytes)
        {
            files.Add(Path.Combine(folder, name));
            AtomicFile.WriteIfDifferent(files[^1], bytes);
        }
    }

    private static string Configuration(HelperSource helper, PrimaryObject primary, string digest, IReadOnlyList<string> bases)
    {
        string imports = string.Concat(primary.Namespaces.Select(name => $" MODULE_IMPORT_NS({name});"));
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
            #define KSPLICE_DIGEST "{digest}"
            #define KSPLICE_BASES {string.Join(", ", bases.Select(id => $"\"{id}\""))}
            #define KSPLICE_NAMESPACES{imports}

            """
        );
    }
}
