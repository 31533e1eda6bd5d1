// SPDX-License-Identifier: MIT
using Ksplice.Build.Analysis;

namespace Ksplice.Build.Tests.Analysis;

/// <summary>Linked code, of which another function begins where the bytes end.</summary>
public sealed class CodeFlowTests
{
    // test edi,edi; jne other; ret: as gcc leaves a function for its .cold part.
    [Fact]
    public void A_conditional_jump_to_another_function_is_not_taken_on_every_path()
    {
        var flow = CodeFlow.Of([0x85, 0xff, 0x0f, 0x85, 0x10, 0, 0, 0, 0xc3], 0x1000, _ => "f.cold");
        var call = Assert.Single(flow.Blocks[0].Calls);
        Assert.Equal(("f.cold", true), (call.Name, call.IsConditional));
    }

    // test edi,edi; call other; ret
    [Fact]
    public void A_call_at_the_start_is_on_every_path()
    {
        var flow = CodeFlow.Of([0x85, 0xff, 0xe8, 0x10, 0, 0, 0, 0xc3], 0x1000, _ => "g");
        Assert.False(Assert.Single(flow.Blocks[0].Calls).IsConditional);
        Assert.True(flow.IsOnEveryPath(0));
    }

    // top: test edi,edi; je top; call other; jmp top: it does not return, and the call may never come.
    [Fact]
    public void Of_a_function_that_does_not_return_only_the_start_is_on_every_path()
    {
        var flow = CodeFlow.Of([0x85, 0xff, 0x74, 0xfc, 0xe8, 0x10, 0, 0, 0, 0xeb, 0xf5], 0x1000, _ => "g");
        int calling = flow.Blocks.Index().Single(block => block.Item.Calls.Count != 0).Index;
        Assert.NotEqual(0, calling);
        Assert.False(flow.IsOnEveryPath(calling));
    }
}
