// SPDX-License-Identifier: MIT
// BTF (Documentation/bpf/btf.rst): the types of an object or of a kernel image. The bytes stay as they are; what is kept is
// where each type starts. BtfReader has checked every reference, so nothing here can leave the bytes.

using System.Buffers.Binary;
using System.Text;
using Ksplice.Build.Elf;

namespace Ksplice.Build.Analysis;

/// <summary>BTF_KIND_….</summary>
public enum BtfKind : byte
{
#pragma warning disable CS1591 // The names are the format's own.
    Void = 0,
    Int = 1,
    Pointer = 2,
    Array = 3,
    Struct = 4,
    Union = 5,
    Enum = 6,
    Forward = 7,
    Typedef = 8,
    Volatile = 9,
    Const = 10,
    Restrict = 11,
    Function = 12,
    FunctionPrototype = 13,
    Variable = 14,
    DataSection = 15,
    Float = 16,
    DeclarationTag = 17,
    TypeTag = 18,
    Enum64 = 19,
#pragma warning restore CS1591
}

/// <summary>A member of a struct or union.</summary>
/// <param name="Name">The name, empty for an anonymous struct or union.</param>
/// <param name="Type">The id of its type.</param>
/// <param name="BitOffset">Bits from the start.</param>
/// <param name="BitFieldSize">Bits of a bit field, 0 for other members.</param>
public readonly record struct BtfMember(string Name, int Type, uint BitOffset, uint BitFieldSize);

/// <summary>A constant of an enum.</summary>
/// <param name="Name">The name.</param>
/// <param name="Value">The value; unsigned 64-bit ones wrap.</param>
public readonly record struct BtfEnumerator(string Name, long Value);

/// <summary>A parameter of a function; the last one of a variadic function has type 0 and no name.</summary>
/// <param name="Name">The name.</param>
/// <param name="Type">The id of its type.</param>
public readonly record struct BtfParameter(string Name, int Type);

/// <summary>All types of one BTF section. Type 0 is void; ids count from 1 as in the section.</summary>
public sealed class BtfTypes
{
    private readonly ReadOnlyMemory<byte> _bytes;
    private readonly int[] _offsets;
    private readonly int _strings;
    private readonly Lazy<IReadOnlyDictionary<string, List<int>>> _byKeyword;

    internal BtfTypes(string name, ReadOnlyMemory<byte> bytes, int[] offsets, int strings)
    {
        Name = name;
        _bytes = bytes;
        _offsets = offsets;
        _strings = strings;
        _byKeyword = new(IndexByKeyword);
    }

    /// <summary>Where the types are from, for messages.</summary>
    public string Name { get; }

    /// <summary>Number of types, void included: ids are below it.</summary>
    public int Count => _offsets.Length;

    /// <summary>The kind of type <paramref name="id"/>.</summary>
    public BtfKind KindOf(int id) => id == 0 ? BtfKind.Void : (BtfKind)((Word(id, 4) >> 24) & 0x1f);

    /// <summary>The name, or the empty string.</summary>
    public string NameOf(int id) => id == 0 ? "void" : String(Word(id, 0));

    /// <summary>Bytes of an int, float, struct, union, enum or data section.</summary>
    public uint SizeOf(int id) => Word(id, 8);

    /// <summary>
    /// The type that a pointer, typedef, qualifier, function, variable or tag refers to, or an array's
    /// elements are of, or a prototype returns.
    /// </summary>
    public int Referenced(int id) => (int)Word(id, KindOf(id) == BtfKind.Array ? 12 : 8);

    /// <summary>Elements of an array.</summary>
    public uint ElementCount(int id) => Word(id, 20);

    /// <summary>Encoding, offset and bits of an int.</summary>
    public uint IntEncoding(int id) => Word(id, 12);

    /// <summary>True for a forward declaration of a union.</summary>
    public bool IsUnionForward(int id) => KindFlag(id);

    /// <summary>The members of a struct or union, in order.</summary>
    public IReadOnlyList<BtfMember> Members(int id)
    {
        var members = new BtfMember[Length(id)];
        var bitFields = KindFlag(id);
        for (var i = 0; i < members.Length; i++)
        {
            var at = 12 + (i * 12);
            var offset = Word(id, at + 8);
            members[i] = new BtfMember(
                String(Word(id, at)),
                MemberType(id, i),
                bitFields ? offset & 0xffffff : offset,
                bitFields ? offset >> 24 : 0
            );
        }
        return members;
    }

    /// <summary>The constants of an enum, in order.</summary>
    public IReadOnlyList<BtfEnumerator> Enumerators(int id)
    {
        var enumerators = new BtfEnumerator[Length(id)];
        var wide = KindOf(id) == BtfKind.Enum64;
        for (var i = 0; i < enumerators.Length; i++)
        {
            var at = 12 + (i * (wide ? 12 : 8));
            var value = wide ? (long)(Word(id, at + 4) | ((ulong)Word(id, at + 8) << 32)) : (int)Word(id, at + 4);
            enumerators[i] = new BtfEnumerator(String(Word(id, at)), value);
        }
        return enumerators;
    }

    /// <summary>The parameters of a function prototype, in order.</summary>
    public IReadOnlyList<BtfParameter> Parameters(int id)
    {
        var parameters = new BtfParameter[Length(id)];
        for (var i = 0; i < parameters.Length; i++)
            parameters[i] = new BtfParameter(String(Word(id, 12 + (i * 8))), (int)Word(id, 16 + (i * 8)));
        return parameters;
    }

    /// <summary>The type behind typedefs, qualifiers and tags.</summary>
    public int Resolve(int id)
    {
        for (var steps = 0; steps < Count; steps++)
        {
            if (KindOf(id) is not (BtfKind.Typedef or BtfKind.Const or BtfKind.Volatile or BtfKind.Restrict or BtfKind.TypeTag))
                return id;
            id = Referenced(id);
        }
        throw new ElfFormatException(Name, _offsets[id], $"BTF type {id} refers to itself through typedefs or qualifiers");
    }

    /// <summary>The type in C's words, for messages.</summary>
    public string Describe(int id, int depth = 0)
    {
        if (depth > 8)
            return "…";
        return KindOf(id) switch
        {
            BtfKind.Pointer => Describe(Referenced(id), depth + 1) + " *",
            BtfKind.Array => $"{Describe(Referenced(id), depth + 1)}[{ElementCount(id)}]",
            BtfKind.Struct => $"struct {OrAnonymous(id)}",
            BtfKind.Union => $"union {OrAnonymous(id)}",
            BtfKind.Enum or BtfKind.Enum64 => $"enum {OrAnonymous(id)}",
            BtfKind.Forward => $"{(IsUnionForward(id) ? "union" : "struct")} {NameOf(id)}",
            BtfKind.Const => "const " + Describe(Referenced(id), depth + 1),
            BtfKind.Volatile => "volatile " + Describe(Referenced(id), depth + 1),
            BtfKind.Restrict or BtfKind.TypeTag => Describe(Referenced(id), depth + 1),
            BtfKind.FunctionPrototype => $"{Describe(Referenced(id), depth + 1)} "
                + $"({string.Join(", ", Parameters(id).Select(p => p is { Type: 0, Name: "" } ? "..." : Describe(p.Type, depth + 1)))})",
            _ => NameOf(id),
        };
    }

    /// <summary>The ids of structs, unions and enums that have a name, by <c>struct foo</c>.</summary>
    internal IReadOnlyDictionary<string, List<int>> ByKeyword => _byKeyword.Value;

    /// <summary>What stands before the name of a type of that kind in C, with a space; null where nothing does.</summary>
    internal static string? Keyword(BtfKind kind) =>
        kind switch
        {
            BtfKind.Struct => "struct ",
            BtfKind.Union => "union ",
            BtfKind.Enum or BtfKind.Enum64 => "enum ",
            _ => null,
        };

    private Dictionary<string, List<int>> IndexByKeyword()
    {
        Dictionary<string, List<int>> index = new(StringComparer.Ordinal);
        for (int id = 1; id < Count; id++)
        {
            if (Keyword(KindOf(id)) is not { } keyword || NameOf(id) is not { Length: > 0 } name)
                continue;
            if (!index.TryGetValue(keyword + name, out var ids))
                index.Add(keyword + name, ids = []);
            ids.Add(id);
        }
        return index;
    }

    /// <summary>The type of a struct's or union's member <paramref name="index"/>.</summary>
    internal int MemberType(int id, int index) => (int)Word(id, 16 + (index * 12));

    /// <summary>
    /// True if member <paramref name="index"/> has the same name and place in type <paramref name="otherId"/> of <paramref name="other"/>.
    /// </summary>
    internal bool HasMemberLike(int id, int index, BtfTypes other, int otherId)
    {
        var at = 12 + (index * 12);
        return KindFlag(id) == other.KindFlag(otherId)
            && Word(id, at + 8) == other.Word(otherId, at + 8)
            && Text(Word(id, at)).SequenceEqual(other.Text(other.Word(otherId, at)));
    }

    internal int Length(int id) => (int)(Word(id, 4) & 0xffff);

    internal bool KindFlag(int id) => Word(id, 4) >> 31 != 0;

    internal uint Word(int id, int offset) => BinaryPrimitives.ReadUInt32LittleEndian(_bytes.Span[(_offsets[id] + offset)..]);

    private string OrAnonymous(int id) => NameOf(id) is { Length: > 0 } name ? name : "{…}";

    private string String(uint offset) => offset == 0 ? "" : Encoding.UTF8.GetString(Text(offset));

    private ReadOnlySpan<byte> Text(uint offset)
    {
        var text = _bytes.Span[(_strings + (int)offset)..];
        return text[..text.IndexOf((byte)0)];
    }
}
