// SPDX-License-Identifier: MIT
namespace Ksplice.Build.Tests.Kernel;

/// <summary>A root folder for programs, made of parts of this machine or of next to nothing.</summary>
internal sealed class RootFolder : IDisposable
{
    public RootFolder() => Directory.CreateDirectory(At("etc"));

    public string Path { get; } = Directory.CreateTempSubdirectory("ksplice-root-").FullName;

    public string At(string path) => System.IO.Path.Combine(Path, path);

    /// <summary>Takes folders of this machine, as links.</summary>
    public void Host(params string[] names)
    {
        foreach (string name in names)
        {
            if (Directory.Exists(At(name)))
                Directory.Delete(At(name));
            File.CreateSymbolicLink(At(name), new FileInfo("/" + name).LinkTarget ?? "/" + name);
        }
    }

    /// <summary>A shell, and other names of it.</summary>
    public void Programs(params IEnumerable<string> names)
    {
        Directory.CreateDirectory(At("usr/bin"));
        if (!File.Exists(At("usr/bin/sh")))
            File.Copy("/bin/busybox", At("usr/bin/sh"));
        foreach (string name in names)
            File.CreateSymbolicLink(At("usr/bin/" + name), "sh");
    }

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
