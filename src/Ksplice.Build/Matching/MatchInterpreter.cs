// SPDX-License-Identifier: MIT
// match/*.c once more, over a kernel image: the same algorithm, file by file and function by function, so that one can be
// read beside the other; what each part is for is said there. Tests hold the two against each other. This is match/match.c.
using System.Runtime.InteropServices;

namespace Ksplice.Build.Matching;

/// <summary>Run-pre matching (paper, section 4): finds the objects of match data in a kernel's memory.</summary>
public sealed partial class MatchInterpreter
{
    private readonly MatchRun _run;

    private MatchInterpreter(MatchRun run) => _run = run;

    /// <summary>Matches <paramref name="matchData"/> against <paramref name="memory"/>.</summary>
    public static MatchResult Match(byte[] matchData, IMatchMemory memory)
    {
        ArgumentNullException.ThrowIfNull(matchData);
        ArgumentNullException.ThrowIfNull(memory);
        return MatchProgram.Read(matchData) is { } data
            ? new MatchInterpreter(new MatchRun(data, memory)).Run()
            : Failed(new MatchFailure(MatchReason.BadData, "", "", null, 0, 0, 0, [], []));
    }

    /// <summary>
    /// Where everything is that a match found and compared, the contents of strings and constants too; empty if it fails.
    /// </summary>
    internal static IReadOnlyList<ComparedRange> Locate(byte[] matchData, IMatchMemory memory)
    {
        if (MatchProgram.Read(matchData) is not { } data)
            return [];
        MatchRun run = new(data, memory);
        if (!new MatchInterpreter(run).Run().IsMatch)
            return [];
        List<ComparedRange> places = [];
        for (int i = 0; i < data.Objects.Length; i++)
        {
            if (run.Done[i])
                places.Add(
                    new ComparedRange(run.Values[data.Objects[i].Symbol], run.Matched[i].End, data.Objects[i].Kind == ObjectKind.Text)
                );
        }
        for (int i = 0; i < data.Symbols.Length; i++)
        {
            if (data.Symbols[i].Kind == SymbolKind.Content && run.Known[i])
                places.Add(new ComparedRange(run.Values[i], run.Values[i] + data.Symbols[i].ContentSize, IsCode: false));
        }
        return places;
    }

    private static MatchResult Failed(MatchFailure failure) => new(failure, [], [], []);

    private MatchResult Run()
    {
        var exports = new ulong[_run.Data.Header.ExportCount];
        if ((Settle() ?? FillExports(exports)) is { } failure)
            return Failed(failure);
        var functions = new RunFunction[_run.Data.Header.FunctionCount];
        List<RunRange> ranges = [];
        for (uint i = 0; i < _run.Data.Objects.Length; i++)
        {
            ref readonly var entry = ref _run.Data.Object(i);
            if ((entry.Flags & ObjectFlags.Replaced) == 0)
                continue;
            ulong start = _run.Values[entry.Symbol];
            var matched = _run.Matched[i];
            RunRange range = new(_run.Data.Name(entry.Name), start, matched.End, (entry.Flags & ObjectFlags.EndsInCall) != 0);
            ranges.Add(range);
            if (entry.Function == MatchFormat.None)
                continue;
            var bytes = new byte[MatchFormat.JumpSize];
            if (matched.Jump != 0 && !_run.Get(matched.Jump, bytes))
                return Failed(Failure(i, null, MatchReason.Unreadable, 1));
            functions[entry.Function] = new RunFunction(
                range.Name,
                start,
                matched.End,
                matched.Jump,
                matched.Fentry,
                ImmutableCollectionsMarshal.AsImmutableArray(bytes)
            );
        }
        return new MatchResult(null, [.. exports], [.. functions], [.. ranges]);
    }

    private MatchFailure Failure(uint index, Mismatch? why, MatchReason reason, int candidates, string? symbol = null)
    {
        ref readonly var entry = ref _run.Data.Object(index);
        return new MatchFailure(
            reason,
            _run.Data.Name(entry.Unit),
            _run.Data.Name(entry.Name),
            why?.Symbol ?? symbol,
            why?.Address ?? 0,
            why?.Offset ?? 0,
            candidates,
            why?.Expected ?? [],
            why?.Found ?? []
        );
    }

    private MatchFailure? FillExports(ulong[] exports)
    {
        var symbols = _run.Data.Symbols;
        for (int i = 0; i < symbols.Length; i++)
        {
            ref readonly var symbol = ref symbols[i];
            if (symbol.Export == MatchFormat.None)
                continue;
            int found = 0;
            if (_run.Known[i])
                exports[symbol.Export] = _run.Values[i];
            else if ((symbol.Flags & SymbolFlags.ByName) == 0 || (found = _run.FindUnique((uint)i, out exports[symbol.Export])) != 1)
                return new MatchFailure(
                    found != 0 ? MatchReason.Ambiguous : MatchReason.Unresolved,
                    "",
                    "",
                    _run.NameOf((uint)i),
                    0,
                    0,
                    found,
                    [],
                    []
                );
            if ((symbol.Flags & SymbolFlags.Called) != 0 && !_run.Memory.HasEndbr(exports[symbol.Export]))
                return Sealed((uint)i, exports[symbol.Export]);
        }
        return null;
    }

    private MatchFailure Sealed(uint symbol, ulong address)
    {
        byte[] found = new byte[ObjectWalk.Endbr.Length];
        return new MatchFailure(
            MatchReason.Sealed,
            "",
            "",
            _run.NameOf(symbol),
            address,
            0,
            1,
            [.. ObjectWalk.Endbr],
            _run.Get(address, found) ? [.. found] : []
        );
    }
}
