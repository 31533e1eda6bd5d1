// SPDX-License-Identifier: MIT
// One fixture for all tests that need a running kernel: build/vm boots a stock Debian kernel under qemu, runs a
// script in it and hands back what it wrote and its exit code. A warning, an oops or a hang of the guest is an exit
// code of its own (see build/vm), so that no test can overlook it.
using System.Text;
using CliWrap;
using CliWrap.Buffered;
using Ksplice.Kernel.Tests.Guests;

[assembly: AssemblyFixture(typeof(Guest))]

namespace Ksplice.Kernel.Tests.Guests;

/// <summary>What a script did in the guest.</summary>
/// <param name="ExitCode">The script's exit code, or one of build/vm's.</param>
/// <param name="Output">What it wrote to standard output.</param>
/// <param name="Errors">What it wrote to standard error, and build/vm's words: the console log after a failure.</param>
public sealed record GuestResult(int ExitCode, string Output, string Errors)
{
    /// <summary>The script succeeded but the kernel logged a warning or worse.</summary>
    public const int KernelMessages = 122;

    /// <summary>The kernel panicked (every warning makes it panic).</summary>
    public const int KernelDied = 123;

    /// <summary>The guest did not end in time.</summary>
    public const int Hung = 124;

    /// <summary>The output by lines, without empty ones.</summary>
    public IReadOnlyList<string> Lines => Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);

    /// <summary>Fails the test, with all that was written, unless the script ended as expected.</summary>
    public GuestResult MustEndWith(int exitCode)
    {
        Assert.True(exitCode == ExitCode, $"exit code {ExitCode}, expected {exitCode}\n{Output}\n{Errors}");
        return this;
    }
}

/// <summary>A file or folder of this machine that the guest gets.</summary>
public sealed record GuestFile(string HostPath, string GuestPath);

/// <summary>
/// Guests of one kernel release. Without an image there is nothing to boot: then the tests are skipped, unless CI=true,
/// where they fail.
/// </summary>
public sealed class Guest
{
    private readonly string? _missing;

    public Guest()
    {
        if (!File.Exists(StockKernel.Image))
            _missing = $"no unpacked kernel image {StockKernel.Image}: run build/setup";
    }

    /// <summary>The kernel that guests boot.</summary>
    public string Release { get; } = StockKernel.Release;

    /// <summary>The unpacked image package: boot/ and lib/modules/.</summary>
    public string Image => StockKernel.Folder;

    /// <summary>Runs a busybox sh script in a fresh guest.</summary>
    public Task<GuestResult> RunAsync(string script, params GuestFile[] files) => RunAsync(script, [], files);

    /// <summary>The same with options of build/vm, such as --append, --timeout or --allow.</summary>
    public async Task<GuestResult> RunAsync(string script, IReadOnlyList<string> options, params GuestFile[] files)
    {
        if (_missing is not null)
        {
            Assert.False(Environment.GetEnvironmentVariable("CI") == "true", _missing);
            Assert.Skip(_missing);
        }

        var result = await Cli.Wrap(Repository.At("build", "vm"))
            .WithArguments([
                "--release",
                Release,
                .. files.SelectMany(f => new[] { "--add", $"{f.HostPath}:{f.GuestPath}" }),
                .. options,
                "-",
            ])
            .WithStandardInputPipe(PipeSource.FromString(script))
            .WithValidation(CommandResultValidation.None)
            .ExecuteBufferedAsync(Encoding.UTF8, TestContext.Current.CancellationToken);
        return new GuestResult(result.ExitCode, result.StandardOutput, result.StandardError);
    }
}
