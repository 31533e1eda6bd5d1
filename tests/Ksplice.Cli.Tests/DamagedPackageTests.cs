// SPDX-License-Identifier: MIT
// A package that is not exactly what was built is refused before the kernel sees a byte of it. What makes a package
// damaged is the engine's to say (UpdatePackageTests); here it is that the command asks, and how it answers.
using Ksplice.Cli.Packages;

namespace Ksplice.Cli.Tests;

public sealed class DamagedPackageTests : IDisposable
{
    private static readonly TrustedCertificates s_nobody = new("/nowhere");
    private readonly TestPackage _package = new();

    public void Dispose() => _package.Dispose();

    [Fact]
    public void Refuses_a_module_that_differs_in_one_bit()
    {
        var path = Path.Combine(_package.Folder, TestPackage.Primary + ".ko");
        var bytes = File.ReadAllBytes(path);
        bytes[3] ^= 1;
        File.WriteAllBytes(path, bytes);
        var error = Assert.Throws<CommandException>(() => PackageFile.Open(_package.Folder, s_nobody));
        Assert.Equal(ExitCode.Damaged, error.Code);
        Assert.Contains($"{TestPackage.Primary}.ko differs from its digest", string.Join('\n', error.Details), StringComparison.Ordinal);
    }

    [Fact]
    public void Reads_folder_and_archive_alike()
    {
        foreach (string path in (string[])[_package.Folder, _package.Archive])
            Assert.Equal(
                TestPackage.Bytes(TestPackage.Helper + ".ko"),
                PackageFile.Open(path, s_nobody).Module(TestPackage.Helper).ToArray()
            );
    }

    [Fact]
    public void Tells_a_path_that_is_not_there_from_a_damaged_package() =>
        Assert.Equal(ExitCode.Usage, Assert.Throws<CommandException>(() => PackageFile.Open("/nowhere", s_nobody)).Code);
}
