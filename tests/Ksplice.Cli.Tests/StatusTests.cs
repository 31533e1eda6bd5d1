// SPDX-License-Identifier: MIT
// What monitoring asks: is every update in place that is to be?
using System.Text.Json;

namespace Ksplice.Cli.Tests;

public sealed class StatusTests : CommandFixture
{
    [Fact]
    public async Task Tells_of_an_enabled_update_that_is_not_applied()
    {
        Assert.Equal(ExitCode.Ok, await RunAsync("status"));
        Assert.Contains("core:       not loaded", Output, StringComparison.Ordinal);
        await RunAsync("enable", Package.Folder);
        Assert.Equal(ExitCode.Refused, await RunAsync("status"));
        Assert.Contains($"at boot:    {TestPackage.Id} for {TestPackage.Release}, NOT APPLIED", Output, StringComparison.Ordinal);
        await RunAsync("restore");
        ForgetOutput();
        Assert.Equal(ExitCode.Ok, await RunAsync("status"));
        Assert.Contains($"update:     {TestPackage.Id} applied\n", Output, StringComparison.Ordinal);
        Assert.DoesNotContain("NOT APPLIED", Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Says_the_same_as_json()
    {
        using TestPackage other = new("6.1.0-1-other");
        await RunAsync("enable", other.Folder);
        ForgetOutput();
        Assert.Equal(ExitCode.Ok, await RunAsync("status", "--json"));
        var state = JsonDocument.Parse(Output).RootElement;
        Assert.Equal(TestPackage.Release, state.GetProperty("kernel").GetString());
        Assert.False(state.GetProperty("coreLoaded").GetBoolean());
        Assert.False(state.GetProperty("signaturesDemanded").GetBoolean());
        Assert.Equal(0, state.GetProperty("updates").GetArrayLength());
        var enabled = state.GetProperty("enabled")[0];
        Assert.Equal("6.1.0-1-other", enabled.GetProperty("kernel").GetString());
        Assert.False(enabled.GetProperty("missing").GetBoolean());
    }

    // K20: it is all that is left of an update that was undone.
    [Fact]
    public async Task Shows_data_modules_also_without_the_core()
    {
        using var package = TestPackage.WithData("d1");
        await RunAsync("apply", package.Folder);
        Kernel.UnloadErrors[TestPackage.Data] = 11;
        await RunAsync("undo", TestPackage.Id);
        Assert.False(Kernel.IsLoaded("ksplice"));
        ForgetOutput();
        Assert.Equal(ExitCode.Ok, await RunAsync("status"));
        Assert.Contains($"data:       {TestPackage.Data}, strings and constants", Output, StringComparison.Ordinal);
        ForgetOutput();
        Assert.Equal(ExitCode.Ok, await RunAsync("status", "--json"));
        var data = Assert.Single(JsonDocument.Parse(Output).RootElement.GetProperty("dataModules").EnumerateArray());
        Assert.Equal(
            (TestPackage.Id, TestPackage.Data, "d1"),
            (data.GetProperty("id").GetString(), data.GetProperty("module").GetString(), data.GetProperty("digest").GetString())
        );
    }

    [Fact]
    public async Task Takes_an_update_whose_manifest_is_damaged_for_missing()
    {
        await RunAsync("enable", Package.Folder);
        File.WriteAllText(Path.Combine(Assert.Single(Kernel.Enabled.All).Folder, "manifest.json"), "{");
        Assert.Equal(ExitCode.Refused, await RunAsync("status"));
        Assert.Contains("its damaged manifest", Output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("", "alive", ExitCode.Ok)]
    [InlineData("show_smap", "alive", ExitCode.Refused, "show_smap is overridden by a livepatch that came later")]
    [InlineData("", "dead", ExitCode.Ok)]
    public async Task Tells_of_new_code_that_is_applied_and_does_not_run_and_of_a_dead_tracer(
        string overridden,
        string ftrace,
        ExitCode expected,
        params string[] troubles
    )
    {
        await RunAsync("apply", Package.Folder);
        Kernel.Tell(TestPackage.Id, "show_smap 0x1 0x2 vmlinux jump\nshow_map 0x3 0x4 vmlinux tracer", overridden, ftrace);
        ForgetOutput();
        Assert.Equal(expected, await RunAsync("status"));
        Assert.Equal(
            troubles,
            Output
                .Split('\n')
                .Where(line => line.Contains("NOT IN FORCE: ", StringComparison.Ordinal))
                .Select(line => line.Split("NOT IN FORCE: ")[1])
        );
        Assert.Equal(ftrace == "dead", Output.Contains("tracer:     dead", StringComparison.Ordinal));

        ForgetOutput();
        Assert.Equal(ExitCode.Ok, await RunAsync("view", TestPackage.Id));
        Assert.Contains("function:  show_smap 0x1 -> 0x2 (vmlinux)\n", Output, StringComparison.Ordinal);
        Assert.Contains("function:  show_map 0x3 -> 0x4 (vmlinux, through the function tracer)\n", Output, StringComparison.Ordinal);
        Assert.Equal(
            troubles,
            Output
                .Split('\n')
                .Where(line => line.StartsWith("NOT IN FORCE: ", StringComparison.Ordinal))
                .Select(line => line.Split("NOT IN FORCE: ")[1])
        );

        ForgetOutput();
        Assert.Equal(expected, await RunAsync("status", "--json"));
        var state = JsonDocument.Parse(Output).RootElement;
        Assert.Equal(ftrace, state.GetProperty("ftrace").GetString());
        var update = state.GetProperty("updates")[0];
        Assert.Equal(
            ["jump", "tracer"],
            update.GetProperty("functions").EnumerateArray().Select(function => function.GetProperty("way").GetString())
        );
        Assert.Equal(overridden, string.Join(' ', update.GetProperty("overridden").EnumerateArray()));

        await RunAsync("undo", TestPackage.Id);
        Assert.Equal(ExitCode.Ok, await RunAsync("status"));
    }

    [Fact]
    public async Task Says_nothing_of_what_an_older_core_does_not_tell()
    {
        await RunAsync("apply", Package.Folder);
        ForgetOutput();
        Assert.Equal(ExitCode.Ok, await RunAsync("status", "--json"));
        var state = JsonDocument.Parse(Output).RootElement;
        Assert.False(state.TryGetProperty("ftrace", out _));
        Assert.False(state.GetProperty("updates")[0].TryGetProperty("overridden", out _));
        Assert.False(state.GetProperty("updates")[0].GetProperty("functions")[0].TryGetProperty("way", out _));
    }
}
