// SPDX-License-Identifier: MIT
// What a hook may not do, KSP5018 and KSP5019.
//
// Hooks run in the thread of the core that serves the request, which nobody can kill. One that waits for modprobe leaves the
// update between two stages for as long as that takes, which is for others to say; and the module may be one that this very
// update changes. One that writes to the chain of module notifiers waits for every loader that is in it, the core's own work
// for a module that comes included. Direct calls are followed through the functions of the update's units, whose code is at
// hand; of the kernel's own functions those are known by name that are there to load a module.
//
// K28: with PREEMPT_RT a spinlock is a mutex, so its holder may be preempted by the thread that stops the machine. In the stop
// the data that it guards may be half updated, and no hook can wait there for the holder to go on.
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Ksplice.Build.Elf;

namespace Ksplice.Build.Analysis;

/// <summary>Judges the hooks of an update.</summary>
public sealed class HookAnalyzer : UpdateAnalyzer
{
    private const string WaitsForModprobe = "waits for modprobe",
        LoadsModule = "loads a module if none is there that it needs",
        WaitsForProgram = "runs a program, which may load or unload a module",
        IsLoader = "loads or unloads a module itself",
        WritesToChain = "waits for the chain of module notifiers";

    /// <summary>What no hook may call, and why, for a sentence that goes on after "which".</summary>
    internal static IReadOnlyDictionary<string, string> Forbidden { get; } =
        new Dictionary<string, string>(StringComparer.Ordinal)
        {
            // request_module(), request_module_nowait() and try_then_request_module() are macros for it.
            ["__request_module"] = WaitsForModprobe,

            ["get_fs_type"] = LoadsModule,
            ["dev_load"] = LoadsModule,
            ["sock_create"] = LoadsModule,
            ["sock_create_kern"] = LoadsModule,
            ["__sock_create"] = LoadsModule,
            ["crypto_has_alg"] = LoadsModule,
            ["crypto_alg_mod_lookup"] = LoadsModule,
            ["crypto_find_alg"] = LoadsModule,
            ["crypto_alloc_base"] = LoadsModule,
            ["crypto_alloc_tfm_node"] = LoadsModule,
            ["crypto_alloc_shash"] = LoadsModule,
            ["crypto_alloc_ahash"] = LoadsModule,
            ["crypto_alloc_skcipher"] = LoadsModule,
            ["crypto_alloc_sync_skcipher"] = LoadsModule,
            ["crypto_alloc_aead"] = LoadsModule,
            ["crypto_alloc_akcipher"] = LoadsModule,
            ["crypto_alloc_kpp"] = LoadsModule,
            ["crypto_alloc_rng"] = LoadsModule,
            ["crypto_alloc_acomp"] = LoadsModule,

            ["call_usermodehelper"] = WaitsForProgram,
            ["call_usermodehelper_exec"] = WaitsForProgram,

            // A patch of the loader's own file may refer to these.
            ["load_module"] = IsLoader,
            ["__x64_sys_init_module"] = IsLoader,
            ["__x64_sys_finit_module"] = IsLoader,
            ["__x64_sys_delete_module"] = IsLoader,
            ["__do_sys_init_module"] = IsLoader,
            ["__do_sys_finit_module"] = IsLoader,
            ["__do_sys_delete_module"] = IsLoader,

            ["register_module_notifier"] = WritesToChain,
            ["unregister_module_notifier"] = WritesToChain,
            ["module_notify_list"] = WritesToChain,
        };

    /// <inheritdoc/>
    public override IReadOnlyList<DiagnosticDescriptor> SupportedDiagnostics { get; } =
    [CodeDiagnostics.HookInRealTimeStop, CodeDiagnostics.HookWaitsForModules];

    /// <inheritdoc/>
    public override void Initialize(AnalysisContext context)
    {
        ArgumentNullException.ThrowIfNull(context);
        context.RegisterUpdateAction(Check);
    }

    private static void Check(ActionContext<AnalyzedUpdate> context)
    {
        var update = context.Update;
        var hooks = UpdateHook.Of(update).ToList();
        if (hooks.Count == 0)
            return;
        Code code = new(update);
        foreach (var hook in hooks)
        {
            context.Cancellation.ThrowIfCancellationRequested();
            var place = hook.Unit.PostSource.Function(hook.Name) ?? new SourceLocation(hook.Unit.Source);
            if (hook.RunsInStop && update.Kernel is { } kernel && kernel.Configuration.Has("CONFIG_PREEMPT_RT"))
                context.Report(CodeDiagnostics.HookInRealTimeStop, place, hook.Name, hook.Kind, kernel.Image.Release);
            foreach (var (name, through) in code.ForbiddenIn(hook.Unit, hook.Name, hook.Function))
                context.Report(
                    CodeDiagnostics.HookWaitsForModules,
                    place,
                    hook.Name,
                    hook.Kind,
                    string.Concat(through.Select(function => $"{function}, ")),
                    name,
                    Forbidden[name]
                );
        }
    }

    private sealed class Code(AnalyzedUpdate update)
    {
        private readonly UpdateFunctions _functions = new(update);

        /// <summary>Each forbidden name that the hook refers to, with the functions on the way to it.</summary>
        public IEnumerable<(string Name, IReadOnlyList<string> Through)> ForbiddenIn(AnalyzedUnit unit, string name, ObjectFunction? hook)
        {
            SortedDictionary<string, IReadOnlyList<string>> found = new(StringComparer.Ordinal);
            if (Forbidden.ContainsKey(name))
                found.Add(name, []);
            HashSet<ObjectFunction> seen = new(ReferenceEqualityComparer.Instance);
            Queue<(AnalyzedUnit Unit, ObjectFunction Function, IReadOnlyList<string> Through)> work = new();
            if (hook is not null && seen.Add(hook))
                work.Enqueue((unit, hook, []));
            while (work.TryDequeue(out var at))
            {
                // An address counts too: who takes that of such a function means to call it.
                foreach (
                    string target in at
                        .Function.Parts.SelectMany(part => part.References)
                        .Select(reference => reference.Target)
                        .Where(Forbidden.ContainsKey)
                )
                    found.TryAdd(target, at.Through);
                foreach (string call in at.Function.Calls)
                {
                    foreach (var callee in _functions.Find(at.Unit, call).Where(callee => seen.Add(callee.Function)))
                        work.Enqueue((callee.Unit, callee.Function, [.. at.Through, callee.Function.Name]));
                }
            }
            return found.Select(pair => (pair.Key, pair.Value));
        }
    }
}
