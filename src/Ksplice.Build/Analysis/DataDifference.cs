// SPDX-License-Identifier: MIT
// What of a variable changes, by member: the type comes from BTF, the values from the objects' bytes and relocations.
using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using Ksplice.Build.Differencing;

namespace Ksplice.Build.Analysis;

/// <summary>A member that has another value.</summary>
/// <param name="Path">The member, <c>.name</c> or <c>[3].mode</c>; empty for a plain variable.</param>
/// <param name="Before">The value before, in words.</param>
/// <param name="After">The value after.</param>
/// <param name="IsFunctionPointer">True for a pointer to a function.</param>
public sealed record MemberDifference(string Path, string Before, string After, bool IsFunctionPointer)
{
    /// <inheritdoc/>
    public override string ToString() => $"{(Path.Length == 0 ? "its value" : Path)} changes from {Before} to {After}";
}

/// <summary>Compares the values of a variable.</summary>
public sealed class DataDifference
{
    private const int Most = 100;
    private readonly BtfTypes _types;
    private readonly ObjectVariable _pre,
        _post;
    private readonly List<MemberDifference> _found = [];

    private DataDifference(BtfTypes types, ObjectVariable pre, ObjectVariable post) => (_types, _pre, _post) = (types, pre, post);

    /// <summary>The members of <paramref name="change"/> that differ, in order; empty if its type is not known or is another one.</summary>
    public static IReadOnlyList<MemberDifference> Find(AnalyzedUnit unit, ChangedVariable change)
    {
        ArgumentNullException.ThrowIfNull(unit);
        ArgumentNullException.ThrowIfNull(change);
        if (
            change is not { Pre: { } pre, Post: { } post }
            || pre.Range.Size != post.Range.Size
            || unit.PreTypes is not { } types
            || TypeOf(types, pre.Name) is not { } type
        )
            return [];
        DataDifference difference = new(types, pre, post);
        difference.Compare(type, 0, "", 0);
        return difference._found;
    }

    /// <summary>The type of the variable of that name, or null.</summary>
    public static int? TypeOf(BtfTypes types, string variable)
    {
        ArgumentNullException.ThrowIfNull(types);
        string name = variable.Split('.')[0];
        for (int id = 1; id < types.Count; id++)
        {
            if (types.KindOf(id) == BtfKind.Variable && types.NameOf(id) == name)
                return types.Referenced(id);
        }
        return null;
    }

    private void Compare(int type, ulong offset, string path, int depth)
    {
        int id = _types.Resolve(type);
        ulong size = Size(id);
        if (depth > 16 || _found.Count >= Most || size == 0 || offset + size > _pre.Range.Size || Same(offset, size))
            return;
        switch (_types.KindOf(id))
        {
            case BtfKind.Struct or BtfKind.Union:
                foreach (var member in _types.Members(id))
                {
                    string name = member.Name.Length == 0 ? path : $"{path}.{member.Name}";
                    if (member.BitFieldSize != 0)
                        CompareBits(offset, member, name);
                    else
                        Compare(member.Type, offset + (member.BitOffset / 8), name, depth + 1);
                    if (_types.KindOf(id) == BtfKind.Union && _found.Count != 0)
                        break;
                }
                break;
            case BtfKind.Array when IsCharacter(_types.Referenced(id)):
                _found.Add(new(path, Text(_pre, offset, size), Text(_post, offset, size), false));
                break;
            case BtfKind.Array:
                ulong step = Size(_types.Resolve(_types.Referenced(id)));
                for (uint i = 0; step != 0 && i < _types.ElementCount(id); i++)
                    Compare(
                        _types.Referenced(id),
                        offset + (i * step),
                        string.Create(CultureInfo.InvariantCulture, $"{path}[{i}]"),
                        depth + 1
                    );
                break;
            default:
                bool function =
                    _types.KindOf(id) == BtfKind.Pointer
                    && _types.KindOf(_types.Resolve(_types.Referenced(id))) == BtfKind.FunctionPrototype;
                _found.Add(new(path, Value(_pre, id, offset, size), Value(_post, id, offset, size), function));
                break;
        }
    }

    private void CompareBits(ulong offset, BtfMember member, string name)
    {
        ulong before = Bits(_pre, offset, member),
            after = Bits(_post, offset, member);
        if (before != after)
            _found.Add(new(name, before.ToString(CultureInfo.InvariantCulture), after.ToString(CultureInfo.InvariantCulture), false));
    }

    private static ulong Bits(ObjectVariable variable, ulong offset, BtfMember member)
    {
        ulong value = 0;
        for (uint bit = 0; bit < member.BitFieldSize && bit < 64; bit++)
        {
            ulong at = (offset * 8) + member.BitOffset + bit;
            if (at / 8 < (ulong)variable.Bytes.Length && ((variable.Bytes.Span[(int)(at / 8)] >> (int)(at % 8)) & 1) != 0)
                value |= 1UL << (int)bit;
        }
        return value;
    }

    private bool Same(ulong offset, ulong size) =>
        Bytes(_pre, offset, size).AsSpan().SequenceEqual(Bytes(_post, offset, size))
        && References(_pre, offset, size).SequenceEqual(References(_post, offset, size));

    private static IEnumerable<(ulong, string, long)> References(ObjectVariable variable, ulong offset, ulong size) =>
        variable
            .References.Where(reference => reference.Offset >= offset && reference.Offset < offset + size)
            .Select(reference => (reference.Offset, reference.Target, reference.TargetOffset));

    // What starts as zeros has no bytes.
    private static byte[] Bytes(ObjectVariable variable, ulong offset, ulong size)
    {
        byte[] bytes = new byte[size];
        if (offset + size <= (ulong)variable.Bytes.Length)
            variable.Bytes.Span.Slice((int)offset, (int)size).CopyTo(bytes);
        return bytes;
    }

    private static string Text(ObjectVariable variable, ulong offset, ulong size) =>
        $"\"{Encoding.Latin1.GetString(Bytes(variable, offset, size)).TrimEnd('\0')}\"";

    private string Value(ObjectVariable variable, int id, ulong offset, ulong size)
    {
        var pointer = variable.References.FirstOrDefault(reference => reference.Offset == offset);
        if (pointer is not null)
            return pointer.TargetOffset == 0
                ? pointer.Target
                : string.Create(CultureInfo.InvariantCulture, $"{pointer.Target}+{pointer.TargetOffset}");
        byte[] wide = new byte[8];
        byte[] bytes = Bytes(variable, offset, Math.Min(size, 8));
        bytes.CopyTo(wide, 0);
        bool signed = _types.KindOf(id) == BtfKind.Int && ((_types.IntEncoding(id) >> 24) & 1) != 0;
        if (signed && bytes.Length < 8 && bytes[^1] >= 0x80)
            wide.AsSpan(bytes.Length).Fill(0xff);
        long value = BinaryPrimitives.ReadInt64LittleEndian(wide);
        return _types.KindOf(id) switch
        {
            BtfKind.Pointer => value == 0 ? "NULL" : $"0x{value:x}",
            BtfKind.Enum or BtfKind.Enum64 => _types
                .Enumerators(id)
                .Where(entry => (int)entry.Value == (int)value)
                .Select(entry => entry.Name)
                .FirstOrDefault()
                ?? value.ToString(CultureInfo.InvariantCulture),
            _ => signed ? value.ToString(CultureInfo.InvariantCulture) : ((ulong)value).ToString(CultureInfo.InvariantCulture),
        };
    }

    private bool IsCharacter(int type) =>
        _types.Resolve(type) is var id
        && _types.KindOf(id) == BtfKind.Int
        && _types.SizeOf(id) == 1
        && _types.NameOf(id) is "char" or "signed char";

    private ulong Size(int id) =>
        _types.KindOf(id) switch
        {
            BtfKind.Int or BtfKind.Float or BtfKind.Struct or BtfKind.Union or BtfKind.Enum or BtfKind.Enum64 => _types.SizeOf(id),
            BtfKind.Pointer => 8,
            BtfKind.Array => _types.ElementCount(id) * Size(_types.Resolve(_types.Referenced(id))),
            _ => 0,
        };
}
