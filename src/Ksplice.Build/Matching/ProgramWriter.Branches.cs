// SPDX-License-Identifier: MIT
// Branches, and the sites that are branches: calls of __fentry__, static calls, returns, retpolines.
using Iced.Intel;
using Ksplice.Build.Differencing;

namespace Ksplice.Build.Matching;

internal sealed partial class ProgramWriter
{
    private static readonly string[] Registers =
    [
        "rax",
        "rcx",
        "rdx",
        "rbx",
        "rsp",
        "rbp",
        "rsi",
        "rdi",
        "r8",
        "r9",
        "r10",
        "r11",
        "r12",
        "r13",
        "r14",
        "r15",
    ];

    private const string ThunkPrefix = "__x86_indirect_thunk_";

    private MatchOp Key(ObjectReference key, long mask)
    {
        // The loader's flags stand in the low bits of the addend. A module that may call but not change names the trampoline
        // for the key, and the loader finds the key (tools/objtool/check.c, create_static_call_sections).
        uint symbol = key.External is { } name
            ? tables.Global(name.StartsWith("__SCT__", StringComparison.Ordinal) ? "__SCK__" + name["__SCT__".Length..] : name)
            : tables.Start(key.Target!);
        return new MatchOp
        {
            Op = OpCode.Key,
            Symbol = symbol,
            Value = key.TargetOffset & mask,
        };
    }

    private void Branch(List<MatchOp> ops, Code code, int at)
    {
        var (instruction, _) = code.Instructions[at];
        var bytes = code.Bytes.AsSpan(at, instruction.Length);
        // A prefix of a conditional jump that says what is likely; the bytes behind it are a jump like any other.
        if (bytes[0] is 0x2e or 0x3e && KindOf(bytes[1..]) < (byte)BranchKind.Jmp)
        {
            Literal(ops, bytes[..1]);
            bytes = bytes[1..];
        }
        ushort length = (ushort)bytes.Length;
        byte kind = KindOf(bytes) ?? throw new UnmatchableException(at, $"the branch '{instruction}' has an unknown encoding");
        var reference = code.References.GetValueOrDefault(code.FieldOffset(at));
        if (code.StaticCalls.TryGetValue(at, out var site))
        {
            if (reference is null)
                throw new UnmatchableException(at, "a static call does not call a trampoline");
            var (trampoline, value) = Resolve(reference);
            ops.Add(
                new MatchOp
                {
                    Op = OpCode.StaticCall,
                    Kind = kind,
                    Length = length,
                    Symbol = trampoline,
                    Value = value,
                }
            );
            ops.Add(Key(site.References[1], ~3L));
        }
        else if (reference is null)
        {
            long target = Code.Target(instruction)!.Value;
            uint symbol = target == 0 ? tables.Start(code.Node) : tables.Place(code.Node, target);
            ops.Add(
                new MatchOp
                {
                    Op = OpCode.Branch,
                    Kind = kind,
                    Length = length,
                    Symbol = symbol,
                }
            );
        }
        else if (reference.External == "__fentry__")
        {
            ops.Add(
                new MatchOp
                {
                    Op = OpCode.Fentry,
                    Length = length,
                    Symbol = tables.Global("__fentry__"),
                }
            );
        }
        else if (reference.External == "__x86_return_thunk")
        {
            ops.Add(
                new MatchOp
                {
                    Op = OpCode.Return,
                    Length = length,
                    Symbol = tables.Global("__x86_return_thunk"),
                }
            );
        }
        else if (
            reference.External is { } thunk
            && thunk.StartsWith(ThunkPrefix, StringComparison.Ordinal)
            && Array.IndexOf(Registers, thunk[ThunkPrefix.Length..]) is >= 0 and var register
        )
        {
            ops.Add(
                new MatchOp
                {
                    Op = OpCode.Retpoline,
                    Kind = kind,
                    Length = length,
                    Symbol = tables.Global(thunk),
                    Value = register,
                }
            );
        }
        else
        {
            var (symbol, value) = Resolve(reference);
            ops.Add(
                new MatchOp
                {
                    Op = OpCode.Branch,
                    Kind = kind,
                    Length = length,
                    Symbol = symbol,
                    Value = value,
                }
            );
        }
    }

    private static byte? KindOf(ReadOnlySpan<byte> code) =>
        code[0] switch
        {
            >= 0x70 and <= 0x7f => (byte)(code[0] & 15),
            0x0f when code[1] is >= 0x80 and <= 0x8f => (byte)(code[1] & 15),
            0xeb or 0xe9 => (byte)BranchKind.Jmp,
            0xe8 => (byte)BranchKind.Call,
            >= 0xe0 and <= 0xe3 => (byte)((byte)BranchKind.Loopne + code[0] - 0xe0),
            0x2e when code[1] is 0xeb or 0xe9 => (byte)BranchKind.CsJmp,
            0x2e when code[1] == 0xe8 => (byte)BranchKind.CsCall,
            _ => null,
        };
}
