// The published command in a guest that has busybox and, beside the command, only the libraries that it is linked to.
namespace Ksplice.Kernel.Tests.Guests;

public sealed class CommandInGuestTests(Guest guest)
{
    private static readonly GuestFile s_command = new(Repository.Command, "/bin/ksplice");

    [Fact]
    public async Task Starts_without_dotnet_and_finds_no_updates()
    {
        var result = await guest.RunAsync("ksplice view; ksplice view --json; ksplice undo 0123abcd; exit $?", s_command);
        result.MustEndWith(8);
        Assert.Equal(["no updates are loaded", "[]"], result.Lines);
        Assert.Contains("no update 0123abcd is loaded", result.Errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Refuses_who_is_not_root()
    {
        var result = await guest.RunAsync(
            """
            echo "nobody:x:65534:65534:nobody:/:/bin/sh" >/etc/passwd
            su nobody -s /bin/sh -c "ksplice apply /nowhere"
            """,
            s_command);
        result.MustEndWith(4);
        Assert.Contains("must be root", result.Errors, StringComparison.Ordinal);
    }
}
