// SPDX-License-Identifier: MIT
// What a patch does to the types of a unit. The running kernel is full of objects of the old types, and of code compiled
// with them that the update does not replace; so a type that exists before and after must be the same, by name. Types that
// only one side has are no change: new ones have no objects yet, and the compiler leaves out what a unit does not use.

using System.Globalization;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Ksplice.Build.Elf;

namespace Ksplice.Build.Analysis;

/// <summary>One thing about a type that a patch changes.</summary>
/// <param name="Rule">Which of the rules about types it breaks.</param>
/// <param name="Name">The type, function or variable, <c>struct foo</c>.</param>
/// <param name="Member">The member or enum constant, or null.</param>
/// <param name="Before">What it was, in words; what happens to the member.</param>
/// <param name="After">What it is, in words; null where <paramref name="Before"/> says it all.</param>
public sealed record TypeChange(DiagnosticDescriptor Rule, string Name, string? Member, string Before, string? After)
{
    /// <summary>The report of the change; <paramref name="more"/> ends its sentence.</summary>
    public Diagnostic ToDiagnostic(SourceLocation location, string more = "") =>
        Diagnostic.Create(Rule, location, Member is null ? [Name, Before, After, more] : [Name, Member, Before, more]) with
        {
            Object = Name,
        };
}

/// <summary>Compares the types of a unit's pre and post object.</summary>
public sealed class TypeComparison
{
    private const int MembersToName = 5;
    private readonly BtfTypes _pre;
    private readonly BtfTypes _post;
    private readonly List<TypeChange> _changes = [];
    private readonly TypeEquality _equality;
    private readonly IReadOnlySet<string> _globals;

    private TypeComparison(BtfTypes pre, BtfTypes post, IReadOnlySet<string> globals)
    {
        (_pre, _post, _globals) = (pre, post, globals);
        _equality = new TypeEquality(pre, post);
    }

    /// <summary>
    /// The names with global binding of an object: gcc 12 writes linkage 0 for every function, so the symbol table has to tell.
    /// </summary>
    public static IReadOnlySet<string> Globals(ElfObject pre) =>
        pre
            .Symbols.Where(symbol => symbol.Binding != ElfSymbolBinding.Local)
            .Select(symbol => symbol.Name)
            .ToHashSet(StringComparer.Ordinal);

    /// <summary>All that is not the same in <paramref name="post"/> as in <paramref name="pre"/>, by kind and name.</summary>
    public static IReadOnlyList<TypeChange> Find(BtfTypes pre, BtfTypes post, IReadOnlySet<string> globals)
    {
        var comparison = new TypeComparison(pre, post, globals);
        comparison.Pairs("struct ", BtfKind.Struct, BtfKind.Struct, comparison.CompareMembers);
        comparison.Pairs("union ", BtfKind.Union, BtfKind.Union, comparison.CompareMembers);
        comparison.Pairs("enum ", BtfKind.Enum, BtfKind.Enum64, comparison.CompareEnum);
        comparison.CompareAnonymousEnums();
        comparison.Pairs("", BtfKind.Typedef, BtfKind.Typedef, comparison.CompareTypedef);
        comparison.Pairs("", BtfKind.Function, BtfKind.Function, comparison.CompareFunction);
        comparison.Pairs("", BtfKind.Variable, BtfKind.Variable, comparison.CompareVariable);
        return comparison._changes;
    }

    private void Report(DiagnosticDescriptor rule, string name, string? member, string before, string? after = null) =>
        _changes.Add(new TypeChange(rule, name, member, before, after));

    /// <summary>
    /// Calls <paramref name="compare"/> for the types of a kind that both sides have, in order of names. Where a name is used
    /// more than once (types inside functions), each old one must have an equal new one or the one at its place is compared.
    /// </summary>
    private void Pairs(string prefix, BtfKind kind, BtfKind otherKind, Action<string, int, int> compare)
    {
        var after = ByName(_post, kind, otherKind);
        foreach (var (name, olds) in ByName(_pre, kind, otherKind).OrderBy(olds => olds.Key, StringComparer.Ordinal))
        {
            if (!after.TryGetValue(name, out var news))
                continue;
            for (var i = 0; i < olds.Count; i++)
            {
                var old = olds[i];
                if (news.Count > 1 && news.Exists(candidate => _equality.HaveEqualContent(old, candidate)))
                    continue;
                compare(prefix + name, old, news[Math.Min(i, news.Count - 1)]);
            }
        }
    }

    private static Dictionary<string, List<int>> ByName(BtfTypes types, BtfKind kind, BtfKind otherKind)
    {
        var result = new Dictionary<string, List<int>>(StringComparer.Ordinal);
        for (var id = 1; id < types.Count; id++)
        {
            if ((types.KindOf(id) != kind && types.KindOf(id) != otherKind) || types.NameOf(id) is not { Length: > 0 } name)
                continue;
            if (!result.TryGetValue(name, out var ids))
                result.Add(name, ids = []);
            ids.Add(id);
        }
        // gcc numbers types by addresses in its own memory: ids must not decide which of several is compared with which.
        foreach (var ids in result.Values.Where(ids => ids.Count > 1))
            ids.Sort((a, b) => string.CompareOrdinal(Shape(types, a), Shape(types, b)));
        return result;
    }

    private static string Shape(BtfTypes types, int id) =>
        types.KindOf(id) switch
        {
            BtfKind.Struct or BtfKind.Union => $"{types.SizeOf(id)} "
                + string.Join(' ', types.Members(id).Select(member => $"{member.Name}@{member.BitOffset} {types.Describe(member.Type)}")),
            BtfKind.Enum or BtfKind.Enum64 => string.Join(' ', types.Enumerators(id).Select(entry => $"{entry.Name}={entry.Value}")),
            _ => types.Describe(types.Referenced(id)),
        };

    private void CompareMembers(string name, int before, int after)
    {
        if (_equality.HaveEqualContent(before, after))
            return;
        if (_pre.SizeOf(before) != _post.SizeOf(after))
            Report(TypeDiagnostics.SizeChanged, name, null, Text(_pre.SizeOf(before)), Text(_post.SizeOf(after)));
        var changes = MemberChanges(Named(_pre.Members(before)), Named(_post.Members(after))).ToList();
        foreach (var (member, change) in changes.Take(MembersToName))
            Report(TypeDiagnostics.MemberChanged, name, member, change);
        if (changes.Count > MembersToName)
            Report(
                TypeDiagnostics.MemberChanged,
                name,
                changes[MembersToName].Member,
                $"and {changes.Count - MembersToName - 1} more after it change, too"
            );
    }

    /// <summary>Members by name; anonymous ones by their place among the anonymous.</summary>
    private static List<(string Name, BtfMember Member)> Named(IReadOnlyList<BtfMember> members)
    {
        var anonymous = 0;
        return [.. members.Select(member => (member.Name.Length != 0 ? member.Name : $"<anonymous {++anonymous}>", member))];
    }

    private IEnumerable<(string Member, string Change)> MemberChanges(
        List<(string Name, BtfMember Member)> before,
        List<(string Name, BtfMember Member)> after
    )
    {
        var news = new Dictionary<string, BtfMember>(StringComparer.Ordinal);
        foreach (var (name, member) in after)
            news.TryAdd(name, member);
        // What is added first: it is why the others move.
        foreach (var (name, now) in after)
        {
            if (!before.Exists(entry => entry.Name == name))
                yield return (name, $"is added at offset {Offset(now.BitOffset)}");
        }
        foreach (var (name, old) in before)
        {
            if (!news.TryGetValue(name, out var now))
                yield return (name, $"(offset {Offset(old.BitOffset)}) is removed");
            else if (old.BitOffset != now.BitOffset)
                yield return (name, $"moves from offset {Offset(old.BitOffset)} to {Offset(now.BitOffset)}");
            else if (old.BitFieldSize != now.BitFieldSize)
                yield return (name, $"changes from {Bits(old)} to {Bits(now)}");
            else if (!_equality.AreEqual(old.Type, now.Type))
                yield return (name, $"changes its type from '{_pre.Describe(old.Type)}' to '{_post.Describe(now.Type)}'");
        }
    }

    private static string Offset(uint bits) =>
        bits % 8 == 0 ? (bits / 8).ToString(CultureInfo.InvariantCulture) : $"{bits / 8} bit {bits % 8}";

    private static string Text(uint value) => value.ToString(CultureInfo.InvariantCulture);

    private static string Bits(BtfMember member) => member.BitFieldSize == 0 ? "no bit field" : $"a bit field of {member.BitFieldSize}";

    private void CompareEnum(string name, int before, int after)
    {
        if (_pre.SizeOf(before) != _post.SizeOf(after))
            Report(TypeDiagnostics.SizeChanged, name, null, Text(_pre.SizeOf(before)), Text(_post.SizeOf(after)));
        var news = new Dictionary<string, long>(StringComparer.Ordinal);
        foreach (var (constant, value) in _post.Enumerators(after))
            news.TryAdd(constant, value);
        foreach (var (constant, value) in _pre.Enumerators(before))
        {
            if (!news.Remove(constant, out var now))
                Report(TypeDiagnostics.EnumChanged, name, constant, $"(value {value}) is removed");
            else if (now != value)
                Report(TypeDiagnostics.EnumChanged, name, constant, $"changes its value from {value} to {now}");
        }
        foreach (var (constant, value) in _post.Enumerators(after))
        {
            if (news.ContainsKey(constant))
                Report(TypeDiagnostics.EnumChanged, name, constant, $"is added with value {value}");
        }
    }

    /// <summary>An enum without a name is known by its constants: the first that both sides have pairs them.</summary>
    private void CompareAnonymousEnums()
    {
        var news = new Dictionary<string, int>(StringComparer.Ordinal);
        foreach (var id in AnonymousEnums(_post))
        {
            foreach (var constant in _post.Enumerators(id))
                news.TryAdd(constant.Name, id);
        }
        foreach (var id in AnonymousEnums(_pre))
        {
            foreach (var constant in _pre.Enumerators(id))
            {
                if (!news.TryGetValue(constant.Name, out var partner))
                    continue;
                CompareEnum($"enum {{ {_pre.Enumerators(id)[0].Name}, … }}", id, partner);
                break;
            }
        }
    }

    private static IEnumerable<int> AnonymousEnums(BtfTypes types) =>
        Enumerable
            .Range(1, types.Count - 1)
            .Where(id => types.KindOf(id) is BtfKind.Enum or BtfKind.Enum64 && types.NameOf(id).Length == 0)
            .OrderBy(id => Shape(types, id), StringComparer.Ordinal);

    private void CompareTypedef(string name, int before, int after)
    {
        var (old, now) = (_pre.Resolve(before), _post.Resolve(after));
        if (
            _pre.KindOf(old) is BtfKind.Struct or BtfKind.Union
            && _pre.KindOf(old) == _post.KindOf(now)
            && _pre.NameOf(old).Length == 0
            && _post.NameOf(now).Length == 0
        )
            CompareMembers("typedef " + name, old, now);
        else if (
            !(_pre.KindOf(old) is BtfKind.Enum or BtfKind.Enum64 && _pre.NameOf(old).Length == 0 && _post.NameOf(now).Length == 0)
            && !_equality.AreEqual(old, now)
        )
            Report(
                TypeDiagnostics.TypedefChanged,
                name,
                null,
                _pre.Describe(_pre.Referenced(before)),
                _post.Describe(_post.Referenced(after))
            );
    }

    private void CompareFunction(string name, int before, int after)
    {
        // A static function's callers are all in this unit: they are compiled anew with it.
        if (!_globals.Contains(name))
            return;
        if (!_equality.AreEqual(_pre.Referenced(before), _post.Referenced(after)))
            Report(
                TypeDiagnostics.PrototypeChanged,
                name,
                null,
                _pre.Describe(_pre.Referenced(before)),
                _post.Describe(_post.Referenced(after))
            );
    }

    private void CompareVariable(string name, int before, int after)
    {
        // What the compiler numbers has another's name when the patch adds one before it. Differencing tells such data by contents.
        if (SymbolNames.Base(name) != name)
            return;
        if (!_equality.AreEqual(_pre.Referenced(before), _post.Referenced(after)))
            Report(
                TypeDiagnostics.VariableChanged,
                name,
                null,
                _pre.Describe(_pre.Referenced(before)),
                _post.Describe(_post.Referenced(after))
            );
    }
}
