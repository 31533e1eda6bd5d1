// SPDX-License-Identifier: MIT
// What analyzers look at. Everything here is found when it is first asked for, once, and never changes after that, so that
// analyzers may run side by side.
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Ksplice.Build.Dwarf;
using Ksplice.Build.Elf;
using Ksplice.Build.Kernel;
using Ksplice.Build.Patching;

namespace Ksplice.Build.Analysis;

/// <summary>An update before it is judged.</summary>
/// <param name="patches">The patches, in the order of their application.</param>
/// <param name="units">The units that they touch.</param>
/// <param name="kernel">The kernel that is to be updated; null where only objects are at hand.</param>
/// <param name="sourceRoot">The unpatched source tree, or null if it is not at hand.</param>
public sealed class AnalyzedUpdate(
    IReadOnlyList<SourcePatch> patches,
    IReadOnlyList<AnalyzedUnit> units,
    RunningKernel? kernel = null,
    string? sourceRoot = null
)
{
    private readonly Lazy<HashSet<string>> _replaced = new(() =>
        [.. units.SelectMany(unit => unit.Changes.Functions).Where(function => function.Pre is not null).Select(function => function.Name)]
    );

    private readonly Lazy<NmiReach?> _nmiReach = new(() => kernel is null ? null : new NmiReach(kernel, units));

    /// <summary>The patches, in the order of their application.</summary>
    public IReadOnlyList<SourcePatch> Patches => patches;

    /// <summary>The units that they touch.</summary>
    public IReadOnlyList<AnalyzedUnit> Units => units;

    /// <summary>The kernel that is to be updated; null where only objects are at hand.</summary>
    public RunningKernel? Kernel => kernel;

    /// <summary>The unpatched source tree, or null if it is not at hand.</summary>
    public string? SourceRoot => sourceRoot;

    /// <summary>What an NMI may run; null where only objects are at hand.</summary>
    internal NmiReach? NmiReach => _nmiReach.Value;

    internal MemberUses? Members { get; } = sourceRoot is null ? null : new MemberUses(sourceRoot);

    /// <summary>True if the update brings other code for a function of that name, or lacks it.</summary>
    public bool Replaces(string function) => _replaced.Value.Contains(function);
}

/// <summary>The kernel that is to be updated, as its image shows it.</summary>
/// <param name="image">The image.</param>
/// <param name="modules">Names that loadable modules export, with the module; see Module.symvers.</param>
/// <param name="configuration">What it was configured with.</param>
public sealed class RunningKernel(KernelImage image, IReadOnlyDictionary<string, string> modules, KernelConfiguration configuration)
{
    private readonly Lazy<BtfTypes?> _types = new(() => BtfReader.Read(image));
    private readonly Lazy<ImageReferences> _references = new(() => new ImageReferences(image));

    /// <summary>The image.</summary>
    public KernelImage Image => image;

    /// <summary>What it was configured with.</summary>
    public KernelConfiguration Configuration => configuration;

    /// <summary>Exports of loadable modules: the module by the symbol's name.</summary>
    public IReadOnlyDictionary<string, string> ModuleExports => modules;

    /// <summary>The types that the image carries; null if it has none.</summary>
    public BtfTypes? Types => _types.Value;

    internal ImageCalls Calls { get; } = new(image);

    /// <summary>Who refers to what.</summary>
    public ImageReferences References => _references.Value;
}

/// <summary>A compilation unit, before and after.</summary>
/// <param name="source">Its path in the source tree.</param>
/// <param name="module">The loadable module that it is part of, or null.</param>
/// <param name="objects">The objects made from the unpatched and from the patched source.</param>
public sealed class AnalyzedUnit(string source, string? module, ObjectPair objects)
{
    private readonly Lazy<ObjectChanges> _changes = new(() => ObjectChanges.Find(objects));
    private readonly Lazy<ObjectComparison> _comparison = new(() => ObjectDiffer.Compare(source, objects));
    private readonly Lazy<BtfTypes?> _preTypes = new(() => BtfReader.Read(objects.Pre)),
        _postTypes = new(() => BtfReader.Read(objects.Post));
    private readonly Lazy<SourceMap> _preSource = new(() => new SourceMap(objects.Pre)),
        _postSource = new(() => new SourceMap(objects.Post));

    /// <summary>A unit of which the two objects are at hand.</summary>
    /// <param name="source">Its path in the source tree.</param>
    /// <param name="module">The loadable module that it is part of, or null.</param>
    /// <param name="pre">The object made from the unpatched source.</param>
    /// <param name="post">The object made from the patched source.</param>
    public AnalyzedUnit(string source, string? module, ElfObject pre, ElfObject post)
        : this(source, module, new ObjectPair(pre, post)) { }

    /// <summary>Its path in the source tree.</summary>
    public string Source => source;

    /// <summary>The loadable module that it is part of, or null if it is built in.</summary>
    public string? Module => module;

    /// <summary>The object made from the unpatched source.</summary>
    public ElfObject Pre => objects.Pre;

    /// <summary>The object made from the patched source.</summary>
    public ElfObject Post => objects.Post;

    internal ObjectGraph PreGraph => objects.Correlation.Pre;

    internal ObjectGraph PostGraph => objects.Correlation.Post;

    /// <summary>True for assembly, which has no types.</summary>
    public bool IsAssembly => source.EndsWith(".S", StringComparison.Ordinal);

    /// <summary>What differs.</summary>
    public ObjectChanges Changes => _changes.Value;

    /// <summary>What differencing says of it.</summary>
    public ObjectComparison Comparison => _comparison.Value;

    /// <summary>The types before; null if the object has none.</summary>
    public BtfTypes? PreTypes => _preTypes.Value;

    /// <summary>The types after; null if the object has none.</summary>
    public BtfTypes? PostTypes => _postTypes.Value;

    /// <summary>What the patch does to types; empty if an object has none.</summary>
    public IReadOnlyList<TypeChange> TypeChanges =>
        field ??=
            PreTypes is { } before && PostTypes is { } after ? TypeComparison.Find(before, after, TypeComparison.Globals(objects.Pre)) : [];

    /// <summary>Where things stand in the unpatched source.</summary>
    public SourceMap PreSource => _preSource.Value;

    /// <summary>Where things stand in the patched source.</summary>
    public SourceMap PostSource => _postSource.Value;

    /// <summary>
    /// Where <paramref name="function"/> is declared, in the patched source if it has it; the unit as a whole if that is not known.
    /// </summary>
    public SourceLocation Locate(ChangedFunction function)
    {
        ArgumentNullException.ThrowIfNull(function);
        return FirstChangedLine(function)
            ?? PostSource.Function(function.Name)
            ?? PreSource.Function(function.Name)
            ?? new SourceLocation(source);
    }

    /// <summary>Where <paramref name="variable"/> is declared, likewise.</summary>
    public SourceLocation Locate(ChangedVariable variable)
    {
        ArgumentNullException.ThrowIfNull(variable);
        return (variable.Post is { } post ? PostSource.Variable(post.Range) : null)
            ?? (variable.Pre is { } pre ? PreSource.Variable(pre.Range) : null)
            ?? new SourceLocation(source);
    }

    /// <summary>Where a type, function or variable of that name is declared; the member, if one is named.</summary>
    public SourceLocation Locate(string name, string? member) =>
        PostSource.Declaration(name, member)
        ?? PreSource.Declaration(name, member)
        ?? PostSource.Declaration(name, null)
        ?? new SourceLocation(source);

    private SourceLocation? FirstChangedLine(ChangedFunction function)
    {
        if (
            function is not { Post: { } after, Why: { Kind: FunctionDifference.Text or FunctionDifference.Relocation } why }
            || why.Part != function.Name
        )
            return null;
        return PostSource.Line(after.Parts[0].Range.Section, after.Parts[0].Range.Offset + why.Offset);
    }
}

/// <summary>The source places of an object's contents, by its debug data.</summary>
public sealed class SourceMap
{
    private readonly Lazy<LineTable?> _lines;
    private readonly Lazy<DebugInfo?> _info;
    private readonly Lazy<IReadOnlyList<DebugNode>> _entries;
    private readonly Lazy<ILookup<string, DebugNode>> _declarations;

    internal SourceMap(ElfObject elf)
    {
        _lines = new(() => LineTable.Read(elf));
        _info = new(() => DebugInfo.Read(elf));
        _entries = new(() => DebugNode.Read(elf, _lines.Value));
        _declarations = new(() =>
            Entries
                .Where(entry => !entry.IsDeclaration && entry.Location is not null && Prefix(entry.Tag) is not null)
                .ToLookup(entry => Prefix(entry.Tag) + entry.Name, StringComparer.Ordinal)
        );
    }

    internal IReadOnlyList<DebugNode> Entries => _entries.Value;

    /// <summary>The source line of the code at an offset of a section, or null.</summary>
    public SourceLocation? Line(int section, ulong offset) =>
        _lines.Value?.Lines(section, offset, offset + 1).FirstOrDefault() ?? _lines.Value?.Find(section, offset);

    /// <summary>Every source line that a function's code comes from, those of functions inlined into it included, each once.</summary>
    public IEnumerable<SourceLocation> Lines(ObjectFunction function)
    {
        ArgumentNullException.ThrowIfNull(function);
        return function
            .Parts.SelectMany(part => _lines.Value?.Lines(part.Range.Section, part.Range.Offset, part.Range.Offset + part.Range.Size) ?? [])
            .DistinctBy(line => (line.Path, line.Line));
    }

    /// <summary>The source lines of a function's own code, those of functions inlined into it left out.</summary>
    internal IEnumerable<SourceLocation> OwnLines(ObjectFunction function)
    {
        var body = function.Parts[0].Range;
        string file = LineDirectives.PathOf(Function(function.Name)?.Path ?? "");
        var inlined = _info.Value is { } info ? InlinedCalls.In(info, body.Section, body.Offset) : [];
        return from part in function.Parts
            from place in _lines.Value?.Places(part.Range.Section, part.Range.Offset, part.Range.Offset + part.Range.Size) ?? []
            where LineDirectives.PathOf(place.Line.Path) == file && !inlined.Any(call => call.Contains(part.Range.Section, place.Offset))
            select place.Line;
    }

    /// <summary>Where a function is defined, or null.</summary>
    public SourceLocation? Function(string name) =>
        Entries.FirstOrDefault(entry => entry.Tag == DebugTag.Subprogram && !entry.IsDeclaration && entry.Name == name)?.Location;

    /// <summary>Where the variable at <paramref name="range"/> is defined, or null.</summary>
    public SourceLocation? Variable(ObjectRange range) =>
        Entries.FirstOrDefault(entry => entry.Tag == DebugTag.Variable && entry.Place == (range.Section, range.Offset))?.Location;

    /// <summary>
    /// Where <c>struct x</c>, <c>union x</c>, <c>enum x</c>, a typedef, function or variable is declared, or its member; or null.
    /// </summary>
    public SourceLocation? Declaration(string name, string? member)
    {
        foreach (var entry in _declarations.Value[name])
        {
            if (member is null)
                return entry.Location;
            var type = entry.Tag == DebugTag.Typedef ? entry.Type : entry;
            if (
                Entries
                    .FirstOrDefault(candidate => candidate.Tag == DebugTag.Member && candidate.Parent == type && candidate.Name == member)
                    ?.Location is
                { } found
            )
                return found;
        }
        return null;
    }

    private static string? Prefix(ulong tag) =>
        tag switch
        {
            DebugTag.Structure => "struct ",
            DebugTag.Union => "union ",
            DebugTag.Enumeration => "enum ",
            DebugTag.Typedef or DebugTag.Subprogram or DebugTag.Variable => "",
            _ => null,
        };
}
