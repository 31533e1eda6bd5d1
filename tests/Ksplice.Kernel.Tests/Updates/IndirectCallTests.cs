// SPDX-License-Identifier: MIT
// No indirect call in the core may lead to a function of the kernel, which may have no ENDBR. All of them are listed, each with
// the reason why it is sound.
using System.Globalization;
using Iced.Intel;
using Ksplice.Build.Elf;

namespace Ksplice.Kernel.Tests.Updates;

public sealed class IndirectCallTests
{
    private async Task<ElfObject> CoreAsync()
    {
        var core = await TestModule.BuildCoreAsync(await NewerSeries.ReleaseAsync());
        return ElfObject.Read(await File.ReadAllBytesAsync(core.HostPath, TestContext.Current.CancellationToken), "ksplice.ko");
    }

    private static IEnumerable<ElfSymbol> Functions(ElfObject elf, ElfSection section) =>
        elf.Symbols.Where(symbol => symbol.Type == ElfSymbolType.Function && symbol.SectionIndex == section.Index && symbol.Size != 0);

    private static string Place(ElfObject elf, ElfSection section, ulong offset) =>
        Functions(elf, section).First(function => offset - function.Value < function.Size).Name.Split('.')[0];

    private static IEnumerable<Instruction> Instructions(ElfSection section)
    {
        var decoder = Decoder.Create(64, new ByteArrayCodeReader(section.Data.ToArray()));
        while (decoder.IP < section.Size)
            yield return decoder.Decode();
    }

    [Fact]
    public async Task Each_is_listed_and_nothing_else_is()
    {
        var elf = await CoreAsync();
        List<string> places = [];
        foreach (var section in elf.Sections.Where(section => section is { IsExecutable: true, Size: > 0 }))
        {
            var thunks = section
                .Relocations.Where(relocation =>
                    elf.Symbols[relocation.SymbolIndex].Name.StartsWith("__x86_indirect_thunk_", StringComparison.Ordinal)
                )
                .Select(relocation => relocation.Offset)
                .ToHashSet();
            foreach (var instruction in Instructions(section))
            {
                bool reached = thunks.Remove(instruction.NextIP - 4);
                if (reached || instruction.FlowControl is FlowControl.IndirectCall or FlowControl.IndirectBranch)
                    places.Add(Place(elf, section, instruction.IP));
            }
            // A thunk that is not the target of a call or a jump would be one that was not understood.
            Assert.Empty(thunks);
        }

        var lines = await File.ReadAllLinesAsync(
            Repository.At("tests", "Ksplice.Kernel.Tests", "indirect", "calls.txt"),
            TestContext.Current.CancellationToken
        );
        var listed = lines
            .Where(line => line.Length != 0 && line[0] != '#')
            .Select(line => line.Split(' ', 3, StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
            .ToList();
        Assert.All(listed, line => Assert.True(line.Length == 3 && line[2].Length != 0, $"{line[0]}: no reason"));
        Assert.Equal(
            listed.Select(line => $"{line[0]} {int.Parse(line[1], CultureInfo.InvariantCulture)}").Order(StringComparer.Ordinal),
            places.CountBy(place => place).Select(place => $"{place.Key} {place.Value}").Order(StringComparer.Ordinal)
        );
    }

    [Fact]
    public async Task Each_function_whose_address_is_taken_keeps_its_ENDBR()
    {
        var elf = await CoreAsync();
        var code = elf.Sections.Where(section => section is { IsExecutable: true, Size: > 0 }).ToDictionary(section => section.Index);
        HashSet<(int Section, ulong Offset)> starts =
        [
            .. code.Values.SelectMany(section => Functions(elf, section).Select(function => (section.Index, function.Value))),
        ];

        // Where a relocation leads to, in code; -1 otherwise. A field that is relative to the next instruction counts from there.
        (int Section, ulong Offset)? Target(ElfRelocation relocation, ulong next)
        {
            var symbol = elf.Symbols[relocation.SymbolIndex];
            long addend =
                relocation.Addend
                + (relocation.Type is ElfRelocationType.Pc32 or ElfRelocationType.Plt32 ? (long)(next - relocation.Offset) : 0);
            return code.ContainsKey(symbol.SectionIndex) ? (symbol.SectionIndex, symbol.Value + (ulong)addend) : null;
        }

        HashSet<(int Section, ulong Offset)> taken = [];
        foreach (var section in code.Values)
        {
            var relocations = section.Relocations.ToDictionary(relocation => relocation.Offset);
            foreach (var instruction in Instructions(section).Where(instruction => instruction.FlowControl == FlowControl.Next))
            {
                for (ulong at = instruction.IP; at < instruction.NextIP; at++)
                {
                    if (
                        relocations.TryGetValue(at, out var relocation)
                        && Target(relocation, instruction.NextIP) is { } target
                        && starts.Contains(target)
                    )
                        taken.Add(target);
                }
            }
        }
        // Two tables hold places to rewrite, and nobody calls by them.
        foreach (
            var section in elf.Sections.Where(section =>
                section.IsAllocated && !section.IsExecutable && section.Name is not ("__mcount_loc" or "__patchable_function_entries")
            )
        )
            taken.UnionWith(
                section
                    .Relocations.Where(relocation => relocation.Type == ElfRelocationType.Abs64)
                    .Select(relocation => Target(relocation, 0))
                    .OfType<(int, ulong)>()
                    .Where(starts.Contains)
            );
        var trampolines = elf.Sections.Single(section => section.Name == ".static_call.text").Index;
        // of which the kernel writes the jumps, and that nothing calls by address
        taken.RemoveWhere(target => target.Section == trampolines);

        var sealing = elf.Sections.Single(section => section.Name == ".ibt_endbr_seal");
        HashSet<(int, ulong)> without =
        [
            .. sealing.Relocations.Select(relocation => Target(relocation, relocation.Offset)).OfType<(int, ulong)>(),
        ];
        Assert.True(taken.Count > 40, $"{taken.Count} addresses");
        Assert.NotEmpty(without);
        Assert.All(taken, target =>
        {
            string name = Place(elf, code[target.Section], target.Offset);
            Assert.True(
                code[target.Section].Data.Span.Slice((int)target.Offset, 4).SequenceEqual((byte[])[0xf3, 0x0f, 0x1e, 0xfa]),
                $"{name} has no ENDBR"
            );
            Assert.False(without.Contains(target), $"{name} is sealed");
        });
    }
}
