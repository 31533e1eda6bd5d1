// SPDX-License-Identifier: MIT
// What differs between two objects, without a verdict: what analyzers look at, also when differencing refuses the change.
using Ksplice.Build.Elf;

namespace Ksplice.Build.Differencing;

/// <summary>A relocated field, or a branch to another part.</summary>
/// <param name="Offset">Bytes from the start of the part or object.</param>
/// <param name="Target">The name of what it leads to; a string literal in quotes.</param>
/// <param name="TargetOffset">Bytes from the target's start.</param>
/// <param name="IsBranch">True for the target of a call or jump.</param>
/// <param name="TakesAddress">True if the address itself goes somewhere.</param>
/// <param name="Part">Which part of the same function it leads to, or -1.</param>
public sealed record CodeReference(ulong Offset, string Target, long TargetOffset, bool IsBranch, bool TakesAddress, int Part);

/// <summary>A function's body or one of its parts out of line.</summary>
/// <param name="Range">Where the object has it.</param>
/// <param name="Bytes">The code, relocated fields as the object has them.</param>
/// <param name="References">Its references, by offset.</param>
public sealed record CodePart(ObjectRange Range, ReadOnlyMemory<byte> Bytes, IReadOnlyList<CodeReference> References);

/// <summary>A function of an object.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Section">The section that holds its body.</param>
/// <param name="IsGlobal">True if other units may refer to it.</param>
/// <param name="Parts">The body first, then its parts.</param>
public sealed record ObjectFunction(string Name, string Section, bool IsGlobal, IReadOnlyList<CodePart> Parts)
{
    /// <summary>The names that it calls or jumps to, once for each place.</summary>
    public IEnumerable<string> Calls =>
        Parts
            .SelectMany(part => part.References)
            .Where(reference => reference.IsBranch && reference.Part < 0)
            .Select(reference => reference.Target);
}

/// <summary>A variable or constant of an object.</summary>
/// <param name="Name">Its name; the section's if it has none.</param>
/// <param name="Section">Its section.</param>
/// <param name="IsWritable">True unless the section is read-only.</param>
/// <param name="Range">Where the object has it.</param>
/// <param name="Bytes">Its value; empty if it starts as zeros.</param>
/// <param name="References">The pointers in it.</param>
public sealed record ObjectVariable(
    string Name,
    string Section,
    bool IsWritable,
    ObjectRange Range,
    ReadOnlyMemory<byte> Bytes,
    IReadOnlyList<CodeReference> References
);

/// <summary>A function that is not the same before and after.</summary>
/// <param name="Name">Its name before, or after if it is new.</param>
/// <param name="Pre">Before; null if it is new.</param>
/// <param name="Post">After; null if it is gone.</param>
/// <param name="Why">The first difference; null if one side lacks it.</param>
public sealed record ChangedFunction(string Name, ObjectFunction? Pre, ObjectFunction? Post, FunctionChange? Why);

/// <summary>A variable or constant that is not the same before and after.</summary>
/// <param name="Name">Its name before, or after if it is new.</param>
/// <param name="Pre">Before; null if it is new.</param>
/// <param name="Post">After; null if it is gone.</param>
/// <param name="Why">The first difference; null if one side lacks it or only the section is another.</param>
public sealed record ChangedVariable(string Name, ObjectVariable? Pre, ObjectVariable? Post, FunctionChange? Why);

/// <summary>All differences of a unit's two objects.</summary>
/// <param name="Functions">By place in the post object, those that are gone last.</param>
/// <param name="Data">The same of named variables and constants.</param>
/// <param name="PreFunctions">Every function before.</param>
/// <param name="PostFunctions">Every function after.</param>
public sealed record ObjectChanges(
    IReadOnlyList<ChangedFunction> Functions,
    IReadOnlyList<ChangedVariable> Data,
    IReadOnlyList<ObjectFunction> PreFunctions,
    IReadOnlyList<ObjectFunction> PostFunctions
)
{
    /// <summary>Compares two objects.</summary>
    /// <exception cref="ElfFormatException">An object's tables do not have the shape that the kernel's have.</exception>
    public static ObjectChanges Find(ObjectPair pair)
    {
        ArgumentNullException.ThrowIfNull(pair);
        var correlation = pair.Correlation;
        var (before, after) = (correlation.Pre, correlation.Post);
        NodeComparer comparer = new(new Pairing(correlation));
        var (olds, news) = (FunctionsOf(before), FunctionsOf(after));

        List<ChangedFunction> functions = [];
        foreach (var (node, function) in news)
        {
            if (correlation.PreOf(node) is not { } old || !olds.TryGetValue(old, out var was))
                functions.Add(new(function.Name, null, function, null));
            else if (comparer.CompareFunction(old, node) is { } why)
                functions.Add(new(was.Name, was, function, why));
        }
        functions.AddRange(
            from old in olds
            where correlation.PostOf(old.Key) is null
            select new ChangedFunction(old.Value.Name, old.Value, null, null)
        );

        List<ChangedVariable> data = [];
        foreach (var node in Variables(after))
        {
            if (correlation.PreOf(node) is not { } old)
                data.Add(new(node.Name, null, Variable(node), null));
            else if (
                comparer.CompareContent(old, node) is var why
                && (why is not null || SectionCatalog.DataClass(old.Section.Name) != SectionCatalog.DataClass(node.Section.Name))
            )
                data.Add(new(old.Name, Variable(old), Variable(node), why));
        }
        data.AddRange(
            from old in Variables(before)
            where correlation.PostOf(old) is null
            select new ChangedVariable(old.Name, Variable(old), null, null)
        );
        return new ObjectChanges(functions, data, [.. olds.Values], [.. news.Values]);
    }

    private static IEnumerable<ObjectNode> Variables(ObjectGraph graph) =>
        graph.Nodes.Where(node =>
            node.Kind == NodeKind.Data && !node.IsAnonymous && node.Role is SectionRole.Data or SectionRole.Collected
        );

    private static Dictionary<ObjectNode, ObjectFunction> FunctionsOf(ObjectGraph graph) =>
        graph.Nodes.Where(node => node.Kind == NodeKind.Function && !node.IsAnonymous).ToDictionary(node => node, Function);

    private static ObjectFunction Function(ObjectNode node)
    {
        List<ObjectNode> parts = [node, .. node.Parts.Where(part => part.Kind is NodeKind.ColdPart or NodeKind.Auxiliary)];
        return new(
            node.Name,
            node.Section.Name,
            node.IsGlobal,
            [
                .. parts.Select(part => new CodePart(
                    part.Range,
                    Content(part),
                    [.. part.References.Select(reference => Reference(reference, parts))]
                )),
            ]
        );
    }

    private static ObjectVariable Variable(ObjectNode node) =>
        new(
            node.Name,
            node.Section.Name,
            node.IsWritable,
            node.Range,
            Content(node),
            [.. node.References.Select(reference => Reference(reference, []))]
        );

    private static ReadOnlyMemory<byte> Content(ObjectNode node) =>
        node.IsZeroed ? default : node.Section.Data.Slice((int)node.Start, (int)node.Size);

    private static CodeReference Reference(ObjectReference reference, List<ObjectNode> parts) =>
        new(
            reference.Offset,
            TargetName(reference),
            reference.TargetOffset,
            reference.IsBranch,
            reference.TakesAddress,
            reference.Target is { } target ? parts.IndexOf(target) : -1
        );

    private static string TargetName(ObjectReference reference) =>
        reference switch
        {
            { External: { } external } => external,
            { Target: { Kind: NodeKind.String } text } => $"\"{System.Text.Encoding.Latin1.GetString(text.Bytes).TrimEnd('\0')}\"",
            { Target: { } target } => target.Name,
            _ => "",
        };
}
