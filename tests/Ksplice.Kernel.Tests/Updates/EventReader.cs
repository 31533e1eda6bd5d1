// SPDX-License-Identifier: MIT
namespace Ksplice.Kernel.Tests.Updates;

/// <summary>
/// A thread that sleeps in eventfd_read, and that nobody wakes. A reader of /dev/kmsg would not do: each message wakes it, and a try
/// that fails writes one, so that it may be out of the function at the next.
/// </summary>
internal static class EventReader
{
    /// <summary>Starts it as $parked, and returns when it sleeps there.</summary>
    public const string Park = """
        held read 0 & parked=$!
        until [ "$(cat /proc/$parked/wchan)" = eventfd_read ]; do usleep 20000; done
        """;

    /// <summary>A change of the function.</summary>
    public static (string File, string Old, string New) Change { get; } =
        ("fs/eventfd.c", "(to) < sizeof(ucnt))\n\t\treturn -EINVAL;", "(to) < sizeof(ucnt))\n\t\treturn -EMSGSIZE;");

    /// <summary>Adds a patch with the change to a project.</summary>
    public static async Task WritePatchAsync(PatchProject project, string release) =>
        project.Write("eventfd.patch", await KernelTree.ChangeAsync(release, Change.File, (Change.Old, Change.New)));

    /// <summary>What it runs.</summary>
    public static Task<GuestFile> ProgramAsync() => UpdateGuest.ProgramAsync("held/held.c");
}
