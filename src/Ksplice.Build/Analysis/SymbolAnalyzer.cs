// SPDX-License-Identifier: MIT
// The rules about symbols of other objects, KSP5016, KSP5017 and KSP5022. What makes an export's checksum (genksyms) is its type, spelled
// out down to the last member; so a changed type changes the checksum of every export whose type leads to it.
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Ksplice.Build.Elf;

namespace Ksplice.Build.Analysis;

/// <summary>Judges exports and what belongs to modules.</summary>
public sealed class SymbolAnalyzer : UpdateAnalyzer
{
    private const int NamesToShow = 4;

    /// <inheritdoc/>
    public override IReadOnlyList<DiagnosticDescriptor> SupportedDiagnostics { get; } =
    [CodeDiagnostics.ExportChecksum, CodeDiagnostics.OnlyInModule, CodeDiagnostics.NameTaken];

    /// <inheritdoc/>
    public override void Initialize(AnalysisContext context)
    {
        ArgumentNullException.ThrowIfNull(context);
        context.RegisterUpdateAction(CheckExports);
        context.RegisterSymbolAction(CheckModule);
        context.RegisterFunctionChangeAction(CheckName);
    }

    private static void CheckExports(ActionContext<AnalyzedUpdate> context)
    {
        var promised =
            from unit in context.Update.Units
            from change in unit.TypeChanges
            where change.Rule != TypeDiagnostics.VariableChanged
            from export in Exports(unit)
            where Reaches(unit.PreTypes!, export, change.Name)
            select (unit, export, type: change.Name);
        foreach (var type in promised.GroupBy(pair => pair.type, StringComparer.Ordinal).OrderBy(type => type.Key, StringComparer.Ordinal))
        {
            var names = type.Select(pair => pair.export).Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal).ToList();
            string shown =
                string.Join(", ", names.Take(NamesToShow)) + (names.Count > NamesToShow ? $" and {names.Count - NamesToShow} more" : "");
            context.Report(CodeDiagnostics.ExportChecksum, type.First().unit.Locate(type.Key, null), type.Key, shown);
        }
    }

    /// <summary>The names that a unit exports.</summary>
    internal static IEnumerable<string> Exports(AnalyzedUnit unit) =>
        unit
            .Pre.Sections.Where(section => SectionCatalog.IsExports(section.Name))
            .SelectMany(section => section.Relocations)
            .Select(relocation => unit.Pre.Symbols[relocation.SymbolIndex])
            .Where(symbol => symbol.Type is ElfSymbolType.Function or ElfSymbolType.Object)
            .Select(symbol => symbol.Name)
            .Distinct(StringComparer.Ordinal);

    /// <summary>
    /// True if the type of the function or variable <paramref name="symbol"/> leads to <paramref name="type"/>, or is the symbol itself.
    /// </summary>
    internal static bool Reaches(BtfTypes types, string symbol, string type)
    {
        if (symbol == type)
            return true;
        HashSet<int> seen = [];
        Stack<int> work = new(
            Enumerable
                .Range(1, types.Count - 1)
                .Where(id => types.KindOf(id) is BtfKind.Function or BtfKind.Variable && types.NameOf(id) == symbol)
        );
        while (work.TryPop(out int id))
        {
            if (!seen.Add(id))
                continue;
            var kind = types.KindOf(id);
            if (Spelled(types, id, kind) == type)
                return true;
            switch (kind)
            {
                case BtfKind.Struct or BtfKind.Union:
                    foreach (var member in types.Members(id))
                        work.Push(member.Type);
                    break;
                case BtfKind.FunctionPrototype:
                    work.Push(types.Referenced(id));
                    foreach (var parameter in types.Parameters(id))
                        work.Push(parameter.Type);
                    break;
                case BtfKind.Pointer
                or BtfKind.Array
                or BtfKind.Typedef
                or BtfKind.Const
                or BtfKind.Volatile
                or BtfKind.Restrict
                or BtfKind.TypeTag
                or BtfKind.Function
                or BtfKind.Variable:
                    work.Push(types.Referenced(id));
                    break;
            }
        }
        return false;
    }

    private static string Spelled(BtfTypes types, int id, BtfKind kind) =>
        kind switch
        {
            BtfKind.Struct => "struct " + types.NameOf(id),
            BtfKind.Union => "union " + types.NameOf(id),
            BtfKind.Enum or BtfKind.Enum64 => "enum " + types.NameOf(id),
            BtfKind.Typedef => types.NameOf(id),
            _ => "",
        };

    // The linker would let a new function take the place of a weak one; an update cannot. Where the name moves from one unit to another,
    // the place where it was says so (KSP6004).
    private static void CheckName(ActionContext<ChangedFunction> context)
    {
        var (function, unit) = (context.Subject, context.Unit!);
        if (
            unit.Module is not null
            || function is not { Pre: null, Post.IsGlobal: true }
            || context.Update.Replaces(function.Name)
            || context.Update.Kernel is not { } kernel
        )
            return;
        foreach (var known in kernel.Image.Symbols.Find(function.Name).Where(known => char.IsUpper(known.Type)).Take(1))
            context.Report(
                CodeDiagnostics.NameTaken,
                unit.Locate(function),
                function.Name,
                known.Type == 'W' ? "a weak function" : "a function"
            );
    }

    // A module's own needs are matched; the kernel's must be the kernel's.
    private static void CheckModule(ActionContext<ReferencedSymbol> context)
    {
        var (symbol, unit) = (context.Subject, context.Unit!);
        if (
            unit.Module is null
            && context.Update.Kernel is { } kernel
            && kernel.ModuleExports.TryGetValue(symbol.Name, out string? module)
            && !kernel.Image.Symbols.Find(symbol.Name).Any()
        )
            context.Report(CodeDiagnostics.OnlyInModule, unit.Locate(symbol.User), symbol.User.Name, symbol.Name, module);
    }
}
