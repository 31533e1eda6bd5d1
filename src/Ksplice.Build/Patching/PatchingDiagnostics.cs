// SPDX-License-Identifier: MIT
using Ksplice.Build.Diagnostics;

namespace Ksplice.Build.Patching;

/// <summary>What can be wrong with a patch, KSP1010 to KSP1099.</summary>
public static class PatchingDiagnostics
{
#pragma warning disable CS1591 // Titles and messages say it.
    public static readonly DiagnosticDescriptor PatchUnreadable = Error(
        "KSP1010",
        "The patch file cannot be read",
        "the patch file cannot be read: {0}"
    );

    public static readonly DiagnosticDescriptor PatchEmpty = Error(
        "KSP1011",
        "The patch is empty",
        "no change to any file was found; a patch in unified format is wanted (git diff, git format-patch, diff -u)"
    );

    public static readonly DiagnosticDescriptor PatchMalformed = Error("KSP1012", "The patch is malformed", "malformed patch: {0}");

    public static readonly DiagnosticDescriptor PathOutsideTree = Error(
        "KSP1013",
        "A path leaves the source tree",
        "'{0}' is refused: {1}"
    );

    public static readonly DiagnosticDescriptor UnsupportedChange = Error(
        "KSP1014",
        "The kind of change is not supported",
        "{0} is not supported{1}"
    );

    public static readonly DiagnosticDescriptor HunkDoesNotApply = Error(
        "KSP1016",
        "A hunk does not apply",
        "the hunk does not apply to {0}: {1}"
    );

    public static readonly DiagnosticDescriptor HunkAmbiguous = Error(
        "KSP1017",
        "A hunk fits in several places",
        "the hunk is not at line {1} of {0} and its context fits in several places (lines {2}); make the patch anew against this source"
    );

    public static readonly DiagnosticDescriptor AlreadyApplied = Error(
        "KSP1018",
        "The patch is in the source already",
        "{0} has this change already; the update would change nothing there"
    );

    public static readonly DiagnosticDescriptor HunkOffset = Info(
        "KSP1019",
        "A hunk applies at another line",
        "the hunk applies to {0} at line {1}, {2:+#;-#} from where the patch says"
    );

    public static readonly DiagnosticDescriptor NotCompiled = Info(
        "KSP1020",
        "A patched file is not in the configuration",
        "{0} is left out: nothing in the configuration of {1} is compiled from it"
    );

    public static readonly DiagnosticDescriptor NothingCompiled = Error(
        "KSP1021",
        "The patch changes nothing that is compiled",
        "no file that the kernel is compiled from is changed by the patch{0}"
    );

    public static readonly DiagnosticDescriptor FileMissing = Error(
        "KSP1022",
        "A patched file does not exist",
        "{0} is not in the source tree; {1}"
    );

    public static readonly DiagnosticDescriptor FileExists = Error(
        "KSP1023",
        "A new file exists already",
        "the patch creates {0}, which exists with other content"
    );

    public static readonly DiagnosticDescriptor DeletedFileDiffers = Error(
        "KSP1024",
        "A deleted file differs",
        "the patch deletes {0}, but the file has {1} more line(s) than the patch takes away"
    );

    public static readonly DiagnosticDescriptor BuildInput = Error(
        "KSP1025",
        "The patch changes how the kernel is built",
        "{0} is refused: {1}"
    );

    public static readonly DiagnosticDescriptor FileIgnored = Info("KSP1026", "A patched file is ignored", "{0} is left as it is: {1}");

    public static readonly DiagnosticDescriptor ModeIgnored = Info(
        "KSP1027",
        "A change of mode is ignored",
        "the new mode of {0} is ignored: it has no effect on the compiled kernel"
    );

    public static readonly DiagnosticDescriptor NotAPostTree = Error(
        "KSP1028",
        "The folder is not a post tree",
        "the post tree cannot be written to {0}, which holds other files; remove them or choose another folder"
    );

    public static readonly DiagnosticDescriptor SeparateImage = Error(
        "KSP1029",
        "The file is in an image of its own",
        "{0} is refused: it is not part of the running kernel's own code but of {1}"
    );

    public static readonly DiagnosticDescriptor CarriageReturns = Info(
        "KSP1030",
        "The patch has DOS line ends",
        "the headers of this file's patch end in CR LF; the CR is taken off every line of it"
    );

    public static readonly DiagnosticDescriptor PostTreeFailed = Error(
        "KSP1031",
        "The post tree cannot be written",
        "the post tree cannot be written: {0}"
    );

    public static readonly DiagnosticDescriptor UnitDeleted = Error(
        "KSP1032",
        "A compiled file is deleted",
        "the patch deletes {0}, which is compiled into the kernel; an update can replace code but not take a file away: "
            + "leave the file and empty its functions"
    );

    public static readonly DiagnosticDescriptor ReachesSeparateImage = Error(
        "KSP1033",
        "The patch reaches code that no update can replace",
        "the change of {0} changes {1} too, which is compiled into {2}; an update would leave the old code there"
    );

    public static readonly DiagnosticDescriptor AddedUnused = Error(
        "KSP1034",
        "A new source is not compiled",
        "the patch adds {0}, and {1}; its code would be missing"
    );

    public static readonly DiagnosticDescriptor PatchOrder = Warning(
        "KSP1035",
        "Patches are not applied in the order of their numbers",
        "{0} is applied before {1}, since names are compared letter by letter; "
            + "write the numbers with as many digits each, or list the patches"
    );
#pragma warning restore CS1591

    private static DiagnosticDescriptor Error(string id, string title, string message) => new(id, title, message, DiagnosticSeverity.Error);

    private static DiagnosticDescriptor Warning(string id, string title, string message) =>
        new(id, title, message, DiagnosticSeverity.Warning);

    private static DiagnosticDescriptor Info(string id, string title, string message) => new(id, title, message, DiagnosticSeverity.Info);
}
