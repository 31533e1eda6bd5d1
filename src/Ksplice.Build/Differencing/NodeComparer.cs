// SPDX-License-Identifier: MIT
// Whether a node of the pre object and its counterpart of the post object are the same thing: masked bytes, relocations
// by what they mean, and the entries of special sections. ORC is left out: objtool derives it from the code, and folds
// equal entries across the functions of one section.
using System.Globalization;

namespace Ksplice.Build.Differencing;

internal sealed class NodeComparer(Pairing pairing)
{
    private readonly Dictionary<(ObjectNode, ObjectNode), bool> _byContent = [];
    private readonly List<(ObjectNode, ObjectNode)> _order = [];

    private static readonly string[] Derived = [".orc_unwind_ip"];

    /// <summary>The first difference of a function, its parts and entries, or null.</summary>
    public FunctionChange? CompareFunction(ObjectNode pre, ObjectNode post)
    {
        var (preParts, postParts) = (Parts(pre), Parts(post));
        if (preParts.Count != postParts.Count)
        {
            return new FunctionChange(
                FunctionDifference.Text,
                0,
                pre.Name,
                $"consists of {preParts.Count} parts before and {postParts.Count} after"
            );
        }
        for (int i = 0; i < preParts.Count; i++)
        {
            var kind = preParts[i].Kind == NodeKind.Replacement ? FunctionDifference.SpecialSection : FunctionDifference.Text;
            if (CompareContent(preParts[i], postParts[i], kind) is { } change)
                return change;
        }
        for (int i = 0; i < preParts.Count; i++)
        {
            if (CompareEntries(preParts[i], postParts[i]) is { } change)
                return change;
        }
        if (pre.FallsInto is null && post.FallsInto is null)
            return null;
        return pre.FallsInto is { } next && post.FallsInto is { } other && SameThing(next, other)
            ? null
            : new FunctionChange(
                FunctionDifference.Text,
                pre.Size,
                pre.Name,
                $"runs on into {pre.FallsInto?.Name ?? "nothing"} before and {post.FallsInto?.Name ?? "nothing"} after"
            );
    }

    private static List<ObjectNode> Parts(ObjectNode function) =>
        [
            function,
            .. function
                .Parts.OrderBy(part => part.Kind)
                .ThenBy(part => part.Section.Name, StringComparer.Ordinal)
                .ThenBy(part => part.Start),
        ];

    /// <summary>The first difference of two nodes' bytes or relocations, or null.</summary>
    public FunctionChange? CompareContent(ObjectNode pre, ObjectNode post, FunctionDifference kind = FunctionDifference.Text)
    {
        byte[] before = pre.MaskedBytes(),
            after = post.MaskedBytes();
        int common = before.AsSpan().CommonPrefixLength(after);
        ulong? text = common < Math.Max(before.Length, after.Length) ? (ulong)common : null;
        if (text is null && pre.Size != post.Size)
            text = Math.Min(pre.Size, post.Size);
        var relocation = FirstDifference(pre.References, post.References);
        if (text is null && relocation is null)
            return null;
        if (relocation is { } found && (text is null || found.Offset < text))
        {
            return new FunctionChange(
                kind == FunctionDifference.Text ? FunctionDifference.Relocation : kind,
                found.Offset,
                pre.Name,
                found.Detail
            );
        }
        return new FunctionChange(
            kind,
            text!.Value,
            pre.Name,
            $"bytes {Show(before, (int)text)} became {Show(after, (int)text)}"
                + (pre.Size != post.Size ? string.Create(CultureInfo.InvariantCulture, $", {pre.Size} bytes became {post.Size}") : "")
        );
    }

    private FunctionChange? CompareEntries(ObjectNode pre, ObjectNode post)
    {
        var (before, after) = (Significant(pre), Significant(post));
        for (int i = 0; i < Math.Max(before.Count, after.Count); i++)
        {
            if (i >= before.Count || i >= after.Count)
            {
                var extra = i < before.Count ? before[i] : after[i];
                return new FunctionChange(
                    FunctionDifference.SpecialSection,
                    (ulong)extra.KeyOffset,
                    extra.Section.Name,
                    i < before.Count ? "an entry is gone" : "there is a new entry"
                );
            }
            var (a, b) = (before[i], after[i]);
            if (a.Section.Name != b.Section.Name || a.KeyOffset != b.KeyOffset)
            {
                return new FunctionChange(
                    FunctionDifference.SpecialSection,
                    (ulong)Math.Min(a.KeyOffset, b.KeyOffset),
                    a.Section.Name,
                    $"an entry at 0x{a.KeyOffset:x} became one of {b.Section.Name} at 0x{b.KeyOffset:x}"
                );
            }
            byte[] old = a.MaskedBytes(),
                now = b.MaskedBytes();
            // The last entry of a table may lack its padding.
            int common = Math.Min(old.Length, now.Length);
            int equal = old.AsSpan(0, common).CommonPrefixLength(now.AsSpan(0, common));
            if (equal != common)
            {
                return new FunctionChange(
                    FunctionDifference.SpecialSection,
                    (ulong)a.KeyOffset,
                    a.Section.Name,
                    $"bytes {Show(old, equal)} became {Show(now, equal)}"
                );
            }
            if (FirstDifference(a.References, b.References) is { } difference)
                return new FunctionChange(FunctionDifference.SpecialSection, (ulong)a.KeyOffset, a.Section.Name, difference.Detail);
        }
        return null;
    }

    private static List<TableEntry> Significant(ObjectNode node) =>
        [
            .. node
                .Entries.Where(entry => !Derived.Contains(entry.Section.Name) && !SectionCatalog.IsAnnotation(entry.Section.Name))
                .OrderBy(entry => entry.Section.Name, StringComparer.Ordinal)
                .ThenBy(entry => entry.KeyOffset),
        ];

    private (ulong Offset, string Detail)? FirstDifference(IReadOnlyList<ObjectReference> pre, IReadOnlyList<ObjectReference> post)
    {
        for (int i = 0; i < Math.Max(pre.Count, post.Count); i++)
        {
            if (i >= pre.Count)
                return (post[i].Offset, $"there is a new reference to {Describe(post[i])}");
            if (i >= post.Count)
                return (pre[i].Offset, $"the reference to {Describe(pre[i])} is gone");
            if (pre[i].Offset != post[i].Offset || pre[i].Type != post[i].Type || pre[i].Adjustment != post[i].Adjustment)
                return (Math.Min(pre[i].Offset, post[i].Offset), $"the reference to {Describe(pre[i])} moved or changed its form");
            if (!SameTarget(pre[i], post[i]))
                return (pre[i].Offset, $"a reference to {Describe(pre[i])} became one to {Describe(post[i])}");
        }
        return null;
    }

    private bool SameTarget(ObjectReference pre, ObjectReference post)
    {
        // A static function that became global, or moved to another unit, is still what its name says. Init code has run, and whether it
        // would call the unit's own function or another one of its name does not matter any more.
        if (pre is { Holder.Role: SectionRole.Dropped, Target: { } own } && post.External == own.Name)
            return pre.TargetOffset == post.TargetOffset;
        if (pre.External is not null || post.External is not null)
            return pre.External == post.External && pre.TargetOffset == post.TargetOffset;
        if (pre.Target is null || post.Target is null)
            return pre.Target is null && post.Target is null && pre.TargetOffset == post.TargetOffset;
        return pre.TargetOffset == post.TargetOffset && SameThing(pre.Target, post.Target);
    }

    private bool SameThing(ObjectNode a, ObjectNode b)
    {
        if (a.Kind != b.Kind)
            return false;
        switch (a.Kind)
        {
            case NodeKind.String:
            case NodeKind.Constant:
                return a.Section.EntrySize == b.Section.EntrySize && a.Bytes.SequenceEqual(b.Bytes);
            case NodeKind.ColdPart:
            case NodeKind.Auxiliary:
            case NodeKind.Replacement:
                return pairing.PostOf(a.Root) == b.Root && Parts(a.Root).IndexOf(a) == Parts(b.Root).IndexOf(b);
            case NodeKind.Data when a.IsAnonymous && SectionCatalog.IsGenerated(a.Section) && SectionCatalog.IsGenerated(b.Section):
                return SameContent(a, b);
            case NodeKind.Data when a.IsAnonymous && !a.IsWritable:
                return pairing.PostOf(a) == b && SameContent(a, b);
            case NodeKind.Fragment when !a.IsGlobal && !b.IsGlobal:
                return SameContent(a, b);
            default:
                return pairing.PostOf(a) == b;
        }
    }

    // Constants without a symbol and code that is no function are what they hold; one that leads back to itself is equal
    // unless something else differs. What was found equal on the strength of such an assumption falls with it.
    private bool SameContent(ObjectNode pre, ObjectNode post)
    {
        if (_byContent.TryGetValue((pre, post), out bool known))
            return known;
        int first = _order.Count;
        _order.Add((pre, post));
        _byContent[(pre, post)] = true;
        if ((pre.IsCode ? CompareFunction(pre, post) : CompareContent(pre, post)) is null)
            return true;
        for (int i = first + 1; i < _order.Count; i++)
        {
            if (_byContent.GetValueOrDefault(_order[i]))
                _byContent.Remove(_order[i]);
        }
        return _byContent[(pre, post)] = false;
    }

    /// <summary>Names the target of a reference for a person.</summary>
    public static string Describe(ObjectReference reference)
    {
        string name = reference.Target switch
        {
            null => reference.External ?? "nothing",
            { Kind: NodeKind.String } text => $"\"{Latin(text)}\"",
            { } node => node.Name,
        };
        return reference.TargetOffset == 0 ? name : $"{name}+0x{reference.TargetOffset:x}";
    }

    private static string Latin(ObjectNode text) =>
        string.Concat(text.Bytes[..^1].ToArray().Select(value => value is >= 32 and < 127 ? ((char)value).ToString() : $"\\x{value:x2}"));

    /// <summary>A few bytes from <paramref name="offset"/> on, in hexadecimal.</summary>
    public static string Show(ReadOnlySpan<byte> bytes, int offset) =>
        offset >= bytes.Length ? "(none)" : Convert.ToHexStringLower(bytes.Slice(offset, Math.Min(8, bytes.Length - offset)));
}
