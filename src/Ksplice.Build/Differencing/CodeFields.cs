// SPDX-License-Identifier: MIT
// Where the relocatable fields of machine code lie in their instructions. A PC-relative addend counts from the field, the
// processor from the end of the instruction; only decoding tells the distance, and with it what is really meant.
using Iced.Intel;

namespace Ksplice.Build.Differencing;

/// <summary>A field of an instruction that can hold an address.</summary>
/// <param name="Offset">Bytes from the start of the code.</param>
/// <param name="Size">Bytes.</param>
/// <param name="InstructionEnd">Where the instruction ends.</param>
/// <param name="IsBranch">True for the target of a direct call or jump.</param>
/// <param name="TakesAddress">True for an immediate, or the displacement of a LEA.</param>
/// <param name="RelativeTarget">What a relative field, if it is one, points at when it is not relocated.</param>
internal readonly record struct CodeField(int Offset, int Size, int InstructionEnd, bool IsBranch, bool TakesAddress, long? RelativeTarget);

internal static class CodeFields
{
    /// <summary>
    /// Decodes <paramref name="code"/> from its start; <paramref name="undecodable"/> is the first offset that holds no instruction, or -1.
    /// </summary>
    public static List<CodeField> Decode(byte[] code, out int undecodable)
    {
        undecodable = -1;
        List<CodeField> fields = new(code.Length / 8);
        var decoder = Decoder.Create(64, code);
        while (decoder.IP < (ulong)code.Length)
        {
            int start = (int)decoder.IP;
            decoder.Decode(out var instruction);
            if (instruction.IsInvalid)
            {
                undecodable = start;
                break;
            }
            int end = start + instruction.Length;
            var constants = decoder.GetConstantOffsets(instruction);
            if (constants.HasDisplacement)
            {
                long? target = instruction.IsIPRelativeMemoryOperand ? (long)instruction.IPRelativeMemoryAddress : null;
                fields.Add(
                    new(
                        start + constants.DisplacementOffset,
                        constants.DisplacementSize,
                        end,
                        false,
                        instruction.Mnemonic == Mnemonic.Lea,
                        target
                    )
                );
            }
            if (constants.HasImmediate)
            {
                bool branch = instruction.Op0Kind is OpKind.NearBranch64 or OpKind.NearBranch32 or OpKind.NearBranch16;
                fields.Add(
                    new(
                        start + constants.ImmediateOffset,
                        constants.ImmediateSize,
                        end,
                        branch,
                        !branch,
                        branch ? (long)instruction.NearBranchTarget : null
                    )
                );
            }
            if (constants.HasImmediate2)
                fields.Add(new(start + constants.ImmediateOffset2, constants.ImmediateSize2, end, false, true, null));
        }
        return fields;
    }
}
