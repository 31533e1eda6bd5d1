// SPDX-License-Identifier: MIT
// Each sample from its source to a verdict in a booted kernel: built where it stands, applied and undone twice over.
namespace Ksplice.Kernel.Tests.Updates;

public sealed class SampleTests(Guest guest)
{
    [Theory]
    [InlineData("a-smaps-pages", "show_smap")]
    [InlineData("b-kernel-pages", "m_next", "m_start")]
    [InlineData("c-kmsg-permission", "devkmsg_read")]
    [InlineData("d-loop-backing-file", "loop_attr_do_show_backing_file")]
    public async Task A_sample_replaces_its_functions_shows_its_effect_and_takes_it_back(string sample, params string[] functions)
    {
        var project = await UpdateGuest.SampleAsync(sample, guest.Release);
        Assert.Equal(functions, UpdateGuest.Replaced(project));

        var result = await guest.RunAsync(
            $"sh /samples/sample/prove.sh {UpdateGuest.Place(project)}",
            ["--module", "loop"],
            UpdateGuest.Command,
            UpdateGuest.Package(project),
            new(project.At("prove.sh"), "/samples/sample/prove.sh"),
            new(Repository.At("samples", "proof.sh"), "/samples/proof.sh")
        );
        result.MustEndWith(0);
        Assert.Equal(2, result.Lines.Count(line => line.StartsWith("applied: ", StringComparison.Ordinal)));
        Assert.Equal(2, result.Lines.Count(line => line.StartsWith("undone: ", StringComparison.Ordinal)));
        // The core measures how long the machine stood still.
        Assert.Equal(2, result.Lines.Count(line => System.Text.RegularExpressions.Regex.IsMatch(line, @"^pause: +\d+\.\d+ ms$")));
        foreach (string function in functions)
            Assert.Contains(result.Lines, line => line.StartsWith($"function:  {function} ", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Nothing_in_a_package_knows_an_address_of_the_kernel()
    {
        var project = await UpdateGuest.SampleAsync("b-kernel-pages", guest.Release);
        // m_start and m_next stand several times in kallsyms; where they are in the image is in the report and in no file of the package.
        var addresses = UpdateGuest
            .MatchReport(project)
            .Split('\n')
            .Where(line => line.StartsWith("ffffffff", StringComparison.Ordinal))
            .Select(line => Convert.ToUInt64(line[..16], 16))
            .ToList();
        Assert.True(addresses.Count >= 4, UpdateGuest.MatchReport(project));
        foreach (string file in Directory.GetFiles(project.Package, "*.ko"))
        {
            var bytes = File.ReadAllBytes(file);
            foreach (ulong address in addresses)
            {
                Assert.Equal(-1, bytes.AsSpan().IndexOf(BitConverter.GetBytes(address)));
                Assert.Equal(-1, bytes.AsSpan().IndexOf(BitConverter.GetBytes((uint)address)));
            }
        }
    }
}
