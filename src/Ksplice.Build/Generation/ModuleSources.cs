// What kbuild makes the two modules of a target from, beside the C files that are the same for every update.
using System.Globalization;
using Ksplice.Build.Elf;

namespace Ksplice.Build.Generation;

/// <summary>The generated sources of helper and primary as files.</summary>
public static class ModuleSources
{
    /// <summary>The list of what the helper exports, in the form of Module.symvers.</summary>
    public const string SymbolVersions = "extra.symvers";

    /// <summary>The folder of target <paramref name="index"/> below that of an update.</summary>
    public static string FolderOf(string folder, int index) => Path.Combine(folder, index.ToString(CultureInfo.InvariantCulture));

    /// <summary>Writes those of one target into its folder below <paramref name="folder"/> and returns their paths. Equal updates have equal files.</summary>
    public static IReadOnlyList<string> Write(string folder, HelperSource helper, PrimaryObject primary)
    {
        ArgumentNullException.ThrowIfNull(helper);
        ArgumentNullException.ThrowIfNull(primary);
        folder = FolderOf(folder, helper.Target.Index);
        Directory.CreateDirectory(folder);
        List<string> files = [];
        Text("exports.S", helper.Assembly);
        Text(SymbolVersions, helper.SymbolVersions);
        Text("update_config.h", Configuration(helper, primary));
        Bytes("match.bin", helper.MatchBytes.ToArray());
        Bytes("code.o_shipped", ElfWriter.Write(primary.Code));
        return files;

        void Text(string name, string text) => Bytes(name, System.Text.Encoding.UTF8.GetBytes(text));

        void Bytes(string name, byte[] bytes)
        {
            files.Add(Path.Combine(folder, name));
            File.WriteAllBytes(files[^1], bytes);
        }
    }

    private static string Configuration(HelperSource helper, PrimaryObject primary)
    {
        string imports = string.Concat(primary.Namespaces.Select(name => $" MODULE_IMPORT_NS({name});"));
        return string.Create(CultureInfo.InvariantCulture, $"""
            /* Generated: what tells this update and this target from others. */
            #define KSPLICE_ID "{helper.Target.UpdateId}"
            #define KSPLICE_TARGET {(helper.Target.IsKernel ? "NULL" : $"\"{helper.Target.Name}\"")}
            #define KSPLICE_N_TARGETS {helper.Target.Count}
            #define KSPLICE_N_EXPORTS {helper.ExportCount}
            #define KSPLICE_LATE {(helper.Target.IsLate ? "true" : "false")}
            #define KSPLICE_PINNED {(primary.IsPinned ? "true" : "false")}
            #define KSPLICE_NAMESPACES{imports}

            """);
    }
}
