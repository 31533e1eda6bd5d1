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
        Assert.Contains($"update:     {TestPackage.Id} applied (test)\n", Output, StringComparison.Ordinal);
        Assert.DoesNotContain("NOT APPLIED", Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Says_the_same_as_json()
    {
        using TestPackage other = new("6.1.0-1-other");
        await RunAsync("enable", other.Folder);
        ForgetOutput();
        Assert.Equal(ExitCode.Ok, await RunAsync("status", "--json"));
        Schema.Check("status.schema.json", Output);
        var state = JsonDocument.Parse(Output).RootElement;
        Assert.Equal(TestPackage.Release, state.GetProperty("kernel").GetString());
        Assert.False(state.GetProperty("coreLoaded").GetBoolean());
        Assert.False(state.GetProperty("signaturesDemanded").GetBoolean());
        Assert.Equal(0, state.GetProperty("updates").GetArrayLength());
        var enabled = state.GetProperty("enabled")[0];
        Assert.Equal("6.1.0-1-other", enabled.GetProperty("kernel").GetString());
        Assert.False(enabled.GetProperty("missing").GetBoolean());
    }

    [Theory]
    [InlineData("noksplice", "noksplice")]
    [InlineData("quiet ksplice.off splash", "ksplice.off")]
    [InlineData("ksplice.off=1", "ksplice.off")]
    [InlineData("ksplice.off=\"yes\"", "ksplice.off")]
    [InlineData("ksplice.off=On", "ksplice.off")]
    [InlineData("noksplicer xnoksplice word=\"a noksplice\" ksplice.off=0 ksplice.off=off ksplice.off=", null)]
    public async Task Says_by_which_word_on_the_kernels_command_line_the_core_is_kept_out(string words, string? expected)
    {
        Kernel.Words = words;
        await RunAsync("enable", Package.Folder);
        ForgetOutput();
        Assert.Equal(ExitCode.Refused, await RunAsync("status"));
        Assert.Contains(
            expected is null ? "core:       not loaded\n" : $"core:       kept out: {expected} is on the kernel's command line\n",
            Output,
            StringComparison.Ordinal
        );
        Assert.Contains("NOT APPLIED", Output, StringComparison.Ordinal);
        ForgetOutput();
        await RunAsync("status", "--json");
        Schema.Check("status.schema.json", Output);
        bool isTold = JsonDocument.Parse(Output).RootElement.TryGetProperty("coreKeptOutBy", out var word);
        Assert.Equal(expected, isTold ? word.GetString() : null);
        ForgetOutput();
        await RunAsync("status", "--prometheus");
        Assert.Contains($"ksplice_core_kept_out {(expected is null ? 0 : 1)}\n", Output, StringComparison.Ordinal);
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
        Schema.Check("status.schema.json", Output);
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

    // Of the core's files some are root's. Names come from what apply left for everybody.
    [Fact]
    public async Task Shows_those_who_are_not_root_what_there_is_for_them_and_says_that_it_is_not_all()
    {
        await RunAsync("apply", Package.Folder);
        Kernel.Root = false;
        ForgetOutput();
        Assert.Equal(ExitCode.Ok, await RunAsync("view"));
        Assert.Matches($"{TestPackage.Id} +applied +- +[0-9.]+ ms +ok +test", Output);
        Assert.Equal(ExitCode.Ok, await RunAsync("view", TestPackage.Id));
        Assert.Contains($"id:        {TestPackage.Id}\nname:      test\n", Output, StringComparison.Ordinal);
        Assert.Contains("tries:     1\n", Output, StringComparison.Ordinal);
        Assert.Contains("the kernel shows root more", Errors, StringComparison.Ordinal);
        ForgetOutput();
        Assert.Equal(ExitCode.Ok, await RunAsync("view", "--json"));
        Assert.Equal(
            ["id", "name", "advisories", "signature", "stage", "busy", "abortCause", "tries", "pauseNanoseconds"],
            JsonDocument.Parse(Output).RootElement[0].EnumerateObject().Select(property => property.Name)
        );

        ForgetOutput();
        Assert.Equal(ExitCode.NotRoot, await RunAsync("status"));
        Assert.Contains($"update:     {TestPackage.Id} applied (test)\n", Output, StringComparison.Ordinal);
        Assert.Contains("this is not all", Errors, StringComparison.Ordinal);
        ForgetOutput();
        Assert.Equal(ExitCode.NotRoot, await RunAsync("status", "--json"));
        Schema.Check("status.schema.json", Output);
        Assert.False(JsonDocument.Parse(Output).RootElement.GetProperty("complete").GetBoolean());
        ForgetOutput();
        Assert.Equal(ExitCode.NotRoot, await RunAsync("status", "--prometheus"));
        Assert.DoesNotContain("ksplice_ok", Output, StringComparison.Ordinal);
        Assert.DoesNotContain("ksplice_update_functions", Output, StringComparison.Ordinal);
        Assert.Contains($"ksplice_update_applied{{id=\"{TestPackage.Id}\"}} 1\n", Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Prints_metrics_as_prometheus_reads_them()
    {
        await RunAsync("enable", Package.Folder);
        ForgetOutput();
        Assert.Equal(ExitCode.Refused, await RunAsync("status", "--prometheus"));
        Assert.Contains($"ksplice_enabled_missing{{id=\"{TestPackage.Id}\"}} 1\n", Output, StringComparison.Ordinal);
        Assert.Contains("ksplice_ok 0\n", Output, StringComparison.Ordinal);
        await RunAsync("restore");
        Kernel.Tell(TestPackage.Id, "show_smap 0x1 0x2 vmlinux jump", "show_smap", "dead");
        ForgetOutput();
        Assert.Equal(ExitCode.Refused, await RunAsync("status", "--prometheus"));
        // Each metric has its help, its type and its samples, in this order.
        Assert.Matches(
            @"\A(# HELP (\w+) [^\n]+\n# TYPE \2 gauge\n(\2(\{\w+=""[^""\n]*""(,\w+=""[^""\n]*"")*\})? [0-9.e-]+\n)+)+\z",
            Output
        );
        foreach (
            var sample in (string[])
                [
                    "ksplice_core_loaded 1",
                    $"ksplice_update_info{{id=\"{TestPackage.Id}\",stage=\"applied\",name=\"test\",last_request=\"ok\"}} 1",
                    $"ksplice_update_applied{{id=\"{TestPackage.Id}\"}} 1",
                    $"ksplice_update_functions{{id=\"{TestPackage.Id}\"}} 1",
                    $"ksplice_update_functions_overridden{{id=\"{TestPackage.Id}\"}} 1",
                    $"ksplice_update_pause_seconds{{id=\"{TestPackage.Id}\"}} 0.000123456",
                    $"ksplice_enabled_missing{{id=\"{TestPackage.Id}\"}} 0",
                    "ksplice_tracer_dead 1",
                    "ksplice_ok 0",
                ]
        )
            Assert.Contains(sample + "\n", Output, StringComparison.Ordinal);
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
