// SPDX-License-Identifier: MIT
// A struct may change its layout if no object of it outlives the change. That is so for a type that lives only on the stacks
// of functions that are all replaced: no update is applied while one of them is on a stack, so when it is, there is no
// such object (struct lb_env of kernel/sched/fair.c, which carries the state of one balancing pass, is one). It is taken for
// shown only if all of this holds:
//   - the type is defined in the unit's own source, so no other unit knows it;
//   - no variable with a place in memory, no other type and no return value holds one or points to one, and no local
//     variable points to one: what is allocated or found elsewhere has to come in through one of these;
//   - the source mentions the type only to define it, to declare variables and to declare parameters: no cast, no sizeof;
//   - functions that take a pointer to one are static, their addresses go nowhere, and each call of theirs passes the
//     address of a variable or what was passed in;
//   - every function that has such a variable, also through what is inlined into it, is replaced.
using System.Text.RegularExpressions;
using Ksplice.Build.Dwarf;
using Ksplice.Build.Elf;

namespace Ksplice.Build.Analysis;

/// <summary>Tells whether a changed type lives only on stacks.</summary>
internal sealed class StackTypes(AnalyzedUpdate update, AnalyzedUnit unit, string type)
{
    /// <summary>Why the type may live elsewhere, once <see cref="Owners"/> said so; null for a type that other units know.</summary>
    public string? Reason { get; private set; }

    /// <summary>The functions on whose stacks <c>struct x</c> or <c>union x</c> lives, or null if it may live anywhere else.</summary>
    public IReadOnlyList<string>? Owners()
    {
        var entries = unit.PreSource.Entries;
        var definitions = entries
            .Where(entry =>
                entry.Tag is DebugTag.Structure or DebugTag.Union && !entry.IsDeclaration && Keyword(entry) + entry.Name == type
            )
            .ToList();
        if (definitions.Count != 1 || definitions[0].Location?.Path is not { } file || !IsUnit(file) || update.SourceRoot is null)
            return null;
        var definition = definitions[0];
        if (entries.FirstOrDefault(entry => EscapesThrough(entry, definition)) is { } escape)
            return No($"'{escape.Name}' holds or points to one");
        var takers = entries
            .Where(entry =>
                entry is { Tag: DebugTag.Parameter, Parent.Tag: DebugTag.Subprogram } && Reaches(entry.Type, definition) == Reach.Pointer
            )
            .Select(entry => entry.Parent!.Name)
            .Where(name => name.Length != 0)
            .ToHashSet(StringComparer.Ordinal);
        if (takers.FirstOrDefault(taker => IsGlobal(taker) || IsAddressTaken(taker)) is { } handed)
            return No($"{handed} takes one and may be called from anywhere");
        var owners = entries
            .Where(entry => entry.Tag == DebugTag.Variable && Reaches(entry.Type, definition) == Reach.Value)
            .Select(Function)
            .OfType<DebugNode>()
            .Where(function => function.Place is not null)
            .Select(function => function.Name)
            .Distinct(StringComparer.Ordinal)
            .Order(StringComparer.Ordinal)
            .ToList();
        var replaced = unit
            .Changes.Functions.Where(function => function is { Pre: not null, Post: not null })
            .Select(function => function.Name.Split('.')[0])
            .ToHashSet(StringComparer.Ordinal);
        if (owners.Count == 0)
            return No("no function has such a variable");
        if (owners.Find(owner => !replaced.Contains(owner)) is { } stays)
            return No($"{stays} has one and is not replaced");
        string source = Comments()
            .Replace(File.ReadAllText(Path.Combine(update.SourceRoot, unit.Source), System.Text.Encoding.Latin1), comment =>
                new string('\n', comment.Value.Count(c => c == '\n')) + " "
            );
        return OnlyDeclares(source) && CallsPassOn(source, entries, definition, takers) ? owners : null;
    }

    private IReadOnlyList<string>? No(string reason)
    {
        Reason = reason;
        return null;
    }

    private enum Reach
    {
        No,
        Value,
        Pointer,
    }

    private bool IsUnit(string path) => path == unit.Source || path.EndsWith("/" + unit.Source, StringComparison.Ordinal);

    private static string Keyword(DebugNode entry) => entry.Tag == DebugTag.Union ? "union " : "struct ";

    // Whether a type is the definition, an array of it, or points to it.
    private static Reach Reaches(DebugNode? candidate, DebugNode definition)
    {
        bool pointer = false;
        for (int steps = 0; candidate is not null && steps < 64; steps++, candidate = candidate.Type)
        {
            if (candidate == definition)
                return pointer ? Reach.Pointer : Reach.Value;
            pointer |= candidate.Tag == DebugTag.Pointer;
            if (
                candidate.Tag
                is not (DebugTag.Pointer or DebugTag.Array or DebugTag.Typedef or DebugTag.Const or DebugTag.Volatile or DebugTag.Restrict)
            )
                return Reach.No;
        }
        return Reach.No;
    }

    private static bool EscapesThrough(DebugNode entry, DebugNode definition) =>
        entry.Tag switch
        {
            DebugTag.Member => Reaches(entry.Type, definition) != Reach.No,
            DebugTag.Subprogram or DebugTag.SubroutineType => Reaches(entry.Type, definition) != Reach.No,
            DebugTag.Parameter when entry.Parent?.Tag == DebugTag.SubroutineType => Reaches(entry.Type, definition) != Reach.No,
            DebugTag.Variable => Reaches(entry.Type, definition) is var reach
                && reach != Reach.No
                && (reach == Reach.Pointer || entry.Place is not null || Function(entry) is null),
            _ => false,
        };

    private static DebugNode? Function(DebugNode entry)
    {
        var parent = entry.Parent;
        while (parent is not null && parent.Tag != DebugTag.Subprogram)
            parent = parent.Parent;
        return parent;
    }

    private bool IsGlobal(string function) =>
        unit.Pre.Symbols.Any(symbol => symbol.Name == function && symbol.Binding != ElfSymbolBinding.Local);

    private bool IsAddressTaken(string function)
    {
        // The clones that the compiler makes of a function have its name and a suffix.
        bool Is(string name) => name == function || name.StartsWith(function + ".", StringComparison.Ordinal);
        return unit.Changes.PreFunctions.Any(user =>
                user.Parts.Any(part => part.References.Any(reference => reference.TakesAddress && Is(reference.Target)))
            )
            || unit.Pre.Sections.Where(section =>
                    section.IsAllocated
                    && !section.IsExecutable
                    && section.Name.StartsWith(".data", StringComparison.Ordinal)
                        | section.Name.StartsWith(".rodata", StringComparison.Ordinal)
                )
                .Any(section =>
                    section.Relocations.Any(relocation =>
                        unit.Pre.Symbols[relocation.SymbolIndex] is { } symbol
                        && (Is(symbol.Name) || PointsTo(symbol, relocation.Addend, Is))
                    )
                );
    }

    private bool PointsTo(ElfSymbol section, long addend, Func<string, bool> isIt) =>
        section.Type == ElfSymbolType.Section
        && unit.Changes.PreFunctions.Any(function =>
            isIt(function.Name)
            && function.Parts[0].Range.Section == section.SectionIndex
            && function.Parts[0].Range.Offset == (ulong)addend
        );

    // Definition, declaration, `struct x name`, `struct x *name` in a list of parameters.
    private bool OnlyDeclares(string code)
    {
        foreach (
            Match match in Regex.Matches(
                code,
                Regex.Escape(type).Replace("\\ ", @"\s+", StringComparison.Ordinal) + @"\b\s*(?<next>[^;=]{0,80})"
            )
        )
        {
            string before = code[..match.Index].TrimEnd(),
                next = match.Groups["next"].Value;
            bool definition = next.StartsWith('{') || next.Length == 0;
            bool variable = Regex.IsMatch(next, @"^\w+\s*($|[\[,)])") && !before.EndsWith("sizeof(", StringComparison.Ordinal);
            bool parameter = Regex.IsMatch(next, @"^\*\s*(const\s+)?\w+\s*[,)]") && Regex.IsMatch(before, @"[(,]\s*(const)?$");
            if (!definition && !variable && !parameter)
                return No($"the source mentions it in '{type} {next.Split('\n')[0].Trim()}'") is not null;
        }
        return true;
    }

    private static Regex Comments() => new(@"/\*.*?\*/|//[^\n]*", RegexOptions.Singleline);

    private bool CallsPassOn(string code, IReadOnlyList<DebugNode> entries, DebugNode definition, HashSet<string> takers)
    {
        // Names mean something within a function: the last one that is defined above a call.
        var named = entries
            .Where(entry =>
                entry.Tag is DebugTag.Parameter or DebugTag.Variable
                && entry.Name.Length != 0
                && entry.Type is not null
                && !IsInlined(entry)
            )
            .ToLookup(entry => (Function(entry)?.Name ?? "", entry.Name), entry => Reaches(entry.Type, definition));
        var functions = entries
            .Where(entry => entry is { Tag: DebugTag.Subprogram, IsDeclaration: false, Location: not null } && IsUnit(entry.Location.Path))
            .Select(entry => (entry.Location!.Line, entry.Name))
            .Distinct()
            .OrderBy(function => function.Line)
            .ToList();
        foreach (string taker in takers)
        {
            var places = entries
                .Where(entry =>
                    entry.Tag == DebugTag.Parameter && entry.Parent is { Tag: DebugTag.Subprogram } parent && parent.Name == taker
                )
                .GroupBy(entry => entry.Parent!)
                .First()
                .Select((entry, index) => (entry, index))
                .Where(pair => Reaches(pair.entry.Type, definition) == Reach.Pointer)
                .Select(pair => pair.index)
                .ToList();
            foreach (Match call in Regex.Matches(code, $@"\b{Regex.Escape(taker)}\s*\("))
            {
                var arguments = Arguments(code, call.Index + call.Length);
                int line = code.AsSpan(0, call.Index).Count('\n') + 1;
                string caller = functions.LastOrDefault(function => function.Line <= line).Name ?? "";
                if (
                    arguments is null
                    || places.Exists(place => place >= arguments.Count || !IsPassedOn(arguments[place], name => named[(caller, name)]))
                )
                    return No($"a call of {taker} passes something else") is not null;
            }
        }
        return true;
    }

    private static bool IsPassedOn(string argument, Func<string, IEnumerable<Reach>> named)
    {
        // A definition or declaration of the function itself.
        if (Regex.IsMatch(argument, @"^(const\s+)?(struct|union)\s+\w+\s*\*\s*\w*$"))
            return true;
        bool address = argument.StartsWith('&');
        string name = argument.TrimStart('&').Trim();
        return Regex.IsMatch(name, @"^\w+$")
            && named(name).ToList() is { Count: > 0 } meanings
            && meanings.TrueForAll(reach => reach == (address ? Reach.Value : Reach.Pointer));
    }

    private static bool IsInlined(DebugNode entry)
    {
        for (var parent = entry.Parent; parent is not null; parent = parent.Parent)
        {
            if (parent.Tag == DebugTag.InlinedSubroutine)
                return true;
        }
        return false;
    }

    private static List<string>? Arguments(string code, int start)
    {
        List<string> arguments = [];
        int depth = 0,
            from = start;
        for (int at = start; at < code.Length && at < start + 2000; at++)
        {
            if (code[at] is '(' or '[' or '{')
                depth++;
            else if (depth > 0 && code[at] is ')' or ']' or '}' && depth > 0)
                depth--;
            else if (depth == 0 && code[at] is ',' or ')' && depth == 0)
            {
                arguments.Add(code[from..at].Trim());
                from = at + 1;
                if (code[at] == ')')
                    return arguments;
            }
        }
        return null;
    }
}
