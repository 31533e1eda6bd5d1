// SPDX-License-Identifier: MIT
// match/match.c: one match from its data to its result.
using System.Collections.Immutable;
using System.Runtime.InteropServices;

namespace Ksplice.Build.Matching.Interpreter;

/// <summary>Run-pre matching (paper, section 4): finds the objects of match data in a kernel's memory.</summary>
public static class MatchInterpreter
{
    /// <summary>Matches <paramref name="matchData"/> against <paramref name="memory"/>.</summary>
    public static MatchResult Match(byte[] matchData, IMatchMemory memory)
    {
        ArgumentNullException.ThrowIfNull(matchData);
        ArgumentNullException.ThrowIfNull(memory);
        return CheckedMatchData.CheckData(matchData) is { } data
            ? new Run(data, memory).Match()
            : new MatchResult(new MatchFailure(MatchReason.BadData, "", "", null, 0, 0, 0, [], []), [], [], []);
    }

    /// <summary>
    /// Where everything is that a match found and compared, the contents of strings and constants too; empty if it fails.
    /// </summary>
    internal static IReadOnlyList<ComparedRange> Locate(byte[] matchData, IMatchMemory memory)
    {
        if (CheckedMatchData.CheckData(matchData) is not { } data)
            return [];
        Run run = new(data, memory);
        if (!run.Match().IsMatch)
            return [];
        List<ComparedRange> places = [];
        for (int i = 0; i < data.Objects.Length; i++)
        {
            ref readonly var entry = ref data.Objects[i];
            if (run.Done[i])
                places.Add(new ComparedRange(run.Values[entry.Symbol], run.Matched[i].End, entry.Kind == ObjectKind.Text));
        }
        for (int i = 0; i < data.Symbols.Length; i++)
        {
            if (data.Symbols[i].Kind == SymbolKind.Content && run.Known[i])
                places.Add(new ComparedRange(run.Values[i], run.Values[i] + data.Symbols[i].ContentSize, IsCode: false));
        }
        return places;
    }
}

internal sealed partial class Run
{
    private MatchFailure Fail(uint index, Mismatch? why, MatchReason reason, int candidates, string? symbol = null)
    {
        ref readonly var entry = ref Data.Object(index);
        return new MatchFailure(
            reason,
            Data.Name(entry.Unit),
            Data.Name(entry.Name),
            why?.Symbol ?? symbol,
            why?.Address ?? 0,
            why?.Offset ?? 0,
            candidates,
            why?.Expected ?? [],
            why?.Found ?? []
        );
    }

    private MatchFailure? FindExport(uint index, out ulong value)
    {
        ref readonly var symbol = ref Data.Symbol(index);
        int count = 1;
        value = 0;
        if (Known[index])
            value = Values[index];
        else
            count = (symbol.Flags & SymbolFlags.ByName) != SymbolFlags.None ? FindUnique(index, out value) : 0;
        if (count != 1)
            return new MatchFailure(count != 0 ? MatchReason.Ambiguous : MatchReason.Unresolved, "", "", NameOf(index), 0, 0, count, [], [])
            {
                Export = (int)symbol.Export,
            };
        if ((symbol.Flags & SymbolFlags.Called) == SymbolFlags.None || Memory.HasEndbr(value))
            return null;
        byte[] found = new byte[Walk.Endbr.Length];
        return new MatchFailure(
            MatchReason.Sealed,
            "",
            "",
            NameOf(index),
            value,
            0,
            count,
            [.. Walk.Endbr],
            Get(value, found) ? [.. found] : []
        );
    }

    private MatchFailure? FillExports(ulong[] exports)
    {
        for (uint i = 0; i < Data.Symbols.Length; i++)
        {
            uint export = Data.Symbol(i).Export;
            if (export == MatchFormat.None)
                continue;
            if (FindExport(i, out exports[export]) is { } failure)
                return failure;
        }
        return null;
    }

    private MatchFailure? FillFunctions(RunFunction[] functions, List<RunRange> ranges)
    {
        for (uint i = 0; i < Data.Objects.Length; i++)
        {
            ref readonly var entry = ref Data.Object(i);
            if ((entry.Flags & ObjectFlags.Replaced) == ObjectFlags.None)
                continue;
            var (end, jump, fentry) = Matched[i];
            RunRange range = new(
                Data.Name(entry.Name),
                Values[entry.Symbol],
                end,
                (entry.Flags & ObjectFlags.EndsInCall) != ObjectFlags.None
            );
            ranges.Add(range);
            if (entry.Function == MatchFormat.None)
                continue;
            byte[] bytes = new byte[MatchFormat.JumpSize];
            if (jump != 0 && !Get(jump, bytes))
                return Fail(i, null, MatchReason.Unreadable, 1);
            functions[entry.Function] = new RunFunction(
                range.Name,
                range.Start,
                end,
                jump,
                fentry,
                ImmutableCollectionsMarshal.AsImmutableArray(bytes)
            );
        }
        return null;
    }

    /// <summary>What <c>ksp_match</c> does once the data is checked.</summary>
    public MatchResult Match()
    {
        ulong[] exports = new ulong[Data.Header.ExportCount];
        var functions = new RunFunction[Data.Header.FunctionCount];
        List<RunRange> ranges = [];
        return (Settle() ?? FillExports(exports) ?? FillFunctions(functions, ranges)) is { } failure
            ? new MatchResult(failure, [], [], [])
            : new MatchResult(null, [.. exports], [.. functions], [.. ranges]);
    }
}
