// SPDX-License-Identifier: MIT
// A key and its certificate, made by openssl as a site would.
namespace Ksplice.Tests;

/// <summary>Keys for tests.</summary>
internal static class SigningKey
{
    /// <summary>
    /// Makes NAME.pem and NAME.x509 in <paramref name="folder"/>; <paramref name="kind"/> is what <c>openssl req -newkey</c> takes.
    /// </summary>
    public static async Task<(string Key, string Certificate)> MakeAsync(string folder, string name, params string[] kind)
    {
        string key = Path.Combine(folder, name + ".pem"),
            certificate = Path.Combine(folder, name + ".x509");
        await CliWrap
            .Cli.Wrap("openssl")
            .WithArguments([
                "req",
                "-new",
                "-x509",
                "-newkey",
                .. kind.Length == 0 ? ["rsa:2048"] : kind,
                "-nodes",
                "-days",
                "1",
                "-subj",
                "/CN=" + name,
                "-keyout",
                key,
                "-out",
                certificate,
            ])
            .ExecuteAsync(TestContext.Current.CancellationToken);
        return (key, certificate);
    }
}
