// SPDX-License-Identifier: MIT
// A project's own analyzers come from assemblies that it names. Each assembly has a load context of its own, which finds
// what it needs beside it, so that two may bring different versions of one library; of Ksplice.Build there is only this
// one, or their UpdateAnalyzer would be another class than ours. They are loaded from memory: the file stays free.
using System.Reflection;
using System.Runtime.Loader;
using Ksplice.Build.Analysis;
using Ksplice.Build.Diagnostics;

namespace Ksplice.Tasks;

/// <summary>Loads analyzers.</summary>
internal static class UserAnalyzers
{
    private sealed class Context(string path) : AssemblyLoadContext(Path.GetFileName(path))
    {
        private readonly AssemblyDependencyResolver _resolver = new(path);

        public Assembly LoadFromMemory(string file) => LoadFromStream(new MemoryStream(File.ReadAllBytes(file)));

        protected override Assembly? Load(AssemblyName assemblyName) =>
            assemblyName.Name == typeof(UpdateAnalyzer).Assembly.GetName().Name ? typeof(UpdateAnalyzer).Assembly
            : _resolver.ResolveAssemblyToPath(assemblyName) is { } file ? LoadFromMemory(file)
            : null;
    }

    /// <summary>The analyzers of the assembly <paramref name="path"/>; none after an error.</summary>
    public static IReadOnlyList<UpdateAnalyzer> Load(string path, DiagnosticBag diagnostics)
    {
        string? problem = null;
        List<UpdateAnalyzer> analyzers = [];
        if (!File.Exists(path))
            problem = "does not exist; build it first, or add a ProjectReference to it";
        else
        {
            try
            {
                var types = new Context(Path.GetFullPath(path)).LoadFromMemory(path).GetExportedTypes();
                foreach (
                    var type in types
                        .Where(type => !type.IsAbstract && type.IsSubclassOf(typeof(UpdateAnalyzer)))
                        .OrderBy(type => type.FullName, StringComparer.Ordinal)
                )
                    analyzers.Add((UpdateAnalyzer)Activator.CreateInstance(type)!);
                if (analyzers.Count == 0)
                    problem = "has no public class that derives from Ksplice.Build.Analysis.UpdateAnalyzer";
            }
#pragma warning disable CA1031 // The constructors are anybody's code.
            catch (Exception error)
#pragma warning restore CA1031
            {
                problem = "cannot be loaded: " + (error is TargetInvocationException { InnerException: { } inner } ? inner : error).Message;
                analyzers = [];
            }
        }
        if (problem is not null)
            diagnostics.Report(AnalysisDiagnostics.AnalyzerNotLoaded, null, path, problem);
        return analyzers;
    }
}
