// SPDX-License-Identifier: MIT
// Which new globals of one target the others use. A name means what the linkers of the kernel and of its modules take it for: the
// target's own, else what another one exports. A module may also use what the patch adds to the kernel without an export, as it may use
// all that the kernel has. The kernel itself uses nothing of a module.
//
// The primary that brings a symbol exports it. The loader binds a primary to modules that are there, so the order of loading follows from
// the uses, and two targets cannot use each other's. In force they are all at once: no thread runs new code before the stop is over.
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;

namespace Ksplice.Build.Targets;

/// <summary>New code of one target uses a new global of another one.</summary>
/// <param name="User">The target that uses it.</param>
/// <param name="Unit">The first unit that does.</param>
/// <param name="Name">The symbol.</param>
/// <param name="Lender">The target that brings it.</param>
/// <param name="Diff">The difference of the unit that has it.</param>
/// <param name="Piece">Index of the symbol in <see cref="ObjectDiff.Carried"/>.</param>
internal sealed record TargetLink(string User, string Unit, string Name, string Lender, ObjectDiff Diff, int Piece);

/// <summary>Finds the links between the targets of an update.</summary>
internal sealed class TargetLinks
{
    private sealed record Brought(string Target, ObjectDiff Diff, int Piece, bool IsExported);

    private readonly ILookup<string, Brought> _brought;
    private readonly DiagnosticBag _diagnostics;

    private TargetLinks(IEnumerable<Brought> brought, DiagnosticBag diagnostics)
    {
        _brought = brought.ToLookup(symbol => symbol.Diff.Carried[symbol.Piece].Name, StringComparer.Ordinal);
        _diagnostics = diagnostics;
    }

    /// <summary>The links between <paramref name="targets"/>, by target; what cannot be is reported.</summary>
    public static IReadOnlyList<TargetLink> Find(IReadOnlyList<IGrouping<string, ObjectDiff>> targets, DiagnosticBag diagnostics)
    {
        List<Brought> brought = [];
        foreach (var target in targets)
        {
            var exports = target.SelectMany(diff => SectionCatalog.ExportsOf(diff.Post)).ToHashSet(StringComparer.Ordinal);
            foreach (var diff in target)
                brought.AddRange(
                    ObjectDiff
                        .BroughtPieces(diff)
                        .Select(symbol => new Brought(target.Key, diff, symbol.Piece, exports.Contains(symbol.Name)))
                );
        }
        TargetLinks links = new(brought, diagnostics);
        return
        [
            .. from target in targets
            from use in target
                .SelectMany(diff => diff.Needed.OfType<GlobalSymbol>().Select(symbol => (diff.Unit, symbol.Name)))
                .DistinctBy(use => use.Name, StringComparer.Ordinal)
            let link = links.Resolve(target.Key, use.Unit, use.Name)
            where link is not null
            select link,
        ];
    }

    private TargetLink? Resolve(string user, string unit, string name)
    {
        var brought = _brought[name].ToList();
        if (brought.Count == 0 || brought.Exists(symbol => symbol.Target == user))
            return null;
        var exported = brought.DistinctBy(symbol => symbol.Target, StringComparer.Ordinal).Where(symbol => symbol.IsExported).ToList();
        var meant = exported.FirstOrDefault() ?? brought.Find(symbol => symbol.Target == UpdateTarget.KernelName);
        TargetLink link = new(user, unit, name, (meant ?? brought[0]).Target, (meant ?? brought[0]).Diff, (meant ?? brought[0]).Piece);
        string? obstacle =
            user == UpdateTarget.KernelName ? "the kernel itself cannot use what a module brings"
            : meant is null ? $"{link.Lender} does not export it, so no other module can use it"
            : exported.Count > 1 ? $"{exported[1].Diff.Unit} exports the same name with the update of {exported[1].Target}"
            : null;
        if (obstacle is null)
            return link;
        Refuse(link, obstacle, _diagnostics);
        return null;
    }

    /// <summary>
    /// The targets in the order in which their primaries are loaded; null after an error, where targets use each other's symbols.
    /// </summary>
    public static IReadOnlyList<string>? Order(
        IReadOnlyCollection<string> targets,
        IReadOnlyList<TargetLink> links,
        DiagnosticBag diagnostics
    )
    {
        var ordered = LoadOrder.Of(targets, links.ToLookup(link => link.User, link => link.Lender, StringComparer.Ordinal));
        if (ordered.Count == targets.Count)
            return ordered;
        // Each target that is left uses one that is left: who goes from use to use comes back to where he was.
        List<TargetLink> way = [];
        string at = targets.Except(ordered, StringComparer.Ordinal).Order(StringComparer.Ordinal).First();
        while (way.TrueForAll(link => link.User != at))
        {
            way.Add(links.First(link => link.User == at && !ordered.Contains(link.Lender, StringComparer.Ordinal)));
            at = way[^1].Lender;
        }
        var circle = way.SkipWhile(link => link.User != at).ToList();
        string others = string.Join(
            ", and ",
            circle
                .Skip(1)
                .Select(link => $"new code of {link.Unit} to '{link.Name}', which {link.Diff.Unit} brings with the update of {link.Lender}")
        );
        Refuse(circle[0], $"{others}. Each of these modules would have to be loaded before the other", diagnostics);
        return null;
    }

    private static void Refuse(TargetLink link, string why, DiagnosticBag diagnostics) =>
        diagnostics.Report(
            TargetDiagnostics.BroughtElsewhere,
            new SourceLocation(link.Unit),
            link.Unit,
            link.Name,
            link.Diff.Unit,
            link.Lender,
            why
        );
}
