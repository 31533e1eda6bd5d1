// SPDX-License-Identifier: MIT
// Which files of a kernel tree a patch may touch. A unit's source, a header: these are compiled anew. A folder's Makefile may get
// new objects (ObjectList.cs). What else decides how the tree is built (Kconfig, scripts, the inputs of generated headers) went into
// the prepared tree and the running kernel long ago; a change there would be lost without a word, so it is refused. Texts are ignored.

using Ksplice.Build.Diagnostics;

namespace Ksplice.Build.Patching;

/// <summary>What a file of the source tree is to an update.</summary>
public enum PatchedFileKind
{
    /// <summary>A C file: a unit of its own if the configuration has it, or included by others.</summary>
    Source,

    /// <summary>A header: affects every unit that includes it.</summary>
    Header,

    /// <summary>Preprocessed assembly (.S).</summary>
    Assembly,

    /// <summary>The Makefile of a folder: says which objects are built there.</summary>
    Makefile,
}

/// <summary>Classifies paths of the source tree.</summary>
public static class PatchedPath
{
    private static readonly string[] s_ignoredFolders = ["Documentation/", "LICENSES/", "samples/", "debian/"];

    private static readonly string[] s_usedTools = ["tools/lib/", "tools/include/", "tools/arch/"];

    private static readonly string[] s_ignoredNames =
    [
        "MAINTAINERS",
        "CREDITS",
        "COPYING",
        "README",
        ".gitignore",
        ".gitattributes",
        ".mailmap",
        ".clang-format",
        ".cocciconfig",
        ".get_maintainer.ignore",
    ];

    private const string BootImage = "the boot image, which has run before the kernel: a change there changes nothing in what runs now";

    private static readonly (string Folder, string Image, string[] Except)[] s_images =
    [
        ("arch/x86/boot/", BootImage, []),
        ("drivers/firmware/efi/libstub/", BootImage, []),
        ("arch/x86/entry/vdso/", "the vDSO, which is mapped into processes", ["vma.c", "extable.c", "extable.h", "vdso32-setup.c"]),
        ("arch/x86/realmode/rm/", "the real-mode trampoline", []),
        ("arch/x86/purgatory/", "kexec's purgatory", []),
        ("usr/", "the built-in initramfs", []),
    ];

    /// <summary>
    /// Tells what <paramref name="path"/> is. Null where it is left alone: ignored with a report of
    /// <see cref="PatchingDiagnostics.FileIgnored"/>, or refused with an error.
    /// </summary>
    public static PatchedFileKind? Classify(string path, SourceLocation location, DiagnosticBag bag)
    {
        if (IgnoredBecause(path) is { } reason)
        {
            bag.Report(PatchingDiagnostics.FileIgnored, location, path, reason);
            return null;
        }
        if (RefusedBecause(path) is { } problem)
        {
            bag.Report(PatchingDiagnostics.BuildInput, location, path, problem);
            return null;
        }
        if (SeparateImage(path) is { } image)
        {
            bag.Report(PatchingDiagnostics.SeparateImage, location, path, image);
            return null;
        }
        if (IsMakefile(path))
            return PatchedFileKind.Makefile;
        switch (Path.GetExtension(path))
        {
            case ".c":
                return PatchedFileKind.Source;
            case ".h":
                return PatchedFileKind.Header;
            case ".S":
                return PatchedFileKind.Assembly;
            default:
                bag.Report(PatchingDiagnostics.BuildInput, location, path, "only .c, .h and .S files can be compiled into an update");
                return null;
        }
    }

    /// <summary>What <paramref name="path"/> is a part of, if that is not the running kernel; null if it is.</summary>
    internal static string? SeparateImage(string path)
    {
        foreach (var (folder, image, except) in s_images)
        {
            if (path.StartsWith(folder, StringComparison.Ordinal) && !except.Contains(path[folder.Length..], StringComparer.Ordinal))
                return image;
        }
        return null;
    }

    /// <summary>Why a change of <paramref name="path"/> does not count, or null if it does.</summary>
    internal static string? IgnoredBecause(string path)
    {
        foreach (var folder in s_ignoredFolders)
        {
            if (path.StartsWith(folder, StringComparison.Ordinal))
                return $"nothing in {folder} is part of a running kernel";
        }
        if (s_ignoredNames.Contains(Path.GetFileName(path), StringComparer.Ordinal) || Path.GetExtension(path) is ".rst" or ".txt" or ".md")
            return "it is not compiled";
        if (
            path.StartsWith("tools/", StringComparison.Ordinal)
            && !IsBuildTool(path)
            && !s_usedTools.Any(folder => path.StartsWith(folder, StringComparison.Ordinal))
        )
            return "nothing in this folder is part of a running kernel";
        if (IsOtherArchitecture(path))
            return "it is for another architecture";
        return null;
    }

    private static string? RefusedBecause(string path)
    {
        var name = Path.GetFileName(path);
        if (
            name.StartsWith("Kconfig", StringComparison.Ordinal)
            || name == ".config"
            || path.Contains("/configs/", StringComparison.Ordinal)
        )
            return "it decides the configuration, which is the running kernel's and stays as it is";
        if ((name.StartsWith("Makefile", StringComparison.Ordinal) || name is "Kbuild" or "Platform") && !IsMakefile(path))
            return BuildDecision;
        if (
            name.EndsWith(".lds", StringComparison.Ordinal)
            || name.EndsWith(".lds.S", StringComparison.Ordinal)
            || name.EndsWith(".lds.h", StringComparison.Ordinal)
        )
            return "it decides the layout of the linked kernel, which runs already";
        if (path.StartsWith("scripts/", StringComparison.Ordinal) || IsBuildTool(path))
            return "it belongs to the tools that the kernel was built with";
        if (
            path == "kernel/bounds.c"
            || name.StartsWith("asm-offsets", StringComparison.Ordinal)
            || name.EndsWith(".tbl", StringComparison.Ordinal)
        )
            return "headers are generated from it, which other units were built with";
        return null;
    }

    /// <summary>Why a change of what decides the build is refused.</summary>
    internal const string BuildDecision = "it decides what is built and how; an update is built as the running kernel was";

    // Of one folder, and not of the whole tree, as the top one and the architecture's are.
    private static bool IsMakefile(string path) =>
        Path.GetFileName(path) is "Makefile" or "Kbuild"
        && path.Contains('/', StringComparison.Ordinal)
        && path is not "arch/x86/Makefile"
        && !path.StartsWith("scripts/", StringComparison.Ordinal)
        && !path.StartsWith("tools/", StringComparison.Ordinal);

    private static bool IsBuildTool(string path) =>
        path.StartsWith("tools/objtool/", StringComparison.Ordinal)
        || path.StartsWith("tools/build/", StringComparison.Ordinal)
        || path.StartsWith("tools/scripts/", StringComparison.Ordinal)
        || path.StartsWith("tools/bpf/resolve_btfids/", StringComparison.Ordinal);

    /// <summary>True below arch/ in a folder that is not x86's.</summary>
    internal static bool IsOtherArchitecture(string path) =>
        path.StartsWith("arch/", StringComparison.Ordinal)
        && path.IndexOf('/', 5) > 0
        && !path.StartsWith("arch/x86/", StringComparison.Ordinal);
}
