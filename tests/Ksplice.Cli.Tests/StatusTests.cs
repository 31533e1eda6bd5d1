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

    [Fact]
    public async Task Takes_an_update_whose_manifest_is_damaged_for_missing()
    {
        await RunAsync("enable", Package.Folder);
        File.WriteAllText(Path.Combine(Assert.Single(Kernel.Enabled.All).Folder, "manifest.json"), "{");
        Assert.Equal(ExitCode.Refused, await RunAsync("status"));
        Assert.Contains("its damaged manifest", Output, StringComparison.Ordinal);
    }
}
