// SPDX-License-Identifier: MIT
// Which node of the pre object is which of the post object. Names decide where they can. What the compiler numbers is
// told apart by colour refinement: a node's colour is what it holds, whom it refers to and who refers to it, where named
// nodes have their name for a colour and numbered ones the colour of the round before. It is the algorithm by which
// linkers fold identical code; here equal colours of two objects, unique in each, are one thing. Colours are made in
// three strengths, from "same place in the same code" down to "used by the same functions", and a weaker one is tried
// only on what the stronger left. Static locals of one name that are alike in all that go by the lines of their
// declarations, where those are the same before and after. What then is still ambiguous stays uncorrelated.
using System.Security.Cryptography;
using System.Text;
using Ksplice.Build.Dwarf;

namespace Ksplice.Build.Differencing;

/// <summary>The correspondence of the nodes of two objects.</summary>
internal sealed class Correlation
{
    private readonly ObjectNode?[] _postOf;
    private readonly ObjectNode?[] _preOf;
    private readonly Dictionary<ObjectNode, string> _colours = [];
    private readonly Dictionary<ObjectReference, string> _places = [];

    public Correlation(ObjectGraph pre, ObjectGraph post)
    {
        _postOf = new ObjectNode?[pre.Nodes.Count];
        _preOf = new ObjectNode?[post.Nodes.Count];
        Pre = pre;
        Post = post;
        MatchNames();
        MatchAnonymous();
        MatchNumbered();
    }

    public ObjectGraph Pre { get; }

    public ObjectGraph Post { get; }

    /// <summary>Numbered things of which the pre and the post object both have some left that cannot be told apart, by post node.</summary>
    public Dictionary<ObjectNode, IReadOnlyList<ObjectNode>> Ambiguous { get; } = [];

    public ObjectNode? PostOf(ObjectNode pre) => _postOf[pre.Id];

    public ObjectNode? PreOf(ObjectNode post) => _preOf[post.Id];

    private void Join(ObjectNode pre, ObjectNode post)
    {
        _postOf[pre.Id] = post;
        _preOf[post.Id] = pre;
    }

    private static bool IsMatchedByName(ObjectNode node) =>
        node.Kind is NodeKind.Function or NodeKind.Fragment or NodeKind.Data && !node.IsAnonymous;

    private static bool SameSort(ObjectNode a, ObjectNode b) => a.Kind == b.Kind && (a.Role == b.Role);

    private void MatchNames()
    {
        var pre = ByName(Pre);
        var post = ByName(Post);
        foreach (var (name, node) in post)
        {
            if (
                node is not null
                && pre.GetValueOrDefault(name) is { } other
                && SameSort(node, other)
                && _preOf[node.Id] is null
                && _postOf[other.Id] is null
            )
                Join(other, node);
        }
    }

    // Names that mean one thing in the object; a name that occurs twice maps to null.
    private static Dictionary<string, ObjectNode?> ByName(ObjectGraph graph)
    {
        Dictionary<string, ObjectNode?> byName = [];
        foreach (var node in graph.Nodes.Where(IsMatchedByName))
        {
            foreach (var symbol in node.Symbols.Where(symbol => SymbolNames.Base(symbol.Name) == symbol.Name))
            {
                if (!byName.TryAdd(symbol.Name, node) && byName[symbol.Name] != node)
                    byName[symbol.Name] = null;
            }
        }
        return byName;
    }

    // Content without a symbol: one section of a name has one such part, or it is left alone.
    private void MatchAnonymous()
    {
        static ILookup<(NodeKind, string), ObjectNode> Group(ObjectGraph graph) =>
            graph
                .Nodes.Where(node =>
                    node is { IsAnonymous: true, Kind: NodeKind.Data or NodeKind.Dropped or NodeKind.Unknown or NodeKind.Fragment }
                )
                .ToLookup(node => (node.Kind, node.Section.Name));
        var pre = Group(Pre);
        foreach (var group in Group(Post))
        {
            var others = pre[group.Key].ToList();
            var own = group.ToList();
            for (int i = 0; i < own.Count && own.Count == others.Count; i++)
                Join(others[i], own[i]);
        }
    }

    private enum Strength
    {
        Places,
        Content,
        Users,
    }

    private void MatchNumbered()
    {
        var pre = Pre.Nodes.Where(node => IsMatchedByName(node) && _postOf[node.Id] is null).ToList();
        var post = Post.Nodes.Where(node => IsMatchedByName(node) && _preOf[node.Id] is null).ToList();
        foreach (var node in pre.Concat(post))
            _colours[node] = Hash(Label(node));

        for (var strength = Strength.Places; strength <= Strength.Users; )
        {
            Refine(pre, post, strength);
            int joined = JoinUnique(pre, post);
            pre.RemoveAll(node => _postOf[node.Id] is not null);
            post.RemoveAll(node => _preOf[node.Id] is not null);
            // Every pair that is found may tell its neighbours apart, by the strongest test again.
            strength = joined == 0 ? strength + 1 : Strength.Places;
            if (pre.Count == 0 || post.Count == 0)
                return;
        }
        JoinAlike(pre, post);
        JoinByLine(pre.FindAll(node => !IsJoined(node)), post.FindAll(node => !IsJoined(node)));
        JoinInOrder(pre.FindAll(node => !IsJoined(node)), post.FindAll(node => !IsJoined(node)));
        JoinSingles(pre.FindAll(node => !IsJoined(node)), post.FindAll(node => !IsJoined(node)));
    }

    // A name that trace_printk and its like print is what it says; which of several that say the same is meant does not matter.
    private void JoinAlike(List<ObjectNode> pre, List<ObjectNode> post)
    {
        static bool IsName(ObjectNode node) => node.Section.Name == "__tracepoint_str";
        var others = pre.Where(IsName).ToLookup(Content, StringComparer.Ordinal);
        foreach (var group in post.Where(IsName).ToLookup(Content, StringComparer.Ordinal))
        {
            var candidates = others[group.Key].ToList();
            foreach (var (old, now) in candidates.Count == group.Count() ? candidates.Zip(group) : [])
                Join(old, now);
        }
    }

    private string Content(ObjectNode node) =>
        string.Join(
            '|',
            [
                Label(node),
                Convert.ToHexString(node.MaskedBytes()),
                .. node.References.Select(reference => $"{reference.Offset} {Identity(reference)}+{reference.TargetOffset}"),
            ]
        );

    // Lines that moved would pair one variable with its neighbour: all of a name must stand where they stood.
    private void JoinByLine(List<ObjectNode> pre, List<ObjectNode> post)
    {
        static bool IsLocal(ObjectNode node) => node is { Kind: NodeKind.Data, Role: SectionRole.Data, IsGlobal: false };
        var others = pre.Where(IsLocal).ToLookup(Label, StringComparer.Ordinal);
        var groups = post.Where(IsLocal)
            .GroupBy(Label, StringComparer.Ordinal)
            .Where(group => group.Count() > 1 && group.Count() == others[group.Key].Count())
            .ToList();
        if (groups.Count == 0)
            return;
        var (before, after) = (VariableLines.Read(Pre.Elf), VariableLines.Read(Post.Elf));
        foreach (var group in groups)
        {
            var old = others[group.Key].ToLookup(node => before.GetValueOrDefault((node.Section.Index, node.Start)));
            var now = group.ToLookup(node => after.GetValueOrDefault((node.Section.Index, node.Start)));
            if (
                now.Contains(0)
                || !now.All(same =>
                    same.Count() == 1
                    && old[same.Key].Count() == 1
                    && old[same.Key].First().Size == same.First().Size
                    && SharesUser(old[same.Key].First(), same.First())
                )
            )
                continue;
            foreach (var same in now)
                Join(old[same.Key].First(), same.First());
        }
    }

    // A function has as many as before: the first is the first. If that is wrong, a message is given once more, or two locks share a class.
    private void JoinInOrder(List<ObjectNode> pre, List<ObjectNode> post)
    {
        string Place(ObjectNode node) =>
            string.Join(
                '|',
                node.Referrers.Select(reference => Identity(reference.Holder.Root))
                    .Distinct(StringComparer.Ordinal)
                    .Order(StringComparer.Ordinal)
                    .Prepend(Label(node))
            );
        static IEnumerable<ObjectNode> InOrder(IEnumerable<ObjectNode> nodes) =>
            nodes.OrderBy(node => node.Section.Index).ThenBy(node => node.Start);
        var others = pre.Where(node => SymbolNames.IsOfAPlace(node.Name)).ToLookup(Place, StringComparer.Ordinal);
        foreach (var group in post.Where(node => SymbolNames.IsOfAPlace(node.Name)).ToLookup(Place, StringComparer.Ordinal))
        {
            foreach (var (old, now) in others[group.Key].Count() == group.Count() ? InOrder(others[group.Key]).Zip(InOrder(group)) : [])
                Join(old, now);
        }
    }

    private static string Label(ObjectNode node) =>
        $"{node.Kind}/{node.Role}/{SymbolNames.Base(node.Name)}/"
        + $"{SectionCatalog.DataClass(node.Kind == NodeKind.Data ? node.Section.Name : "")}";

    private void Refine(List<ObjectNode> pre, List<ObjectNode> post, Strength strength)
    {
        foreach (var node in pre.Concat(post))
            _colours[node] = Hash(Label(node));
        int classes = -1;
        // Each round splits a class or is the last one.
        for (int round = 0; round < 64; round++)
        {
            var next = pre.Concat(post).Select(node => (node, Colour(node, strength))).ToList();
            foreach (var (node, colour) in next)
                _colours[node] = colour;
            int now = _colours.Values.Distinct(StringComparer.Ordinal).Count();
            if (now == classes)
                return;
            classes = now;
        }
    }

    private string Colour(ObjectNode node, Strength strength)
    {
        StringBuilder text = new(Label(node));
        if (strength <= Strength.Content)
        {
            text.Append('|').Append(node.Size).Append('|').Append(Convert.ToHexString(SHA256.HashData(node.MaskedBytes())));
            foreach (var reference in node.References)
                text.Append('|')
                    .Append(reference.Offset)
                    .Append(' ')
                    .Append(reference.Type)
                    .Append(' ')
                    .Append(Identity(reference))
                    .Append('+')
                    .Append(reference.TargetOffset);
        }
        // Code takes its name from who calls it only where that helps; its content says more.
        var users = node
            .Referrers.Where(reference => reference.Field is null)
            .Select(reference =>
                strength == Strength.Places
                    ? $"{Identity(reference.Holder)}@{Place(reference)}:{reference.TargetOffset}"
                    : Identity(reference.Holder)
            );
        foreach (string user in users.Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal))
            text.Append('<').Append(user);
        return Hash(text.ToString());
    }

    // An offset is a place only as long as what comes before it is the same: in changed code another variable's use may lie there.
    private string Place(ObjectReference reference)
    {
        if (!_places.TryGetValue(reference, out string? place))
        {
            byte[] bytes = reference.Holder.MaskedBytes();
            int end = Math.Min((int)reference.Offset + reference.FieldSize, bytes.Length);
            _places[reference] = place = $"{reference.Offset}/{Convert.ToHexString(SHA256.HashData(bytes.AsSpan(0, end)), 0, 16)}";
        }
        return place;
    }

    /// <summary>Says what a reference points at, the same in both objects if it is the same thing.</summary>
    private string Identity(ObjectReference reference) =>
        reference.Target is null ? "extern " + reference.External : Identity(reference.Target);

    private string Identity(ObjectNode node)
    {
        if (node.Kind == NodeKind.String || node.Kind == NodeKind.Constant)
            return node.Kind + Convert.ToHexString(node.Bytes);
        if (node.IsAnonymous && node.Kind == NodeKind.Data && SectionCatalog.IsGenerated(node.Section))
            return node.Kind + Convert.ToHexString(node.MaskedBytes());
        if (node.Parent is not null)
            return Identity(node.Root) + "/" + node.Kind + SymbolNames.Base(node.Name);
        if (_colours.TryGetValue(node, out string? colour) && !IsJoined(node))
            return colour;
        var named = Owner(node) ?? node;
        return $"{named.Kind} {named.Name}";
    }

    // A joined pair goes by the pre node's name.
    private ObjectNode? Owner(ObjectNode node) => IsPost(node) ? _preOf[node.Id] : null;

    private bool IsPost(ObjectNode node) => node.Id < Post.Nodes.Count && ReferenceEquals(Post.Nodes[node.Id], node);

    private bool IsJoined(ObjectNode node) => (IsPost(node) ? _preOf[node.Id] : _postOf[node.Id]) is not null;

    private int JoinUnique(List<ObjectNode> pre, List<ObjectNode> post)
    {
        int joined = 0;
        var others = pre.ToLookup(node => _colours[node], StringComparer.Ordinal);
        foreach (var group in post.ToLookup(node => _colours[node], StringComparer.Ordinal))
        {
            var candidates = others[group.Key].ToList();
            if (candidates.Count == 1 && group.Count() == 1 && SharesUser(candidates[0], group.First()))
            {
                Join(candidates[0], group.First());
                joined++;
            }
        }
        return joined;
    }

    // The last of its name on either side is the same thing if a function that used the one uses the other.
    private void JoinSingles(List<ObjectNode> pre, List<ObjectNode> post)
    {
        var others = pre.ToLookup(Label, StringComparer.Ordinal);
        foreach (var group in post.ToLookup(Label, StringComparer.Ordinal))
        {
            var candidates = others[group.Key].ToList();
            if (candidates.Count == 0)
                continue;
            if (candidates.Count == 1 && group.Count() == 1)
            {
                if (SharesUser(candidates[0], group.First()))
                    Join(candidates[0], group.First());
                continue;
            }
            foreach (var node in group)
            {
                var rivals = candidates.Where(candidate => SharesUser(candidate, node)).ToList();
                if (rivals.Count != 0)
                    Ambiguous[node] = rivals;
            }
        }
    }

    private bool SharesUser(ObjectNode pre, ObjectNode post)
    {
        // A function of one name is one function, whoever calls it; a static local is one only within its function.
        if (pre.Kind == NodeKind.Function || (pre.Referrers.Count == 0 && post.Referrers.Count == 0))
            return true;
        var users = pre.Referrers.Select(reference => Identity(reference.Holder.Root)).ToHashSet(StringComparer.Ordinal);
        return post.Referrers.Any(reference => users.Contains(Identity(reference.Holder.Root)));
    }

    private static string Hash(string text) => Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes(text)), 0, 16);
}
