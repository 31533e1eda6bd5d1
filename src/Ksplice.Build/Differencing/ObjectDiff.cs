// SPDX-License-Identifier: MIT
// What pre-post differencing finds out about one compilation unit (paper, section 3.2): which functions of the running
// kernel are to be replaced, and everything that has to travel with their new code. Immutable; matching reads the pre
// ranges, generation the carried pieces.
using System.Runtime.InteropServices;
using Ksplice.Build.Elf;

namespace Ksplice.Build.Differencing;

/// <summary>A part of a section of the pre or the post object.</summary>
/// <param name="Section">The section's index.</param>
/// <param name="Offset">Bytes from the section's start.</param>
/// <param name="Size">Bytes.</param>
[StructLayout(LayoutKind.Auto)]
public readonly record struct ObjectRange(int Section, ulong Offset, ulong Size);

/// <summary>In what a function of the post object differs from its pre object.</summary>
public enum FunctionDifference
{
    /// <summary>The bytes between relocations.</summary>
    Text,

    /// <summary>A relocation: its place, type, addend or what it points at.</summary>
    Relocation,

    /// <summary>An entry of a special section that belongs to the function.</summary>
    SpecialSection,

    /// <summary>Nothing; it is replaced because a replaced function's code is branched into from here.</summary>
    BranchIntoReplaced,

    /// <summary>Bytes that are an immediate of the same instruction; only <see cref="FunctionExplanation"/> tells it from text.</summary>
    Constant,

    /// <summary>
    /// Code of another function, inlined here; only <see cref="FunctionExplanation"/> tells it, where there is debug data.
    /// </summary>
    InlinedCallee,
}

/// <summary>Why a function is replaced.</summary>
/// <param name="Kind">What differs.</param>
/// <param name="Offset">The first differing offset, in bytes from the start of the function (of the part named
/// by <paramref name="Part"/>).</param>
/// <param name="Part">The function, its <c>.cold</c> part, or the special section with the difference.</param>
/// <param name="Detail">The difference in words.</param>
public sealed record FunctionChange(FunctionDifference Kind, ulong Offset, string Part, string Detail);

/// <summary>A function of the running kernel that the update replaces.</summary>
/// <param name="Name">Its name in the pre object, which is its name in the kernel.</param>
/// <param name="IsGlobal">True if the name is global: one function in the whole kernel.</param>
/// <param name="Pre">Where the pre object has it: its body first, then its <c>.cold</c> parts, then other code that it
/// leads to and that is no function.</param>
/// <param name="Post">Where the post object has it, in the same order.</param>
/// <param name="Piece">Index of the new body in <see cref="ObjectDiff.Carried"/>.</param>
/// <param name="Why">The first difference.</param>
public sealed record ReplacedFunction(
    string Name,
    bool IsGlobal,
    IReadOnlyList<ObjectRange> Pre,
    IReadOnlyList<ObjectRange> Post,
    int Piece,
    FunctionChange Why
)
{
    /// <summary>True if an NMI may run it: its redirect is no jump (K33).</summary>
    public bool MayRunInNmi { get; init; }
}

/// <summary>A function that only the post object has.</summary>
/// <param name="Name">Its name.</param>
/// <param name="IsGlobal">True if other units may refer to it.</param>
/// <param name="Piece">Index in <see cref="ObjectDiff.Carried"/>.</param>
public sealed record NewFunction(string Name, bool IsGlobal, int Piece);

/// <summary>What a carried piece is.</summary>
public enum CarriedKind
{
    /// <summary>A function's body.</summary>
    Function,

    /// <summary>Code that is no function of its own: <c>.cold</c>, <c>.altinstr_aux</c>, labels of assembly.</summary>
    CodePart,

    /// <summary>Data, read-only or not, zeroed or not.</summary>
    Data,

    /// <summary>A string literal.</summary>
    String,

    /// <summary>An entry of a special section.</summary>
    SpecialEntry,

    /// <summary>A pointer to a hook of the patch.</summary>
    Hook,
}

/// <summary>A field of a carried piece that the linker or loader fills in. One of <paramref name="Piece"/> and
/// <paramref name="Symbol"/> says what it points at.</summary>
/// <param name="Offset">Bytes from the start of the piece.</param>
/// <param name="Type">How it is encoded.</param>
/// <param name="Piece">Index in <see cref="ObjectDiff.Carried"/>, or -1.</param>
/// <param name="Symbol">The thing in the running kernel, or null.</param>
/// <param name="Addend">The addend, relative to the piece's or the symbol's start; for relative fields it includes the distance
/// from field to instruction end.</param>
/// <param name="IsBranch">True for the target of a call or jump.</param>
public sealed record CarriedReference(ulong Offset, ElfRelocationType Type, int Piece, RunSymbol? Symbol, long Addend, bool IsBranch)
{
    /// <summary>True if the address itself goes somewhere, and is not just read or written at or called.</summary>
    public bool TakesAddress { get; init; }

    /// <summary>The table, if it leads from code to an entry of one; else null.</summary>
    public string? EntryOf { get; init; }
}

/// <summary>A run of bytes of the post object that goes into the primary module.</summary>
/// <param name="Kind">What it is.</param>
/// <param name="Name">The name of its symbol; empty if it needs none.</param>
/// <param name="IsGlobal">True if other units of the update may refer to it by name.</param>
/// <param name="Post">Where the post object has it.</param>
/// <param name="OutputSection">The section of the primary that it goes to.</param>
/// <param name="SectionType">That section's type.</param>
/// <param name="SectionFlags">That section's flags.</param>
/// <param name="Alignment">Bytes, a power of two.</param>
/// <param name="Data">The bytes, relocated fields zeroed; empty for zeroed data.</param>
/// <param name="References">The relocated fields, by offset.</param>
public sealed record CarriedPiece(
    CarriedKind Kind,
    string Name,
    bool IsGlobal,
    ObjectRange Post,
    string OutputSection,
    ElfSectionType SectionType,
    ElfSectionFlags SectionFlags,
    ulong Alignment,
    ReadOnlyMemory<byte> Data,
    IReadOnlyList<CarriedReference> References
)
{
    /// <summary>Index of the piece before it that it must stand behind as far as in the post object, or -1.</summary>
    public int Behind { get; init; } = -1;

    /// <summary>Bytes before <see cref="Post"/> that come along: no-ops that the kernel may write code into.</summary>
    public int Padding { get; init; }

    /// <summary>
    /// True for a string or constant whose address may outlive an undo: it goes into the update's data module, which stays loaded (K20).
    /// </summary>
    public bool IsKept { get; init; }
}

/// <summary>A place in new code that holds a number of the running kernel (K5).</summary>
/// <param name="Piece">Index in <see cref="ObjectDiff.Carried"/>.</param>
/// <param name="Offset">Bytes from the start of the piece.</param>
/// <param name="Size">Bytes: 8 for a pointer, 1 for a shift.</param>
/// <param name="Value">The number.</param>
public sealed record ConstantPlace(int Piece, ulong Offset, int Size, RuntimeConstant Value);

/// <summary>A key of the running kernel that the loader writes to for the new code's sake; fatal when it is in memory
/// that is read-only after init (K4), which only a stage that knows the image can tell.</summary>
/// <param name="Function">The function with the site.</param>
/// <param name="Key">The static key or static call key.</param>
/// <param name="Section"><c>__jump_table</c> or <c>.static_call_sites</c>.</param>
public sealed record StaticKeyUse(string Function, RunSymbol Key, string Section);

/// <summary>New code or data that holds or hands out the address of something of the running kernel.</summary>
/// <param name="Symbol">What the address is of.</param>
/// <param name="Unit">The unit's source path.</param>
/// <param name="Holder">The function or object with the address; empty if it has no name.</param>
public sealed record AddressUse(RunSymbol Symbol, string Unit, string Holder);

/// <summary>What an address that may outlive an undo is of.</summary>
public enum PinKind
{
    /// <summary>A string literal.</summary>
    String,

    /// <summary>Constant data without an address in it: an array of numbers, <c>__func__</c>.</summary>
    Constant,

    /// <summary>A function that only the primary has.</summary>
    Function,

    /// <summary>A variable, global or static.</summary>
    Variable,

    /// <summary>Constant data with addresses in it: operations, a table of strings.</summary>
    Table,
}

/// <summary>An address that only the update has, and that may outlive an undo (K20): what it is of can never be unloaded.</summary>
/// <param name="Kind">What it is of.</param>
/// <param name="Holder">The function or object that holds or hands out the address.</param>
/// <param name="Target">What the address is of, by name or content.</param>
public sealed record PinReason(PinKind Kind, string Holder, string Target)
{
    /// <summary>True if the primary has to stay for it; a string or constant is in the data module, which stays in its place.</summary>
    public bool PinsPrimary => Kind is not (PinKind.String or PinKind.Constant);
}

/// <summary>The difference of one unit.</summary>
public sealed record ObjectDiff
{
    /// <summary>The unit's source path, <c>fs/proc/version.c</c>.</summary>
    public required string Unit { get; init; }

    /// <summary>The object made from the unpatched source.</summary>
    public required ElfObject Pre { get; init; }

    /// <summary>The object made from the patched source.</summary>
    public required ElfObject Post { get; init; }

    /// <summary>
    /// The pre object with the tables that objtool makes, all else in the same place; <see cref="Pre"/> itself unless kbuild leaves it
    /// without (K2).
    /// </summary>
    public ElfObject PreWithTables
    {
        get => field ?? Pre;
        init;
    }

    /// <summary>True if kbuild runs objtool on linked objects only, and so on the module with the new code (K2).</summary>
    public bool IsCheckedAtLink { get; init; }

    /// <summary>Functions that are replaced, by place in the post object.</summary>
    public required IReadOnlyList<ReplacedFunction> Replaced { get; init; }

    /// <summary>Functions that the update brings.</summary>
    public required IReadOnlyList<NewFunction> NewFunctions { get; init; }

    /// <summary>Names of functions that only the pre object has.</summary>
    public required IReadOnlyList<string> RemovedFunctions { get; init; }

    /// <summary>Everything that goes into the primary.</summary>
    public required IReadOnlyList<CarriedPiece> Carried { get; init; }

    /// <summary>What the carried pieces refer to in the running kernel, each once, in order of first use.</summary>
    public required IReadOnlyList<RunSymbol> Needed { get; init; }

    /// <summary>Places in the carried pieces that the kernel would write at boot and the core writes when the primary loads.</summary>
    public IReadOnlyList<ConstantPlace> Constants { get; init; } = [];

    /// <summary>Keys that the loader will write to.</summary>
    public required IReadOnlyList<StaticKeyUse> StaticKeys { get; init; }

    /// <summary>The addresses of the update's own that may outlive an undo, each once for each holder.</summary>
    public required IReadOnlyList<PinReason> Pins { get; init; }

    /// <summary>True if the primary may never be unloaded (K20).</summary>
    public bool Pinned => Pins.Any(pin => pin.PinsPrimary);

    /// <summary>True if the unit's code is the same before and after the patch, and no hook was added.</summary>
    public bool IsEmpty => Carried.Count == 0;

    /// <summary>
    /// The differences of an update's units, each with what only all of them tell: where it hands out the address of a global that another
    /// one brings (K20).
    /// </summary>
    public static IReadOnlyList<ObjectDiff> Together(IReadOnlyList<ObjectDiff> diffs)
    {
        ArgumentNullException.ThrowIfNull(diffs);
        Dictionary<string, (int Diff, int Piece)> brought = [];
        for (int i = 0; i < diffs.Count; i++)
        {
            foreach (var (name, piece) in BroughtPieces(diffs[i]))
                brought.TryAdd(name, (i, piece));
        }
        HashSet<(int Diff, int Piece)> kept = [];
        List<ObjectDiff> together = [];
        foreach (var diff in diffs)
        {
            List<PinReason> pins = [.. diff.Pins];
            foreach (var piece in diff.Carried.Where(piece => piece.Kind is not (CarriedKind.SpecialEntry or CarriedKind.Hook)))
            {
                foreach (var reference in piece.References)
                {
                    if (
                        reference is not { TakesAddress: true, IsBranch: false, Symbol: GlobalSymbol global }
                        || !brought.TryGetValue(global.Name, out var place)
                    )
                        continue;
                    PinReason reason = new(KindOf(diffs[place.Diff].Carried[place.Piece]), piece.Name, global.Name);
                    if (!pins.Contains(reason))
                        pins.Add(reason);
                    if (!reason.PinsPrimary)
                        kept.Add(place);
                }
            }
            together.Add(pins.Count == diff.Pins.Count ? diff : diff with { Pins = pins });
        }
        foreach (var places in kept.GroupBy(place => place.Diff, place => place.Piece))
        {
            var pieces = places.ToHashSet();
            together[places.Key] = together[places.Key] with
            {
                Carried = [.. together[places.Key].Carried.Select((piece, j) => pieces.Contains(j) ? piece with { IsKept = true } : piece)],
            };
        }
        return together;
    }

    private static PinKind KindOf(CarriedPiece piece) =>
        piece.Kind == CarriedKind.Function ? PinKind.Function
        : (piece.SectionFlags & ElfSectionFlags.Write) != ElfSectionFlags.None ? PinKind.Variable
        : piece is { References.Count: 0, OutputSection: ".rodata", SectionType: not ElfSectionType.NoBits } ? PinKind.Constant
        : PinKind.Table;

    /// <summary>The global names that the running kernel does not have, and <paramref name="diff"/> brings.</summary>
    public static IEnumerable<string> BroughtBy(ObjectDiff diff)
    {
        ArgumentNullException.ThrowIfNull(diff);
        return BroughtPieces(diff).Select(brought => brought.Name);
    }

    /// <summary>The same, each with its index in <see cref="Carried"/>.</summary>
    internal static IEnumerable<(string Name, int Piece)> BroughtPieces(ObjectDiff diff) =>
        diff
            .NewFunctions.Where(function => function.IsGlobal)
            .Select(function => (function.Name, function.Piece))
            .Concat(
                diff.Carried.Select((piece, i) => (piece, i))
                    .Where(place => place.piece is { IsGlobal: true, Kind: CarriedKind.Data })
                    .Select(place => (place.piece.Name, place.i))
            );

    /// <summary>
    /// Where the new code of several units takes addresses of the running kernel's things, each once. A branch does not; an entry of a
    /// table says where something stands; the trampoline of a static call is the kernel's to rewrite, and nobody calls it through a
    /// pointer.
    /// </summary>
    public static IEnumerable<AddressUse> AddressesUsedBy(IReadOnlyList<ObjectDiff> diffs)
    {
        HashSet<RunSymbol> needed = [.. NeededBy(diffs)];
        return diffs
            .SelectMany(diff =>
                diff.Carried.Where(piece => piece.Kind != CarriedKind.SpecialEntry)
                    .SelectMany(piece =>
                        piece
                            .References.Where(reference =>
                                reference is { TakesAddress: true, IsBranch: false }
                                && reference.Symbol is GlobalSymbol or LocalSymbol
                                && needed.Contains(reference.Symbol)
                            )
                            .Select(reference => new AddressUse(reference.Symbol!, diff.Unit, piece.Name))
                    )
            )
            .Where(use => use.Symbol is not GlobalSymbol global || !global.Name.StartsWith("__SCT__", StringComparison.Ordinal))
            .Distinct();
    }

    /// <summary>
    /// The run symbols that an update of several units needs, each once: those of every unit, without the global symbols
    /// that another unit of the update brings.
    /// </summary>
    public static IReadOnlyList<RunSymbol> NeededBy(IReadOnlyList<ObjectDiff> diffs)
    {
        HashSet<string> brought = [.. diffs.SelectMany(BroughtBy)];
        HashSet<RunSymbol> seen = [];
        List<RunSymbol> needed = [];
        foreach (var diff in diffs)
        {
            foreach (var symbol in diff.Needed)
            {
                if (!(symbol is GlobalSymbol global && brought.Contains(global.Name)) && seen.Add(symbol))
                    needed.Add(symbol);
            }
        }
        return needed;
    }
}
