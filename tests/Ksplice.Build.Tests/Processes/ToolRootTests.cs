// SPDX-License-Identifier: MIT
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Processes;
using Ksplice.Build.Tests.Kernel;

namespace Ksplice.Build.Tests.Processes;

public sealed class ToolRootTests : IDisposable
{
    private readonly RootFolder _root = new();

    public void Dispose() => _root.Dispose();

    private async Task<(ToolResult? Result, DiagnosticBag Said)> RunAsync(Tool tool)
    {
        DiagnosticBag diagnostics = [];
        var result = await (tool with { Root = _root.Path }).RunAsync(diagnostics, TestContext.Current.CancellationToken);
        return (result, diagnostics);
    }

    private static Tool Shell(string script) => new("sh", "-c", script);

    private async Task<string> OutputAsync(string script)
    {
        var (result, said) = await RunAsync(Shell(script) with { Folder = _root.Path });
        Assert.Empty(said);
        Assert.True(result!.Succeeded, result.Said);
        return result.Output;
    }

    [Fact]
    public async Task A_program_sees_the_roots_system_and_this_machines_other_folders()
    {
        _root.Host("usr", "bin", "sbin", "lib", "lib64");
        File.WriteAllText(_root.At("etc/of-the-root"), "its own");
        Assert.Equal("its own", await OutputAsync("cat /etc/of-the-root"));
        Assert.Equal("no\n", await OutputAsync("test -e /etc/debian_version || echo no"));
        // The folder of the root is one for temporary files: seen at its path, and written.
        Assert.Equal(_root.Path + "\n", await OutputAsync("pwd; echo made >made"));
        Assert.Equal("made\n", File.ReadAllText(_root.At("made")));
        Assert.Equal("self\n", await OutputAsync("test -e /proc/self/status -a -c /dev/null && echo self"));
        // The root itself is not written.
        Assert.Equal("refused\n", await OutputAsync("touch /etc/x 2>/dev/null || echo refused"));
        Assert.False(File.Exists(_root.At("etc/x")));
    }

    [Fact]
    public async Task What_names_programs_and_libraries_of_this_machine_does_not_reach_the_root()
    {
        _root.Host("usr", "bin", "sbin", "lib", "lib64");
        Environment.SetEnvironmentVariable("HOSTLDFLAGS", "-L/none");
        try
        {
            string[] lines = (await OutputAsync("env")).Split('\n');
            Assert.Contains("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", lines);
            Assert.DoesNotContain(lines, line => line.StartsWith("HOSTLDFLAGS", StringComparison.Ordinal));
        }
        finally
        {
            Environment.SetEnvironmentVariable("HOSTLDFLAGS", null);
        }
    }

    [Fact]
    public async Task A_failure_of_the_program_is_its_own()
    {
        _root.Host("usr", "bin", "sbin", "lib", "lib64");
        var (result, said) = await RunAsync(Shell("echo out; echo err >&2; exit 3"));
        Assert.Equal((3, "out\n", "err\n"), (result!.ExitCode, result.Output, result.Errors));
        Assert.Empty(said);
    }

    [Fact]
    public async Task A_program_that_the_root_lacks_is_named()
    {
        // Nothing at all is in it.
        var (result, said) = await RunAsync(new("make", "all") { MayFail = true });
        Assert.Null(result);
        Assert.Equal(
            $"'make' cannot be run: it is not in the toolchain's root {_root.Path}; install the package make there",
            Assert.Single(said, error => error.Id == "KSP2014").Message
        );
    }

    /// <summary>As an ordinary user's, where no user namespaces may be made: real bwrap refuses.</summary>
    [Fact]
    [System.Runtime.Versioning.SupportedOSPlatform("linux")]
    public async Task A_root_that_cannot_be_entered_is_refused()
    {
        _root.Host("usr", "bin", "sbin", "lib", "lib64");
        string path = Environment.GetEnvironmentVariable("PATH")!;
        string forbidden = _root.At("forbidden");
        Directory.CreateDirectory(forbidden);
        string wrapper = Path.Combine(forbidden, "bwrap");
        const string Limit = "echo 0 >/proc/sys/user/max_user_namespaces";
        const string AsUser = "setpriv --bounding-set=-all --inh-caps=-all --no-new-privs --securebits=+noroot,+noroot_locked";
        File.WriteAllText(wrapper, $"#!/bin/sh\nPATH={path}\nexec unshare -r sh -c '{Limit}; exec {AsUser} bwrap \"$@\"' sh \"$@\"\n");
        File.SetUnixFileMode(wrapper, UnixFileMode.UserRead | UnixFileMode.UserExecute);
        Environment.SetEnvironmentVariable("PATH", forbidden + ":" + path);
        try
        {
            var (result, said) = await RunAsync(new("true"));
            Assert.Null(result);
            string message = Assert.Single(said, error => error.Id == "KSP2073").Message;
            Assert.Contains($"no program can be run in the toolchain's root {_root.Path}: ", message, StringComparison.Ordinal);
            Assert.Contains("user.max_user_namespaces", message, StringComparison.Ordinal);
        }
        finally
        {
            Environment.SetEnvironmentVariable("PATH", path);
        }
    }

    [Fact]
    public async Task Without_bubblewrap_its_package_is_named()
    {
        string path = Environment.GetEnvironmentVariable("PATH")!;
        Environment.SetEnvironmentVariable("PATH", "/none");
        try
        {
            var (_, said) = await RunAsync(new("true"));
            Assert.EndsWith("install the package bubblewrap", Assert.Single(said).Message, StringComparison.Ordinal);
        }
        finally
        {
            Environment.SetEnvironmentVariable("PATH", path);
        }
    }

    [Fact]
    public void Of_the_roots_own_folders_nothing_of_this_machine_is_seen()
    {
        Assert.True(ToolRoot.Shows("", "/usr/src/x"));
        Assert.True(ToolRoot.Shows(_root.Path, _root.At("x")));
        Assert.False(ToolRoot.Shows(_root.Path, "/usr/src/x"));
        Assert.False(ToolRoot.Shows(_root.Path, "/lib/modules/x"));
        _root.Host("usr");
        Assert.True(ToolRoot.Shows(_root.Path, "/usr/src/x"));
    }
}
