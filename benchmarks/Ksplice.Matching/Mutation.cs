// SPDX-License-Identifier: MIT
// Small changes to what was matched, each of which makes it another program: matching must refuse every one.
using System.Buffers.Binary;
using Iced.Intel;
using Ksplice.Build.Kernel;
using Ksplice.Build.Matching;
using Ksplice.Build.Tests.Matching;

namespace Ksplice.Matching;

/// <summary>Other bytes at an address.</summary>
/// <param name="Kind">What kind of change it is.</param>
/// <param name="Address">Where.</param>
/// <param name="Bytes">What stands there instead.</param>
internal sealed record Mutation(string Kind, ulong Address, byte[] Bytes)
{
    /// <summary>The kinds that <see cref="TryMake"/> knows.</summary>
    public static readonly string[] Kinds =
    [
        "flipped byte",
        "branch to another target",
        "swapped call",
        "changed immediate",
        "replaced rodata byte",
    ];

    /// <summary>The kinds that <see cref="TryMakeEntry"/> knows.</summary>
    public static readonly string[] TableKinds = ["another bug entry", "another exception entry", "a further exception entry"];

    /// <summary>A random change of that kind to one of the <paramref name="places"/>, or null if there is nothing of the kind.</summary>
    public static Mutation? TryMake(string kind, IReadOnlyList<ComparedRange> places, IMatchMemory memory, Random random)
    {
        var candidates = places.Where(place => place.IsCode == (kind != Kinds[4]) && place.End > place.Start).ToList();
        if (candidates.Count == 0)
            return null;
        var place = candidates[random.Next(candidates.Count)];
        byte[] bytes = new byte[place.End - place.Start];
        if (!memory.TryRead(place.Start, bytes))
            return null;
        if (kind == Kinds[4])
        {
            int at = random.Next(bytes.Length);
            return new Mutation(kind, place.Start + (ulong)at, [(byte)(bytes[at] ^ (1 + random.Next(255)))]);
        }
        var decoder = Decoder.Create(64, bytes);
        decoder.IP = place.Start;
        List<(Instruction Instruction, ConstantOffsets Fields)> all = [];
        while (decoder.IP < place.End)
        {
            decoder.Decode(out var instruction);
            if (!IsNop(instruction))
                all.Add((instruction, decoder.GetConstantOffsets(instruction)));
        }
        var fitting = all.Where(one => Fits(kind, one.Instruction, one.Fields)).ToList();
        if (fitting.Count == 0)
            return null;
        var (chosen, fields) = fitting[random.Next(fitting.Count)];
        int offset = (int)(chosen.IP - place.Start);
        if (kind == Kinds[0])
        {
            int at = offset + random.Next(chosen.Length);
            byte value = (byte)(bytes[at] ^ (1 + random.Next(255)));
            // On one processor the kernel itself writes a DS prefix over a LOCK prefix.
            return bytes[at] == 0xf0 && value == 0x3e ? null : new Mutation(kind, place.Start + (ulong)at, [value]);
        }
        int field = offset + fields.ImmediateOffset,
            size = fields.ImmediateSize;
        if (kind == Kinds[2])
        {
            var other = all.Where(one => Fits(kind, one.Instruction, one.Fields) && one.Instruction.NearBranch64 != chosen.NearBranch64)
                .ToList();
            if (other.Count == 0)
                return null;
            byte[] far = new byte[4];
            ulong target = other[random.Next(other.Count)].Instruction.NearBranch64;
            if (IsSameJump(target, chosen.NearBranch64, memory))
                return null;
            BinaryPrimitives.WriteInt32LittleEndian(far, (int)(target - chosen.NextIP));
            return new Mutation(kind, place.Start + (ulong)field, far);
        }
        byte[] changed = bytes[field..(field + size)];
        changed[random.Next(size)] ^= (byte)(1 + random.Next(255));
        return
            kind == Kinds[1]
            && size == 4
            && IsSameJump(chosen.NextIP + (ulong)BinaryPrimitives.ReadInt32LittleEndian(changed), chosen.NearBranch64, memory)
            ? null
            : new Mutation(kind, place.Start + (ulong)field, changed);
    }

    /// <summary>
    /// A random change of that one of the <see cref="TableKinds"/> to an entry for code in
    /// <paramref name="places"/>; null if there is none.
    /// </summary>
    public static (ulong Code, Action<ChangedMemory> Make)? TryMakeEntry(
        string kind,
        IReadOnlyList<ComparedRange> places,
        IMatchMemory memory,
        Random random
    )
    {
        List<ulong> all = [],
            fitting = [];
        foreach (var place in places.Where(place => place.IsCode && place.End > place.Start))
        {
            byte[] bytes = new byte[place.End - place.Start];
            if (!memory.TryRead(place.Start, bytes))
                return null;
            var decoder = Decoder.Create(64, bytes);
            decoder.IP = place.Start;
            while (decoder.IP < place.End)
                all.Add(decoder.Decode().IP);
        }
        fitting =
        [
            .. all.Where(code =>
                kind == TableKinds[0]
                    ? memory.Tables.Bugs.ContainsKey(code)
                    : kind == TableKinds[1] == memory.Tables.Exceptions.ContainsKey(code)
            ),
        ];
        if (fitting.Count == 0)
            return null;
        ulong chosen = fitting[random.Next(fitting.Count)],
            other = all[random.Next(all.Count)];
        uint bits = (uint)(1 + random.Next(255));
        if (kind == TableKinds[0])
        {
            var bug = memory.Tables.Bugs[chosen];
            // Not BUGFLAG_DONE, which is set when a warning was given.
            BugEntry? changed = random.Next(bug.Format == 0 ? 4 : 5) switch
            {
                0 => null,
                1 => bug with { Line = bug.Line ^ bits },
                2 => bug with { File = bug.File + bits },
                4 => bug with { Format = bug.Format + bits },
                _ => bug with { Flags = bug.Flags ^ (bits << 8) ^ (bits & 3) },
            };
            return (chosen, target => target.SetBug(chosen, changed));
        }
        var exception = memory.Tables.Exceptions.GetValueOrDefault(chosen);
        ExceptionEntry? entry =
            kind == TableKinds[2]
                ? new ExceptionEntry(other, bits)
                : random.Next(3) switch
                {
                    0 => null,
                    1 => exception with { Data = exception.Data ^ bits },
                    _ => exception with { Fixup = other == exception.Fixup ? other + 1 : other },
                };
        return (chosen, target => target.SetException(chosen, entry));
    }

    // Call, int3, and a mov of the register over the return address: what follows returns, in one way or another.
    private const int RetpolineSize = 10;

    // Against ITS the kernel makes many thunks of one register, which do the same: jmp *reg; int3. Of the retpolines there are three kinds
    // a register, for calls and jumps with and without call depth tracking; all jump to what the register holds.
    private static bool IsSameJump(ulong one, ulong other, IMatchMemory memory)
    {
        byte[] code = new byte[RetpolineSize],
            same = new byte[RetpolineSize];
        if (!memory.TryRead(one, code) || !memory.TryRead(other, same))
            return false;
        int length =
            code is [0x41, 0xff, >= 0xe0 and <= 0xe7, 0xcc, ..] ? 4
            : code is [0xff, >= 0xe0 and <= 0xe7, 0xcc, ..] ? 3
            : code is [0xe8, 1, 0, 0, 0, 0xcc, 0x48 or 0x4c, 0x89, _, 0x24] ? RetpolineSize
            : 0;
        return length != 0 && code.AsSpan(0, length).SequenceEqual(same.AsSpan(0, length));
    }

    private static bool Fits(string kind, in Instruction instruction, ConstantOffsets fields)
    {
        bool branch = instruction.OpCount > 0 && instruction.Op0Kind == OpKind.NearBranch64;
        return kind == Kinds[0]
            || (kind == Kinds[1] && branch && instruction.Mnemonic != Mnemonic.Call)
            || (kind == Kinds[2] && branch && instruction.Mnemonic == Mnemonic.Call && fields.ImmediateSize == 4)
            || (kind == Kinds[3] && !branch && fields.HasImmediate);
    }

    private static bool IsNop(in Instruction instruction) =>
        instruction.Mnemonic == Mnemonic.Nop || instruction.Code.ToString().StartsWith("Nop", StringComparison.Ordinal);
}
