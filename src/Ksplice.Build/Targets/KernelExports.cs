// SPDX-License-Identifier: MIT
// Module.symvers: what the kernel and its modules export, one line a symbol: CRC, name, module, kind, namespace.
using System.Globalization;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Kernel;

namespace Ksplice.Build.Targets;

/// <summary>What a kernel and its loadable modules export.</summary>
public sealed class KernelExports
{
    private readonly IReadOnlyList<(string Owner, ExportedSymbol Symbol)> _lines;

    private KernelExports(IReadOnlyList<(string Owner, ExportedSymbol Symbol)> lines)
    {
        _lines = lines;
        ModuleOf = lines
            .Where(line => line.Owner != UpdateTarget.KernelName)
            .GroupBy(line => line.Symbol.Name, StringComparer.Ordinal)
            .ToDictionary(group => group.Key, group => group.First().Owner, StringComparer.Ordinal);
    }

    /// <summary>The module that exports each symbol that the kernel itself does not, by the name of its file.</summary>
    public IReadOnlyDictionary<string, string> ModuleOf { get; }

    /// <summary>Reads a Module.symvers file; null after an error.</summary>
    public static KernelExports? Read(string path, DiagnosticBag diagnostics)
    {
        ArgumentNullException.ThrowIfNull(diagnostics);
        string[] lines;
        try
        {
            lines = File.ReadAllLines(path);
        }
        catch (Exception problem) when (problem is IOException or UnauthorizedAccessException)
        {
            return Refuse(0, $"cannot be read ({problem.Message})");
        }
        List<(string Owner, ExportedSymbol Symbol)> exports = [];
        for (int i = 0; i < lines.Length; i++)
        {
            string[] fields = lines[i].Split('\t');
            if (
                fields.Length < 4
                || !fields[0].StartsWith("0x", StringComparison.Ordinal)
                || !uint.TryParse(fields[0].AsSpan(2), NumberStyles.HexNumber, CultureInfo.InvariantCulture, out uint _)
            )
                return Refuse(i + 1, "is malformed");
            string space = fields.Length > 4 ? fields[4] : "";
            // EXPORT_SYMBOL_FOR_MODULES: what is exported to modules of certain names is not for an update's.
            if (!space.StartsWith("module:", StringComparison.Ordinal))
                exports.Add((Path.GetFileName(fields[2]), new ExportedSymbol(fields[1], space)));
        }
        return exports.Exists(export => export.Owner == UpdateTarget.KernelName)
            ? new KernelExports(exports)
            : Refuse(0, "names no symbol of vmlinux");

        KernelExports? Refuse(int line, string why)
        {
            diagnostics.Report(TargetDiagnostics.BadSymbolVersions, new SourceLocation(path, line), path, why);
            return null;
        }
    }

    /// <summary>
    /// What the kernel itself exports, beside what the core does, and, if the target is a module, what that module and those that it
    /// depends on do.
    /// </summary>
    public ExportedSymbols BesideTarget(ModuleFile? module)
    {
        Dictionary<string, ExportedSymbol> symbols = [];
        foreach (var (owner, symbol) in _lines)
        {
            string name = ShippedModules.Normalized(owner);
            if (name == UpdateTarget.KernelName || name == module?.Name || module?.Depends.Contains(name, StringComparer.Ordinal) == true)
                symbols[symbol.Name] = symbol;
        }
        foreach (string name in ExportedSymbols.OfCore)
            symbols[name] = new ExportedSymbol(name, "");
        return new ExportedSymbols(symbols.Values);
    }
}
