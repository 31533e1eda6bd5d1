// SPDX-License-Identifier: MIT
namespace Ksplice.Build.Files;

/// <summary>A lock among processes: whoever has a file open to himself holds it. It ends with the process, however that ends.</summary>
public static class FileLock
{
    private const int WouldBlock = 11; // EAGAIN

    /// <summary>
    /// Waits until nobody else holds the lock at <paramref name="path"/>, and takes it; the file stays. <paramref name="onWait"/> is
    /// called once, if there is something to wait for.
    /// </summary>
    /// <returns>The lock; disposing of it gives it up.</returns>
    /// <exception cref="IOException">The file or its folder cannot be made.</exception>
    /// <exception cref="OperationCanceledException">Somebody canceled while it waited.</exception>
    public static async Task<IDisposable> TakeAsync(string path, Action onWait, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(onWait);
        string folder = Path.GetDirectoryName(Path.GetFullPath(path))!;
        for (bool told = false; ; told = true)
        {
            cancellation.ThrowIfCancellationRequested();
            Directory.CreateDirectory(folder);
            try
            {
                return new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            }
            catch (IOException problem)
                when (problem.HResult == WouldBlock || (problem is DirectoryNotFoundException && Directory.Exists(folder)))
            {
                if (!told)
                    onWait();
                await Task.Delay(200, cancellation).ConfigureAwait(false);
            }
        }
    }
}
