// SPDX-License-Identifier: MIT
// Structural equality of types of two objects. Named structs, unions and enums are equal if their names are: they are
// compared on their own, once, under that name, and so are typedefs. So recursion only goes through anonymous types, and a pair met again
// is taken as equal (the largest bisimulation, as for any recursive type). A typedef against what it
// stands for, const and volatile don't count: they change no layout.

using Ksplice.Build.Elf;

namespace Ksplice.Build.Analysis;

/// <summary>Compares types of <paramref name="pre"/> with types of <paramref name="post"/>.</summary>
internal sealed class TypeEquality(BtfTypes pre, BtfTypes post)
{
    private const int MaximumDepth = 512;
    private readonly HashSet<(int, int)> _assumed = [];
    private int _depth;

    public bool AreEqual(int before, int after)
    {
        _assumed.Clear();
        return Equal(before, after);
    }

    /// <summary>The same, member by member, though the types have names.</summary>
    public bool HaveEqualContent(int before, int after)
    {
        _assumed.Clear();
        return Content(before, after);
    }

    private bool Equal(int before, int after)
    {
        if (SameTypedef(before, after))
            return true;
        (before, after) = (pre.Resolve(before), post.Resolve(after));
        if (!_assumed.Add((before, after)))
            return true;
        if (Tag(pre, before) is var tag && tag != Tag(post, after))
            return false;
        if (tag is 's' or 'u' or 'e')
        {
            var (name, otherName) = (pre.NameOf(before), post.NameOf(after));
            if (name.Length != 0 || otherName.Length != 0)
                return name == otherName;
        }
        if (++_depth > MaximumDepth)
            ElfFormatException.Throw(pre.Name, 0, $"BTF type {before} is nested more than {MaximumDepth} deep");
        var equal = Content(before, after);
        _depth--;
        return equal;
    }

    /// <summary>A typedef that both sides have is compared on its own, too.</summary>
    private bool SameTypedef(int before, int after)
    {
        (before, after) = (Unqualified(pre, before), Unqualified(post, after));
        return pre.KindOf(before) == BtfKind.Typedef && post.KindOf(after) == BtfKind.Typedef && pre.NameOf(before) == post.NameOf(after);
    }

    private static int Unqualified(BtfTypes types, int id)
    {
        types.Resolve(id);
        while (types.KindOf(id) is BtfKind.Const or BtfKind.Volatile or BtfKind.Restrict or BtfKind.TypeTag)
            id = types.Referenced(id);
        return id;
    }

    private bool Content(int before, int after)
    {
        switch (pre.KindOf(before))
        {
            case BtfKind.Void:
                return true;
            case BtfKind.Int:
                return pre.SizeOf(before) == post.SizeOf(after) && pre.IntEncoding(before) == post.IntEncoding(after);
            case BtfKind.Float:
                return pre.SizeOf(before) == post.SizeOf(after);
            case BtfKind.Array:
                return pre.ElementCount(before) == post.ElementCount(after) && Equal(pre.Referenced(before), post.Referenced(after));
            case BtfKind.Struct or BtfKind.Union:
                return pre.SizeOf(before) == post.SizeOf(after) && MembersEqual(before, after);
            case BtfKind.Enum or BtfKind.Enum64:
                return pre.SizeOf(before) == post.SizeOf(after) && pre.Enumerators(before).SequenceEqual(post.Enumerators(after));
            case BtfKind.FunctionPrototype:
                return Equal(pre.Referenced(before), post.Referenced(after))
                    && ParametersEqual(pre.Parameters(before), post.Parameters(after));
            case BtfKind.Forward:
                return true;
            default:
                return Equal(pre.Referenced(before), post.Referenced(after));
        }
    }

    private bool MembersEqual(int before, int after)
    {
        if (pre.Length(before) != post.Length(after))
            return false;
        for (var i = 0; i < pre.Length(before); i++)
        {
            if (!pre.HasMemberLike(before, i, post, after) || !Equal(pre.MemberType(before, i), post.MemberType(after, i)))
                return false;
        }
        return true;
    }

    private bool ParametersEqual(IReadOnlyList<BtfParameter> before, IReadOnlyList<BtfParameter> after)
    {
        if (before.Count != after.Count)
            return false;
        for (var i = 0; i < before.Count; i++)
        {
            if (!Equal(before[i].Type, after[i].Type))
                return false;
        }
        return true;
    }

    /// <summary>A declaration is of the same kind as its definition.</summary>
    private static char Tag(BtfTypes types, int id) =>
        types.KindOf(id) switch
        {
            BtfKind.Struct => 's',
            BtfKind.Union => 'u',
            BtfKind.Forward => types.IsUnionForward(id) ? 'u' : 's',
            BtfKind.Enum or BtfKind.Enum64 => 'e',
            var kind => (char)kind,
        };
}
