using CsCheck;
using Ksplice.Build.Differencing;
using Ksplice.Build.Dwarf;
using Ksplice.Build.Elf;
using Ksplice.Build.Tests.Kernel;

namespace Ksplice.Build.Tests.Elf;

public class DamagedObjectTests
{
    private static async Task<byte[]> ObjectAsync() => ElfWriter.Write(await KernelObjects.CompileAsync("fs/proc/version.c"));

    // Everything that can be asked of an object, so that what is read late is read here.
    private static void ReadAll(byte[] bytes)
    {
        try
        {
            var elf = ElfObject.Read(bytes, "damaged.o");
            foreach (var section in elf.Sections)
                _ = section.Relocations.Count + section.Data.Length;
            _ = elf.Symbols.Count;
            _ = new ObjectGraph(elf).Nodes.Count;
            _ = VariableLines.Read(elf).Count;
            _ = LineTable.Read(elf);
        }
        catch (ElfFormatException problem)
        {
            Assert.Equal("damaged.o", problem.FileName);
        }
    }

    [Fact]
    public async Task An_object_that_is_cut_anywhere_is_refused_in_one_way()
    {
        var whole = await ObjectAsync();
        for (int length = 0; length < whole.Length; length += Math.Max(1, whole.Length / 500))
        {
            byte[] cut = whole[..length];
            Assert.Throws<ElfFormatException>(() => ElfObject.Read(cut, "cut.o").Sections.Sum(section => section.Relocations.Count + section.Data.Length));
        }
    }

    [Fact]
    public async Task An_object_with_any_bytes_changed_is_read_or_refused_in_one_way()
    {
        var whole = await ObjectAsync();
        ulong headers = BitConverter.ToUInt64(whole, 0x28);
        // Half of the changes hit the ELF header and the section headers, where they hurt.
        var place = Gen.OneOf(Gen.Int[0, whole.Length - 1], Gen.Int[(int)headers, whole.Length - 1], Gen.Int[0, 63]);
        Gen.Select(place, Gen.Byte).Array[1, 8].Sample(changes =>
        {
            byte[] copy = [.. whole];
            foreach (var (at, value) in changes)
                copy[at] = value;
            ReadAll(copy);
        }, iter: 60000);
    }
}
