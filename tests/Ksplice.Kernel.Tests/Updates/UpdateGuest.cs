using System.Text.Json;

namespace Ksplice.Kernel.Tests.Updates;

/// <summary>Guests with the command and packages in them.</summary>
internal static class UpdateGuest
{
    public static GuestFile Command { get; } = new(Repository.Command, "/bin/ksplice");

    /// <summary>Where a guest has a package.</summary>
    public static string Place(PatchProject project) => "/root/" + Path.GetFileName(project.Package);

    public static GuestFile Package(PatchProject project) => new(project.Package, Place(project));

    /// <summary>A module of the kernel, at /NAME.ko.</summary>
    public static GuestFile Module(string release, string path, string extension = ".ko") => new(
        Path.Combine(Build.Kernel.KernelCache.DefaultRoot, "images", release, "lib/modules", release, "kernel", path + extension), "/" + Path.GetFileName(path) + extension);

    /// <summary>The replaced functions that the manifest names.</summary>
    public static string[] Replaced(PatchProject project)
    {
        using var manifest = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(project.Package, "manifest.json")));
        return [.. manifest.RootElement.GetProperty("targets")[0].GetProperty("functions").EnumerateArray().Select(function => function.GetProperty("name").GetString()!).Order(StringComparer.Ordinal)];
    }

    /// <summary>What of the new code's needs the helper resolves, from the build's report.</summary>
    public static string MatchReport(PatchProject project) =>
        File.ReadAllText(Assert.Single(Directory.GetFiles(project.At("obj"), "match.txt", SearchOption.AllDirectories),
            report => report.Contains(Path.GetFileName(Path.GetDirectoryName(project.Package)!), StringComparison.Ordinal)));
}
