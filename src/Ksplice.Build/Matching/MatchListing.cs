// SPDX-License-Identifier: MIT
// Where pre code and run code differ, for a person: the instructions around the difference in both.
using System.Globalization;
using Iced.Intel;
using Ksplice.Build.Differencing;
using Ksplice.Build.Elf;

namespace Ksplice.Build.Matching;

/// <summary>One instruction of either code, in GNU syntax.</summary>
/// <param name="Address">In the pre code bytes from the function's start, in the run code the address.</param>
/// <param name="Text">The instruction, and behind a <c>#</c> what it refers to.</param>
/// <param name="Differs">True for the one where the codes begin to differ.</param>
public sealed record ListedInstruction(ulong Address, string Text, bool Differs);

/// <summary>Both codes around their first difference.</summary>
/// <param name="Pre">The pre code.</param>
/// <param name="Run">The run code.</param>
public sealed record MatchListing(IReadOnlyList<ListedInstruction> Pre, IReadOnlyList<ListedInstruction> Run)
{
    private const int Before = 3;
    private const int Behind = 4;

    /// <summary>Lists both sides of a failure in code; null where it has no place in code.</summary>
    /// <exception cref="ElfFormatException">The object is malformed.</exception>
    public static MatchListing? Of(ElfObject pre, MatchFailure failure, MemoryFile target)
    {
        ArgumentNullException.ThrowIfNull(failure);
        ArgumentNullException.ThrowIfNull(target);
        var places =
            failure.Address == 0
                ? []
                : ObjectGraph
                    .Of(pre)
                    .Nodes.Where(node => node.IsCode && node.Name == failure.Object && failure.Offset < node.Size)
                    .ToList();
        // Parts of one name cannot be told apart here.
        if (places is not [var place] || !target.Memory.TryFindExtent(failure.Address, out ulong start, out ulong end))
            return null;
        return new MatchListing(
            Around(place.Bytes.ToArray(), 0, failure.Offset, instruction => Targets(place, instruction)),
            Around(Read(target.Memory, start, end), start, failure.Address, instruction => Targets(target, instruction))
        );
    }

    private static byte[] Read(IMatchMemory memory, ulong start, ulong end)
    {
        const int Maximum = 1 << 16;
        byte[] bytes = new byte[Math.Min(end - start, Maximum)];
        int length = 0;
        while (length < bytes.Length && memory.TryRead(start + (ulong)length, bytes.AsSpan(length, 1)))
            length++;
        return bytes[..length];
    }

    private static List<ListedInstruction> Around(byte[] code, ulong start, ulong place, Func<Instruction, string?> target)
    {
        var decoder = Decoder.Create(64, code);
        decoder.IP = start;
        GasFormatter formatter = new();
        StringOutput output = new();
        List<ListedInstruction> listed = [];
        int behind = 0;
        while (decoder.IP < start + (ulong)code.Length && behind < Behind)
        {
            var instruction = decoder.Decode();
            bool differs = instruction.IP <= place && instruction.NextIP > place;
            behind += instruction.IP > place ? 1 : 0;
            formatter.Format(instruction, output);
            listed.Add(
                new ListedInstruction(
                    instruction.IP,
                    output.ToStringAndReset() + (target(instruction) is { } name ? "  # " + name : ""),
                    differs
                )
            );
            if (behind == 0 && !differs && listed.Count > Before)
                listed.RemoveAt(0);
        }
        return listed;
    }

    private static string? Targets(ObjectNode node, Instruction instruction)
    {
        var names = node
            .References.Where(reference => reference.Offset >= instruction.IP && reference.Offset < instruction.NextIP)
            .Select(reference =>
                reference.External
                ?? reference.Target?.Name
                    + (reference.TargetOffset == 0 ? "" : string.Create(CultureInfo.InvariantCulture, $"+0x{reference.TargetOffset:x}"))
            );
        return string.Join(", ", names) is { Length: > 0 } text ? text : null;
    }

    private static string? Targets(MemoryFile target, Instruction instruction)
    {
        if (instruction.OpCount > 0 && instruction.Op0Kind == OpKind.NearBranch64)
            return target.NameOf(instruction.NearBranch64);
        if (instruction.IsIPRelativeMemoryOperand)
            return target.NameOf(instruction.IPRelativeMemoryAddress);
        for (int i = 0; i < instruction.OpCount; i++)
        {
            if (instruction.GetOpKind(i) == OpKind.Immediate32to64 && instruction.GetImmediate(i) >= 0xffffffff80000000)
                return target.NameOf(instruction.GetImmediate(i));
        }
        return null;
    }
}
