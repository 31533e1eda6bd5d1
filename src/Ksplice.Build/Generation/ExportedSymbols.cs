// SPDX-License-Identifier: MIT
// Module.symvers: what the kernel and its modules export, one line a symbol: CRC, name, module, kind, namespace.
using System.Collections.Immutable;
using System.Globalization;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Kernel;

namespace Ksplice.Build.Generation;

/// <summary>One exported symbol.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Crc">The checksum of its type.</param>
/// <param name="Namespace">The namespace that users have to import, or empty.</param>
public sealed record ExportedSymbol(string Name, uint Crc, string Namespace);

/// <summary>The exports that are there whenever a target is: new code uses them as they are.</summary>
public sealed class ExportedSymbols
{
    private readonly Dictionary<string, ExportedSymbol> _byName;

    /// <summary>Makes the set of <paramref name="symbols"/>.</summary>
    public ExportedSymbols(IEnumerable<ExportedSymbol> symbols) => _byName = symbols.ToDictionary(symbol => symbol.Name);

    /// <summary>What the core module has for new code (include/ksplice/shadow.h): it is there whenever an update is.</summary>
    public static ImmutableArray<string> OfCore { get; } =
    ["ksplice_shadow_attach", "ksplice_shadow_detach", "ksplice_shadow_free_all", "ksplice_shadow_get", "ksplice_shadow_get_or_attach"];

    /// <summary>How many there are.</summary>
    public int Count => _byName.Count;

    /// <summary>The symbol of that name, or null.</summary>
    public ExportedSymbol? Find(string name) => _byName.GetValueOrDefault(name);

    /// <summary>
    /// Reads from a Module.symvers file what vmlinux exports, beside what the core does, and, if the target is a module, what that module
    /// and those that it depends on do; null after an error.
    /// </summary>
    public static ExportedSymbols? Read(string path, DiagnosticBag diagnostics, ModuleFile? target = null)
    {
        ArgumentNullException.ThrowIfNull(diagnostics);
        string[] lines;
        try
        {
            lines = File.ReadAllLines(path);
        }
        catch (Exception problem) when (problem is IOException or UnauthorizedAccessException)
        {
            diagnostics.Report(
                GenerationDiagnostics.BadSymbolVersions,
                new SourceLocation(path),
                path,
                $"cannot be read ({problem.Message})"
            );
            return null;
        }
        Dictionary<string, ExportedSymbol> symbols = [];
        bool kernel = false;
        for (int i = 0; i < lines.Length; i++)
        {
            string[] fields = lines[i].Split('\t');
            if (
                fields.Length < 4
                || !fields[0].StartsWith("0x", StringComparison.Ordinal)
                || !uint.TryParse(fields[0].AsSpan(2), NumberStyles.HexNumber, CultureInfo.InvariantCulture, out uint crc)
            )
            {
                diagnostics.Report(GenerationDiagnostics.BadSymbolVersions, new SourceLocation(path, i + 1), path, "is malformed");
                return null;
            }
            string owner = ShippedModules.Normalized(Path.GetFileName(fields[2]));
            kernel |= owner == UpdateTarget.KernelName;
            if (owner == UpdateTarget.KernelName || owner == target?.Name || target?.Depends.Contains(owner) == true)
                symbols[fields[1]] = new ExportedSymbol(fields[1], crc, fields.Length > 4 ? fields[4] : "");
        }
        if (!kernel)
        {
            diagnostics.Report(GenerationDiagnostics.BadSymbolVersions, new SourceLocation(path), path, "names no symbol of vmlinux");
            return null;
        }
        foreach (string name in OfCore)
            symbols[name] = new ExportedSymbol(name, 0, "");
        return new ExportedSymbols(symbols.Values);
    }
}
