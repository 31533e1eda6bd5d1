// SPDX-License-Identifier: MIT
// What the build writes into a primary has the layout that the core reads.
using Ksplice.Build.Generation;

namespace Ksplice.Build.Tests.Generation;

public class PrimaryTablesTests
{
    [Fact]
    public async Task Update_h_and_PrimaryTables_have_the_same_values_and_layouts()
    {
        CHeader header = new("ksplice/update.h");
        header.Value("KSPLICE_ABI", PrimaryTables.Abi);
        header.Value("KSPLICE_N_HOOKS", PrimaryTables.HookCount);
        header.Value("KSPLICE_N_HOOKS", PrimaryTables.HookNames.Length);
        for (int kind = 0; kind < PrimaryTables.HookNames.Length; kind++)
            header.Value("KSPLICE_" + PrimaryTables.HookNames[kind].ToUpperInvariant(), kind);
        header.Value("KSPLICE_IN_NMI", PrimaryTables.InNmi);
        header.Layout<RedirectEntry>("ksplice_redirect", "code function size flags reserved");
        header.Layout<HookList>("ksplice_hook_list", "calls count");
        header.Layout<RelocationEntry>("ksplice_relocation", "place addend value type");
        header.Layout<CodeTable>("ksplice_code", "abi n_redirects redirects hooks relocations n_relocations");
        await header.CompareAsync();
    }

    [Fact]
    public void A_members_place_is_where_it_is_written()
    {
        CodeTable table = new();
        table.Hooks[3].Count = 0x0102030405060708;
        int offset = PrimaryTables.OffsetOf(in table, in table.Hooks[3].Count);
        byte[] bytes = PrimaryTables.ToBytes<CodeTable>([table]);
        Assert.Equal([8, 7, 6, 5, 4, 3, 2, 1], bytes[offset..(offset + 8)]);
        Assert.Equal(8, bytes.Count(value => value != 0));
    }
}
