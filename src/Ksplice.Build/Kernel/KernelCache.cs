namespace Ksplice.Build.Kernel;

/// <summary>The folder of prepared kernel trees.</summary>
public sealed class KernelCache
{
    /// <summary>Where prepared kernels are kept unless told otherwise: $KSPLICE_CACHE, $XDG_CACHE_HOME/ksplice or ~/.cache/ksplice.</summary>
    public static string DefaultRoot
    {
        get
        {
            if (Environment.GetEnvironmentVariable("KSPLICE_CACHE") is { Length: > 0 } named)
                return named;
            string caches = Environment.GetEnvironmentVariable("XDG_CACHE_HOME") is { Length: > 0 } xdg
                ? xdg
                : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".cache");
            return Path.Combine(caches, "ksplice");
        }
    }
}
