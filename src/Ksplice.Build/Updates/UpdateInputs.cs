// SPDX-License-Identifier: MIT
using Ksplice.Build.Analysis;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Elf;
using Ksplice.Build.Generation;
using Ksplice.Build.Kernel;
using Ksplice.Build.Patching;
using Ksplice.Build.Targets;

namespace Ksplice.Build.Updates;

/// <summary>A compiled unit: where its objects are.</summary>
/// <param name="Source">Its path in the source tree.</param>
/// <param name="Module">The loadable module that it is part of, several with colons between them, empty for one that kbuild does not
/// name; null if the unit is part of the kernel itself.</param>
/// <param name="Pre">The object made from the unpatched source.</param>
/// <param name="Post">The object made from the patched source.</param>
public sealed record UnitObjects(string Source, string? Module, string Pre, string Post)
{
    /// <summary>The objects, and the pre object's copy with objtool's tables where there is one (K2).</summary>
    public IEnumerable<string> Files => UnitCompiler.FilesOf(Pre).Append(Post);

    private string WithTables => UnitCompiler.WithTablesOf(Pre);

    internal AnalyzedUnit Read() => new(Source, Module, Read(Pre), Read(Post));

    internal ElfObject? ReadWithTables() => File.Exists(WithTables) ? Read(WithTables) : null;

    internal string Target => Module ?? UpdateTarget.KernelName;

    private static ElfObject Read(string path) => ElfObject.Read(File.ReadAllBytes(path), path);
}

/// <summary>What an update is built from, once its units are compiled.</summary>
public sealed record UpdateInputs
{
    /// <summary>The update's id; modules are named by it.</summary>
    public required string UpdateId { get; init; }

    /// <summary>The units that the patches touch, in the order in which everything lists them.</summary>
    public required IReadOnlyList<UnitObjects> Units { get; init; }

    /// <summary>
    /// The kernel that it is for; null where only objects are at hand, and then nothing behind the judgement can be asked for.
    /// </summary>
    public KernelRelease? Release { get; init; }

    /// <summary>That kernel, if it is open already; else it is opened when it is needed.</summary>
    public RunningKernel? Kernel { get; init; }

    /// <summary>The patches, in the order of their application.</summary>
    public IReadOnlyList<SourcePatch> Patches { get; init; } = [];

    /// <summary>The unpatched source tree, or null if it is not at hand.</summary>
    public string? SourceRoot { get; init; }

    /// <summary>The ids of the updates that this one goes on top of, the lowest first. What they changed is not in the image.</summary>
    public IReadOnlyList<string> Bases { get; init; } = [];

    /// <summary>Errors that the project takes over; what patches acknowledge is found in the objects.</summary>
    public IReadOnlyList<Acknowledgement> Acknowledgements { get; init; } = [];

    /// <summary>Who judges; asked for once, with a bag for what there is to say of those that cannot be had.</summary>
    public Func<DiagnosticBag, IReadOnlyList<UpdateAnalyzer>> Analyzers { get; init; } = _ => AnalyzerDriver.BuiltIn;

    /// <summary>The rules that an acknowledgement may be about; null if acknowledgements are not to be checked.</summary>
    public IReadOnlyList<DiagnosticDescriptor>? Rules { get; init; }
}
