// SPDX-License-Identifier: MIT
using Ksplice.Build.Files;
using Ksplice.Build.Tests.Patching;

namespace Ksplice.Build.Tests.Files;

public sealed class FileLockTests : IDisposable
{
    private readonly TestTree _tree = new();

    public void Dispose() => _tree.Dispose();

    [Fact]
    public async Task Waits_for_who_holds_it_and_for_nothing_else()
    {
        var cancellation = TestContext.Current.CancellationToken;
        TaskCompletionSource waits = new();
        var held = await FileLock.TakeAsync(_tree["lock"], () => Assert.Fail("nobody holds it"), cancellation);
        var second = FileLock.TakeAsync(_tree["lock"], waits.SetResult, cancellation);
        await waits.Task.WaitAsync(cancellation);
        held.Dispose();
        (await second).Dispose();
        // A file that cannot be made, as on a file system that may only be read.
        string name = new('a', 300);
        await Assert.ThrowsAnyAsync<IOException>(() =>
            FileLock.TakeAsync(_tree[name], () => Assert.Fail("it waits for nobody"), cancellation)
        );
    }
}
