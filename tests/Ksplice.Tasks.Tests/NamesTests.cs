// SPDX-License-Identifier: MIT
// MSBuild takes any name for a property or item. What nobody reads is told.
namespace Ksplice.Tasks.Tests;

public sealed class NamesTests
{
    [Fact]
    public async Task Misspelt_names_and_patterns_without_a_file_are_warned_of()
    {
        using PatchProject project = new(Patches.Release, ("UpdateSiningKey", "site.pem"));
        project.Write("smaps.patch", Patches.Smaps);
        project.Write(
            "Directory.Build.targets",
            """
            <Project>
              <PropertyGroup>
                <KernelImages>/boot/vmlinuz</KernelImages>
                <UpdatedBy>me</UpdatedBy>
                <updatename>smaps</updatename>
              </PropertyGroup>
              <ItemGroup>
                <KernelPatches Include="smaps.patch" />
                <KernelPatch Include="patchs/*.patch;**/sm?ps.patch" Exclude="smaps.patch" />
                <KernelPatch Include="none/*.patch" Condition="'$(Other)' == 'true'" />
              </ItemGroup>
            </Project>
            """
        );
        var result = (await project.BuildAsync("-p:UpdateSigningKeys=other.pem", "-t:KspliceConfigure")).MustSucceed();
        Assert.Equal(
            [
                "KSP2029 the Sdk reads no item 'KernelPatches'; the nearest that it reads is 'KernelPatch'",
                "KSP2029 the Sdk reads no property 'KernelImages'; the nearest that it reads is 'KernelImage'",
                "KSP2029 the Sdk reads no property 'UpdateSigningKeys'; the nearest that it reads is 'UpdateSigningKey'",
                "KSP2029 the Sdk reads no property 'UpdateSiningKey'; the nearest that it reads is 'UpdateSigningKey'",
                "KSP2040 'patchs/*.patch' of KernelPatch matches no file",
            ],
            new BuildLog(result).Warnings.Select(warning => $"{warning.Id} {warning.Message}").Order(StringComparer.Ordinal)
        );
        Assert.Contains(project.At("Directory.Build.targets") + "(3,6): warning KSP2029", result.Output, StringComparison.Ordinal);
        // With an address of the pages, plain logs say it too.
        result = await project.BuildAsync("-p:KspliceHelpLink=https://pages.example/rules", "-t:KspliceConfigure");
        Assert.Contains("matches no file (https://pages.example/rules/KSP2040.md)", result.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Where_a_signature_is_required_a_project_without_a_key_fails()
    {
        using PatchProject project = new(Patches.Release);
        project.Write("smaps.patch", Patches.Smaps);
        (await project.BuildAsync()).MustSucceed();
        string error = (await project.BuildAsync("-p:RequireSignature=true")).MustFailWith("KSP6050");
        Assert.Contains("names no UpdateSigningKey", error, StringComparison.Ordinal);
    }
}
