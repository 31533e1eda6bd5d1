// SPDX-License-Identifier: MIT
// A relocatable object seen as a graph: functions, objects, strings and constants are nodes with content, relocations
// are edges. Entries of special sections hang on the function that they point into.
using Ksplice.Build.Elf;

namespace Ksplice.Build.Differencing;

/// <summary>What a node is.</summary>
internal enum NodeKind
{
    Function,

    /// <summary>Code that is no function: without a symbol of that type, reached by branches and exception tables.</summary>
    Fragment,
    ColdPart,
    Auxiliary,
    Replacement,
    Data,
    String,
    Constant,
    Hook,
    Dropped,
    Unknown,
}

/// <summary>Something with an identity of its own in an object. Only the builder of its graph adds to it.</summary>
internal abstract class ObjectNode
{
    public required int Id { get; init; }
    public required NodeKind Kind { get; init; }
    public required SectionRole Role { get; init; }
    public required ElfSection Section { get; init; }
    public required ulong Start { get; init; }
    public required ulong Size { get; init; }

    /// <summary>All names of the place, best first; empty for anonymous content.</summary>
    public required IReadOnlyList<ElfSymbol> Symbols { get; init; }

    /// <summary>References out of the node, by offset.</summary>
    public abstract IReadOnlyList<ObjectReference> References { get; }

    /// <summary>References into the node.</summary>
    public abstract IReadOnlyList<ObjectReference> Referrers { get; }

    /// <summary>Table entries that lead into this node: exception tables, jump labels.</summary>
    public abstract IReadOnlyList<ObjectReference> TableReferrers { get; }

    /// <summary>Table entries that are about this node, in table order.</summary>
    public abstract IReadOnlyList<TableEntry> Entries { get; }

    /// <summary>Parts of this function that have no life of their own, in file order.</summary>
    public abstract IReadOnlyList<ObjectNode> Parts { get; }

    /// <summary>The function that this part belongs to.</summary>
    public abstract ObjectNode? Parent { get; }

    /// <summary>The code behind this node that control runs on into, or null.</summary>
    public abstract ObjectNode? FallsInto { get; }

    /// <summary>Names of places inside of the code that other units know.</summary>
    public abstract IReadOnlyList<ElfSymbol> InnerEntries { get; }

    /// <summary>Why the code cannot be moved to a module, or null.</summary>
    public abstract string? Immovable { get; }

    /// <summary>The function that a part belongs to, else the node itself.</summary>
    public ObjectNode Root => Parent is null ? this : Parent.Root;

    public string Name => Symbols.Count == 0 ? Section.Name : Symbols[0].Name;
    public bool IsAnonymous => Symbols.Count == 0;
    public bool IsGlobal => Symbols.Count != 0 && Symbols[0].Binding != ElfSymbolBinding.Local;
    public bool IsCode => Kind is NodeKind.Function or NodeKind.Fragment or NodeKind.ColdPart or NodeKind.Auxiliary or NodeKind.Replacement;
    public bool IsWritable => (Section.Flags & ElfSectionFlags.Write) != ElfSectionFlags.None;
    public bool IsZeroed => Section.Type == ElfSectionType.NoBits;
    public ulong End => Start + Size;

    /// <summary>
    /// Bytes of no-ops before the function that belong to it, into which the kernel may write code (call depth tracking), 0 where
    /// the kernel is built without.
    /// </summary>
    public ulong Padding =>
        Entries
            .Where(entry => entry.Section.Name == "__patchable_function_entries" && entry.KeyOffset < 0 && -entry.KeyOffset <= (long)Start)
            .Select(entry => (ulong)-entry.KeyOffset)
            .DefaultIfEmpty()
            .Max();
    public ObjectRange Range => new(Section.Index, Start, Size);

    public ReadOnlySpan<byte> Bytes => IsZeroed ? [] : Section.Data.Span.Slice((int)Start, (int)Size);

    /// <summary>The bytes with relocated fields zeroed.</summary>
    public byte[] MaskedBytes()
    {
        byte[] bytes = Bytes.ToArray();
        foreach (var reference in References)
            bytes.AsSpan((int)reference.Offset, Math.Min(reference.FieldSize, bytes.Length - (int)reference.Offset)).Clear();
        return bytes;
    }

    public override string ToString() => $"{Kind} {Name}";
}

/// <summary>A relocated field, or a relative branch that the assembler resolved within a section.</summary>
internal sealed class ObjectReference
{
    /// <summary>The node with the field; for a table entry the node that the entry is about.</summary>
    public required ObjectNode Holder { get; init; }

    /// <summary>Bytes from the start of the holder or table entry.</summary>
    public required ulong Offset { get; init; }

    public required ElfRelocationType Type { get; init; }

    /// <summary>The target in this object, or null when <see cref="External"/> names it.</summary>
    public required ObjectNode? Target { get; init; }

    public required string? External { get; init; }

    /// <summary>Bytes from the target's start to what is meant.</summary>
    public required long TargetOffset { get; init; }

    /// <summary>What the encoding adds: minus the distance from the field to the end of its instruction.</summary>
    public required long Adjustment { get; init; }

    public required bool IsBranch { get; init; }

    /// <summary>True if the address itself goes somewhere, and is not just read or written at or called.</summary>
    public required bool TakesAddress { get; init; }

    /// <summary>What the field is for, in a table entry; in code <see cref="TableField.Entry"/>, or null.</summary>
    public required TableField? Field { get; init; }

    /// <summary>Of <see cref="TableField.Entry"/>: the table, and where in it the entry begins.</summary>
    public (ElfSection Table, ulong Start)? Entry { get; init; }

    /// <summary>True for a branch of one byte's reach, which ties its code to a place near the target.</summary>
    public bool IsShort => Type == ElfRelocationType.Pc8;

    public int FieldSize => SizeOf(Type);

    /// <summary>The bytes that a relocation fills.</summary>
    public static int SizeOf(ElfRelocationType type) =>
        type switch
        {
            ElfRelocationType.Abs64 or ElfRelocationType.Pc64 => 8,
            ElfRelocationType.Pc8 => 1,
            _ => 4,
        };
}

/// <summary>One entry of a special section.</summary>
internal sealed class TableEntry
{
    public required ElfSection Section { get; init; }
    public required ulong Start { get; init; }
    public required ulong Size { get; init; }
    public required ObjectNode Owner { get; init; }

    /// <summary>Bytes from the start of the owner.</summary>
    public required long KeyOffset { get; init; }

    public required IReadOnlyList<ObjectReference> References { get; init; }

    /// <summary>The place of the entry's twin in <c>.orc_unwind</c>.</summary>
    public required ObjectRange? Orc { get; init; }

    public ReadOnlySpan<byte> Bytes => Section.Data.Span.Slice((int)Start, (int)Size);

    public byte[] MaskedBytes()
    {
        byte[] bytes = Bytes.ToArray();
        foreach (var reference in References)
            bytes.AsSpan((int)reference.Offset, Math.Min(reference.FieldSize, bytes.Length - (int)reference.Offset)).Clear();
        return bytes;
    }
}
