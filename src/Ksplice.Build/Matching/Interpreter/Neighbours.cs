// SPDX-License-Identifier: MIT
// match/neighbours.c: which of several functions of one name is the unit's; why it cannot be wrong is said there.
namespace Ksplice.Build.Matching.Interpreter;

internal sealed partial class Run
{
    private const int MaximalName = 256;

    private static ReadOnlySpan<byte> Padding => "__pfx_"u8;

    private ReadOnlySpan<byte> NameAt(uint place) => Data.NameBytes(Data.Place(place).Name);

    private bool Has(uint place, PlaceFlags flag) => (Data.Place(place).Flags & flag) != PlaceFlags.None;

    private uint Head(uint place)
    {
        while (Has(place, PlaceFlags.Same))
            place--;
        return place;
    }

    private bool StandsAt(uint place, ulong address)
    {
        do
        {
            if (IsNamed(NameAt(place), address))
                return true;
            place++;
        } while (place < Data.Places.Length && Has(place, PlaceFlags.Same));
        return false;
    }

    private bool IsPadding(uint place, ulong address)
    {
        var name = NameAt(place);
        return name.Length <= MaximalName && IsNamed([.. Padding, .. name], address);
    }

    private enum Way
    {
        Before,
        Behind,
    }

    private bool NextSymbol(Way way, ref ulong address)
    {
        if (
            (way == Way.Before && address == 0)
            || !Memory.TryFindExtent(way == Way.Behind ? address : address - 1, out ulong start, out ulong end)
        )
            return false;
        if (way == Way.Behind ? end <= address : start >= address)
            return false;
        address = way == Way.Behind ? end : start;
        return true;
    }

    private bool Step(Way way, uint place, uint padded, ref ulong address, ref int met)
    {
        ulong next = address;
        if (!NextSymbol(way, ref next))
            return false;
        if (IsPadding(padded, next))
        {
            address = next;
            if (!NextSymbol(way, ref next))
                return false;
        }
        if (!StandsAt(place, next))
            return Has(place, PlaceFlags.Weak);
        address = next;
        met++;
        return true;
    }

    private bool StandsBehind(uint place, ulong address, ref int met)
    {
        for (uint i = place + 1; i < Data.Places.Length && !Has(i, PlaceFlags.First); i++)
        {
            if (!Has(i, PlaceFlags.Same) && !Step(Way.Behind, i, i, ref address, ref met))
                return false;
        }
        return true;
    }

    private bool StandsBefore(uint place, ulong address, ref int met)
    {
        while (!Has(place, PlaceFlags.First))
        {
            uint before = Head(place - 1);
            if (!Step(Way.Before, before, place, ref address, ref met))
                return false;
            place = before;
        }
        return true;
    }

    private bool IsOverridable(in MatchObject entry) => entry.Place != MatchFormat.None && Has(entry.Place, PlaceFlags.Weak);

    private bool InSequence(in MatchObject entry, ulong address)
    {
        int met = 0;
        return entry.Place != MatchFormat.None
            && StandsBehind(entry.Place, address, ref met)
            && StandsBefore(entry.Place, address, ref met)
            && (met != 0 || !IsOverridable(entry));
    }
}
