// SPDX-License-Identifier: MIT
namespace Ksplice.Tasks.Tests;

public sealed class ProgressTests
{
    private sealed class Clock : TimeProvider
    {
        public long Seconds { get; set; }

        public override long TimestampFrequency => 1;

        public override long GetTimestamp() => Seconds;
    }

    [Fact]
    public void A_line_every_ten_seconds_and_none_for_the_last()
    {
        Clock clock = new();
        List<int> told = [];
        SparseProgress progress = new(clock, told.Add, 60);
        for (int i = 0; i < 60; i++)
        {
            clock.Seconds += 3;
            progress.Add();
        }
        Assert.Equal([4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56], told);
    }

    [Fact]
    public void Nothing_is_said_of_short_work()
    {
        SparseProgress progress = new(new Clock(), _ => Assert.Fail("told"), 1000);
        for (int i = 0; i < 1000; i++)
            progress.Add();
    }
}
