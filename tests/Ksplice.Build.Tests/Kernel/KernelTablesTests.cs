// SPDX-License-Identifier: MIT
using Ksplice.Build.Kernel;

namespace Ksplice.Build.Tests.Kernel;

/// <summary>What a kernel and its modules say of their code. Matching/TrapTableTests has what matching makes of it.</summary>
public sealed class KernelTablesTests
{
    [Fact]
    public async Task A_module_beside_its_kernel_has_the_entries_of_both()
    {
        var module = (await ModulesUnderTest.LoadAsync("kvm")).Tables;
        var kernel = KernelUnderTest.Image.Tables;
        var both = module.Over(kernel);
        Has(module.JumpLabels, kernel.JumpLabels, both.JumpLabels);
        Has(module.StaticCalls, kernel.StaticCalls, both.StaticCalls);
        Has(module.Bugs, kernel.Bugs, both.Bugs);
        Has(module.Exceptions, kernel.Exceptions, both.Exceptions);
        Assert.Equal(kernel.Seals.Union(module.Seals).Order(), both.Seals.Order());
        foreach (var part in (KernelTables[])[module, kernel])
            Assert.Equal(part.Exceptions.Count, both.CountExceptions(part.Exceptions.Keys.Min(), part.Exceptions.Keys.Max() + 1));
        Assert.Equal(both.Exceptions.Count, both.CountExceptions(0, ulong.MaxValue));
    }

    private static void Has<T>(
        IReadOnlyDictionary<ulong, T> module,
        IReadOnlyDictionary<ulong, T> kernel,
        IReadOnlyDictionary<ulong, T> both
    )
    {
        Assert.NotEmpty(module);
        Assert.NotEmpty(kernel);
        Assert.Equal(module.Concat(kernel).OrderBy(entry => entry.Key), both.OrderBy(entry => entry.Key));
    }
}
