// SPDX-License-Identifier: MIT
// Who calls a function, or holds its address, in a kernel that is shipped without debug data: its own code says so. A call
// or jump is e8 or e9 and the distance; an address is a quadword of data, or the sign-extended immediate of an instruction,
// since the kernel lives in the top 2 GiB. Bytes that look like one by chance are told apart by decoding the function that
// they are in from its start.
using System.Buffers.Binary;
using Iced.Intel;
using Ksplice.Build.Kernel;

namespace Ksplice.Build.Analysis;

/// <summary>A use of an address in the image.</summary>
/// <param name="Holder">The symbol that it is in.</param>
/// <param name="Address">Where.</param>
/// <param name="IsBranch">True for a call or jump, false where the address itself is held.</param>
public sealed record ImageReference(string Holder, ulong Address, bool IsBranch);

/// <summary>Finds references in an image.</summary>
/// <param name="image">The image.</param>
public sealed class ImageReferences(KernelImage image)
{
    /// <summary>All references to <paramref name="target"/>, each place once, by address.</summary>
    public IReadOnlyList<ImageReference> To(ulong target)
    {
        List<ImageReference> found = [];
        foreach (var segment in image.Segments)
        {
            bool code = segment.IsExecutable;
            var bytes = segment.Data.Span;
            for (int at = 0; at + 4 <= bytes.Length; at++)
            {
                uint word = BinaryPrimitives.ReadUInt32LittleEndian(bytes[at..]);
                ulong place = segment.VirtualAddress + (ulong)at;
                if (code && word == (uint)(target - place - 4) && at > 0)
                    AddFromCode(found, place, target);
                else if (word == (uint)target && at + 8 <= bytes.Length && BinaryPrimitives.ReadUInt64LittleEndian(bytes[at..]) == target)
                    AddData(found, place);
                else if (code && word == (uint)target)
                    AddFromCode(found, place, target);
            }
        }
        return [.. found.DistinctBy(reference => reference.Address)];
    }

    private void AddData(List<ImageReference> found, ulong place)
    {
        if (image.Symbols.Nearest(place) is { } nearest && !IsInit(place))
            found.Add(new(nearest.Symbol.Name, place, false));
    }

    private void AddFromCode(List<ImageReference> found, ulong place, ulong target)
    {
        if (image.Symbols.Nearest(place) is not { } nearest || nearest.Symbol.Type is not ('t' or 'T' or 'w' or 'W') || IsInit(place))
            return;
        ulong start = nearest.Symbol.Address;
        var code = image.Slice(start, (int)Math.Min(nearest.End - start, int.MaxValue)).ToArray();
        var decoder = Decoder.Create(64, code, start);
        while (decoder.IP < start + (ulong)code.Length)
        {
            decoder.Decode(out var instruction);
            if (instruction.NextIP <= place)
                continue;
            bool branch =
                instruction.FlowControl is FlowControl.Call or FlowControl.UnconditionalBranch or FlowControl.ConditionalBranch
                && instruction.NearBranchTarget == target;
            bool address =
                !branch
                && (
                    Immediate(instruction) == target
                    || (instruction.IsIPRelativeMemoryOperand && instruction.IPRelativeMemoryAddress == target)
                );
            if (branch || address)
                found.Add(new(nearest.Symbol.Name, instruction.IP, branch));
            return;
        }
    }

    private static ulong Immediate(in Instruction instruction)
    {
        for (int i = 0; i < instruction.OpCount; i++)
        {
            if (instruction.GetOpKind(i) is >= OpKind.Immediate8 and <= OpKind.Immediate32to64)
                return instruction.GetImmediate(i);
        }
        return 0;
    }

    // What ran at boot calls nothing any more.
    private bool IsInit(ulong place) =>
        image.Symbols.FindUnique("__init_begin") is { } begin
        && image.Symbols.FindUnique("__init_end") is { } end
        && place >= begin
        && place < end;
}
