// SPDX-License-Identifier: MIT
// The spine: from the objects of compiled units to the sources of the update's modules. The stages are those of the paper, with a
// judgement among them:
//
//     compare      what of each unit's object code differs, and what is refused of that        (paper, section 3)
//     judge        what the analyzers say of it, acknowledgements taken into account
//     targets      whose code it is: the kernel's or a module's, each with modules of its own
//     program      what matching has to look for in each target
//     match        run-pre matching against the shipped image and modules                       (paper, section 4)
//     generate     the sources of helper and primary                                            (paper, section 5)
//
// Whoever asks for a stage's result gets it, and what it rests on is computed on the way. Each stage runs at most once, whoever asks and
// in whichever order. A stage that is canceled has no result and can be asked for again.
using System.Diagnostics;
using System.Runtime.ExceptionServices;
using Ksplice.Build.Analysis;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Ksplice.Build.Elf;
using Ksplice.Build.Generation;
using Ksplice.Build.Kernel;
using Ksplice.Build.Matching;
using Ksplice.Build.Targets;

namespace Ksplice.Build.Updates;

/// <summary>Builds one update, up to the sources of its modules. Safe to ask from several threads.</summary>
public sealed class UpdateBuild
{
    private readonly UpdateInputs _inputs;
    private readonly List<StageTime> _times = [];
    private readonly Stage<IReadOnlyList<AnalyzedUnit>> _units;
    private readonly Stage<KernelExports> _exports;
    private readonly Stage<RunningKernel> _kernel;
    private readonly Stage<IReadOnlyList<ObjectDiff>> _diffs;
    private readonly Stage<Judgement> _judgement;
    private readonly Stage<IReadOnlyList<TargetDiffs>> _targets;
    private readonly Stage<IReadOnlyList<TargetProgram>> _programs;
    private readonly Stage<IReadOnlyList<TargetMatch>> _matches;
    private readonly Stage<UpdateModuleSources> _modules;
    private AnalyzedUpdate? _analyzed;

    /// <summary>A build of <paramref name="inputs"/>; nothing is read yet.</summary>
    public UpdateBuild(UpdateInputs inputs)
    {
        ArgumentNullException.ThrowIfNull(inputs);
        _inputs = inputs;
        _units = new(this, "read", Read);
        _exports = new(this, "exports", ReadExports);
        _kernel = new(this, "image", OpenKernel);
        _diffs = new(this, "compare", Compare);
        _judgement = new(this, "judge", Judge);
        _targets = new(this, "targets", SplitTargets);
        _programs = new(this, "program", WritePrograms);
        _matches = new(this, "match", Match);
        _modules = new(this, "generate", Generate);
    }

    /// <summary>What the update is built from.</summary>
    public UpdateInputs Inputs => _inputs;

    /// <summary>What took how long so far, in the order of the stages' ends; a stage's time does not hold those that it rests on.</summary>
    public IReadOnlyList<StageTime> Times
    {
        get
        {
            lock (_times)
                return [.. _times];
        }
    }

    /// <summary>The kernel that is to be updated; its image is opened once.</summary>
    public StageResult<RunningKernel> Kernel(CancellationToken cancellation = default) => _kernel.Get(cancellation);

    /// <summary>The difference of each unit, in the units' order.</summary>
    /// <exception cref="ElfFormatException">An object is malformed.</exception>
    /// <exception cref="IOException">An object cannot be read.</exception>
    public StageResult<IReadOnlyList<ObjectDiff>> Differences(CancellationToken cancellation = default) => _diffs.Get(cancellation);

    /// <summary>What speaks against the update: what differencing refuses, then what analyzers found.</summary>
    /// <inheritdoc cref="Differences" path="/exception"/>
    public StageResult<Judgement> Judgement(CancellationToken cancellation = default) => _judgement.Get(cancellation);

    /// <summary>What changes in each target; null if nothing does.</summary>
    /// <inheritdoc cref="Differences" path="/exception"/>
    public StageResult<IReadOnlyList<TargetDiffs>> Targets(CancellationToken cancellation = default) => _targets.Get(cancellation);

    /// <summary>What matching looks for in each target.</summary>
    /// <inheritdoc cref="Differences" path="/exception"/>
    public StageResult<IReadOnlyList<TargetProgram>> Programs(CancellationToken cancellation = default) => _programs.Get(cancellation);

    /// <summary>What matching found in the shipped files.</summary>
    /// <inheritdoc cref="Differences" path="/exception"/>
    public StageResult<IReadOnlyList<TargetMatch>> Matches(CancellationToken cancellation = default) => _matches.Get(cancellation);

    /// <summary>What the modules are made from.</summary>
    /// <inheritdoc cref="Differences" path="/exception"/>
    public StageResult<UpdateModuleSources> Modules(CancellationToken cancellation = default) => _modules.Get(cancellation);

    private KernelRelease Release =>
        _inputs.Release ?? throw new InvalidOperationException("the update is built for no kernel: UpdateInputs.Release is null");

    private DiagnosticBag NewBag()
    {
        DiagnosticBag bag = [];
        foreach (var acknowledgement in _inputs.Acknowledgements)
            bag.Acknowledge(acknowledgement);
        return bag;
    }

    // One with what the patches acknowledge too.
    private DiagnosticBag NewBag(IReadOnlyList<AnalyzedUnit> units)
    {
        var bag = NewBag();
        foreach (var acknowledgement in units.SelectMany(unit => Acknowledgement.ReadFrom(unit.Post, unit.Source)))
            bag.Acknowledge(acknowledgement);
        return bag;
    }

    private StageResult<IReadOnlyList<AnalyzedUnit>> Read(CancellationToken cancellation) =>
        new([.. SideBySide(_inputs.Units, unit => unit.Read(), cancellation)], []);

    private StageResult<KernelExports> ReadExports(CancellationToken cancellation)
    {
        DiagnosticBag bag = [];
        return new(KernelExports.Read(Release.ModuleSymvers, bag), [.. bag]);
    }

    private StageResult<RunningKernel> OpenKernel(CancellationToken cancellation)
    {
        if (_inputs.Kernel is { } kernel)
            return new(kernel, []);
        if (_exports.Get(cancellation) is not { Value: { } exports })
            return new(null, _exports.Get(cancellation).Diagnostics);
        DiagnosticBag bag = [];
        return KernelImage.Open(Release.Image, bag) is { } image
            ? new(new RunningKernel(image, exports.ModuleOf, KernelConfiguration.Read(Release.Config)), [.. bag])
            : new(null, [.. bag]);
    }

    private StageResult<IReadOnlyList<ObjectDiff>> Compare(CancellationToken cancellation)
    {
        var units = _units.Get(cancellation).Value!;
        // Each unit finds its difference once, when it is first asked; asking side by side is all that is needed.
        _ = SideBySide(units, unit => unit.Comparison.Refusals.Count == 0 ? unit.Comparison.Carried : null, cancellation);
        var bag = NewBag(units);
        List<ObjectDiff> diffs = [];
        foreach (var (unit, objects) in units.Zip(_inputs.Units))
        {
            if (UpdateJudgement.Compare(unit, bag, _inputs.Patches) is not { } diff)
                continue;
            diffs.Add(objects.ReadWithTables() is { } withTables ? diff with { PreWithTables = withTables, IsCheckedAtLink = true } : diff);
        }
        return new(diffs.Count == units.Count ? ObjectDiff.Together(diffs) : null, [.. bag]);
    }

    // Null if the kernel cannot be opened.
    private AnalyzedUpdate? Analyzed(CancellationToken cancellation)
    {
        var kernel = _inputs.Release is null ? null : _kernel.Get(cancellation).Value;
        return kernel is null && _inputs.Release is not null
            ? null
            : LazyInitializer.EnsureInitialized(ref _analyzed, () =>
                new AnalyzedUpdate(_inputs.Patches, _units.Get(cancellation).Value!, kernel, _inputs.SourceRoot)
            );
    }

    private StageResult<Judgement> Judge(CancellationToken cancellation)
    {
        if (Analyzed(cancellation) is not { } update)
            return new(null, _kernel.Get(cancellation).Diagnostics);
        _ = _diffs.Get(cancellation);
        var bag = NewBag();
        UpdateJudgement.Judge(update, _inputs.Analyzers(bag), _inputs.Rules, bag, cancellation);
        return new(bag.HasErrors ? null : new Judgement(bag.UsedAcknowledgements), [.. bag]);
    }

    private StageResult<IReadOnlyList<TargetDiffs>> SplitTargets(CancellationToken cancellation)
    {
        if (_diffs.Get(cancellation) is not { Value: { } diffs })
            return new(null, _diffs.Get(cancellation).Diagnostics);
        if (Analyzed(cancellation) is not { } update)
            return new(null, _kernel.Get(cancellation).Diagnostics);
        var bag = NewBag(_units.Get(cancellation).Value!);
        var marked = update.NmiReach is { } nmi ? update.Units.Zip(diffs, nmi.Mark) : diffs;
        var targets = TargetDiffs.Split(
            _inputs.UpdateId,
            [.. _inputs.Units.Zip(marked, (unit, diff) => new UnitDiff(unit.Target, diff))],
            bag,
            _inputs.Patches.Count == 0 ? null : new SourceLocation(_inputs.Patches[0].Path)
        );
        return new(bag.HasErrors ? null : targets, [.. bag]);
    }

    private StageResult<IReadOnlyList<TargetProgram>> WritePrograms(CancellationToken cancellation)
    {
        if (_targets.Get(cancellation) is not { Value: { } targets })
            return new(null, _targets.Get(cancellation).Diagnostics);
        if (_exports.Get(cancellation) is not { Value: { } exports })
            return new(null, _exports.Get(cancellation).Diagnostics);
        var bag = NewBag(_units.Get(cancellation).Value!);
        ShippedModules modules = new(Release);
        List<TargetProgram> programs = [];
        var kernel = exports.BesideTarget(null);
        foreach (var target in targets.Select(target => target.LateIfPossible(kernel)))
        {
            var module = target.Target.IsKernel ? null : modules.Open(target.Target.Name, bag);
            if (module is null && !target.Target.IsKernel)
                continue;
            if (module is not null)
                ModuleNames.Check(module, target.Diffs, bag);
            // What other modules export is found like all else that comes with a late one.
            var exported = (target.Target.IsLate ? kernel : exports.BesideTarget(module)).With(target.Borrowed);
            if (MatchDataBuilder.Build(target.Diffs, exported.SymbolsToResolve(target.Diffs), bag) is { } data)
                programs.Add(new TargetProgram(target, module, exported, data));
        }
        return new(programs.Count == targets.Count && !bag.HasErrors ? programs : null, [.. bag]);
    }

    private StageResult<IReadOnlyList<TargetMatch>> Match(CancellationToken cancellation)
    {
        if (_programs.Get(cancellation) is not { Value: { } programs })
            return new(null, _programs.Get(cancellation).Diagnostics);
        if (_kernel.Get(cancellation) is not { Value.Image: { } image })
            return new(null, _kernel.Get(cancellation).Diagnostics);
        var bag = NewBag(_units.Get(cancellation).Value!);
        ShippedModules modules = new(Release);
        List<TargetMatch> matches = [];
        foreach (var program in programs)
        {
            cancellation.ThrowIfCancellationRequested();
            var module = program.Module is null ? null : LoadedModule.Load(program.Module, modules, image, bag);
            if (module is null && program.Module is not null)
                continue;
            var said = NewBag();
            var result =
                _inputs.Bases.Count != 0 ? ImageMatch.CheckOnTop(program.Data, module, image, said)
                : module is null ? ImageMatch.Check(program.Data, image, said)
                : ImageMatch.Check(program.Data, module, image, said);
            // The difference of one function is nothing to look at if most differ.
            if (said.HasErrors && FindOtherSource(program, module, image, cancellation) is { } other)
                said = [other];
            foreach (var diagnostic in said)
                bag.Add(diagnostic);
            if (StaticKeyCheck.Check(program.Diffs.Diffs, image, bag, module))
                matches.Add(new(program, program.Module?.Path ?? Release.Image, result));
        }
        return new(bag.HasErrors ? null : matches, [.. bag]);
    }

    private Diagnostic? FindOtherSource(TargetProgram program, LoadedModule? module, KernelImage image, CancellationToken cancellation)
    {
        ImageMemory memory = new(image);
        return OtherSource.Find(
            [
                .. _inputs
                    .Units.Zip(_units.Get(cancellation).Value!)
                    .Where(unit => unit.First.Target == program.Diffs.Target.Name)
                    .Select(unit => (unit.First.Source, unit.First.ReadWithTables() ?? unit.Second.Pre)),
            ],
            module is null ? memory : new ModuleMemory(module, memory),
            module?.Path ?? image.Path,
            Release.Release
        );
    }

    private StageResult<UpdateModuleSources> Generate(CancellationToken cancellation)
    {
        if (_programs.Get(cancellation) is not { Value: { } programs })
            return new(null, _programs.Get(cancellation).Diagnostics);
        var bag = NewBag(_units.Get(cancellation).Value!);
        var kept = DataSource.Create(_inputs.UpdateId, [.. programs.SelectMany(program => program.Diffs.Diffs)]);
        List<TargetModules> modules = [];
        foreach (var (diffs, _, exported, data) in programs)
        {
            if (diffs.LateObstacle is { } obstacle)
                bag.Report(TargetDiagnostics.NotLate, null, diffs.Target.Name, obstacle);
            if (PrimaryObject.Build(diffs.Diffs, data, diffs.Target, exported, kept, bag, diffs.Lent) is { } primary)
                modules.Add(new(HelperSource.Create(diffs.Target, data), primary));
        }
        return new(bag.HasErrors ? null : new UpdateModuleSources(modules, kept), [.. bag]);
    }

    private static List<TResult> SideBySide<T, TResult>(IReadOnlyList<T> items, Func<T, TResult> each, CancellationToken cancellation)
    {
        try
        {
            return [.. items.AsParallel().AsOrdered().WithCancellation(cancellation).Select(each)];
        }
        catch (AggregateException failed)
        {
            ExceptionDispatchInfo.Throw(failed.InnerExceptions[0]);
            throw;
        }
    }

    /// <summary>A result that is computed when it is first asked for.</summary>
    private sealed class Stage<T>(UpdateBuild build, string name, Func<CancellationToken, StageResult<T>> run)
        where T : class
    {
        private readonly Lock _gate = new();
        private StageResult<T>? _result;

        public StageResult<T> Get(CancellationToken cancellation)
        {
            lock (_gate)
            {
                if (_result is not null)
                    return _result;
                cancellation.ThrowIfCancellationRequested();
                var before = build.Total();
                long start = Stopwatch.GetTimestamp();
                _result = run(cancellation);
                build.Add(new(name, Stopwatch.GetElapsedTime(start) - (build.Total() - before)));
                return _result;
            }
        }
    }

    private TimeSpan Total()
    {
        lock (_times)
            return _times.Aggregate(TimeSpan.Zero, (sum, time) => sum + time.Time);
    }

    private void Add(StageTime time)
    {
        lock (_times)
            _times.Add(time);
    }
}
