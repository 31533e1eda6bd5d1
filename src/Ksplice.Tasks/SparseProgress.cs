// SPDX-License-Identifier: MIT
// How far a long stage is, for a plain log: a line now and then, and none where the work is short. MSBuild's terminal logger shows no
// message of a task while it runs; it shows the name of the target, and for how long it has run.
namespace Ksplice.Tasks;

/// <summary>Counts what is done, from any thread.</summary>
/// <param name="clock">The time.</param>
/// <param name="tell">Takes the count, at most once in <see cref="Pause"/> and never for the last.</param>
/// <param name="total">How many there are.</param>
internal sealed class SparseProgress(TimeProvider clock, Action<int> tell, int total)
{
    public static readonly TimeSpan Pause = TimeSpan.FromSeconds(10);

    private readonly Lock _lock = new();
    private long _told = clock.GetTimestamp();
    private int _done;

    /// <summary>One more is done.</summary>
    public void Add()
    {
        lock (_lock)
        {
            if (++_done == total || clock.GetElapsedTime(_told) < Pause)
                return;
            _told = clock.GetTimestamp();
            tell(_done);
        }
    }
}
