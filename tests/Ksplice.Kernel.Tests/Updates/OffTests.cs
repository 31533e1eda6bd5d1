// SPDX-License-Identifier: MIT
// An operator keeps the core out by a parameter or by a word on the kernel's command line.
namespace Ksplice.Kernel.Tests.Updates;

public sealed class OffTests(Guest guest)
{
    // 125 is ECANCELED, by which the command tells it from what else keeps a module out.
    [Theory]
    [InlineData("noksplicer xnoksplice word=\"a noksplice\" ksplice.off=0", "off 125, on 0", null)]
    [InlineData("quiet noksplice", "off 125, on 125", "noksplice")]
    [InlineData("ksplice.off=1", "off 125, on 125", "ksplice.off")]
    public async Task The_core_does_not_load_where_it_is_off(string words, string expected, string? told)
    {
        var result = await guest.RunAsync(
            """
            insmod /ksplice.ko off=1
            off=$?
            insmod /ksplice.ko
            echo "off $off, on $?"
            dmesg | grep -o 'ksplice: not loaded.*' | sort -u
            """,
            ["--append", words],
            await TestModule.BuildCoreAsync(guest.Release)
        );
        result.MustEndWith(0);
        Assert.Equal(expected, result.Lines[0]);
        Assert.Contains("ksplice: not loaded: the parameter off is set", result.Lines);
        Assert.Equal(told is not null, result.Lines.Contains($"ksplice: not loaded: {told} is on the kernel's command line"));
    }
}
