// SPDX-License-Identifier: MIT
// A redirect takes over calls of a function's start. What enters code elsewhere would run the old code: branches and
// exception tables that lead into the middle of a replaced function, code that is no function, labels that other units
// know, tables of addresses. The origin is replaced too where it can be; else the update is refused.
namespace Ksplice.Build.Differencing;

internal sealed partial class Comparison
{
    // Code that is no function cannot be redirected. Where branches and tables of its unit lead to it, they differ with it,
    // and what they belong to is replaced and brings the new code along.
    private void CompareFragments(NodeComparer comparer)
    {
        foreach (var node in Post.Nodes)
        {
            if (
                node.Kind != NodeKind.Fragment
                || _pairing.PreOf(node) is not { } old
                || comparer.CompareFunction(old, node) is not { } change
            )
                continue;
            string name = old.Name;
            if (node.Role == SectionRole.Dropped)
                Report(DifferencingDiagnostics.InitChanged, name, change.Offset, unit, change.Detail, InHook);
            else if (node.Role == SectionRole.Code && old.IsGlobal)
                Report(DifferencingDiagnostics.NotAFunction, name, unit, "other code may enter it by its name");
            else if (old.Referrers.FirstOrDefault(reference => !reference.IsBranch) is { } user)
                Report(DifferencingDiagnostics.NotAFunction, name, unit, $"{user.Holder.Name} uses its address");
            else if (!Origins(old).Any() && old.IsAnonymous)
                Report(DifferencingDiagnostics.ImmovableCode, name, unit, "code without a symbol changes");
            else if (!Origins(old).Any())
                Report(DifferencingDiagnostics.NotAFunction, name, unit, "nothing in the unit leads to it");
        }
    }

    // The code of the unit from which control reaches a fragment.
    private IEnumerable<ObjectNode> Origins(ObjectNode fragment) =>
        fragment
            .Referrers.Where(reference => reference.IsBranch)
            .Concat(fragment.TableReferrers)
            .Select(reference => reference.Holder.Root)
            .Concat(Pre.Nodes.Where(node => node.FallsInto == fragment))
            .Where(node => node != fragment)
            .Distinct();

    private void AddBranchesIntoReplaced()
    {
        var work = new Queue<ObjectNode>(_replaced.Keys);
        HashSet<ObjectNode> visited = [];
        while (work.TryDequeue(out var node))
        {
            var old = _pairing.PreOf(node)!;
            if (old.InnerEntries.Count != 0)
                Report(DifferencingDiagnostics.InnerEntry, old.Name, unit, old.InnerEntries[0].Name);
            foreach (var part in old.Parts.Prepend(old))
            {
                foreach (var reference in part.Referrers.Concat(part.TableReferrers))
                {
                    var from = reference.Holder.Root;
                    bool inside = part != old || reference.TargetOffset != 0;
                    if (!inside || from == old || !from.IsCode || from.Role == SectionRole.Dropped)
                        continue;
                    if (reference.IsBranch || reference.Field is not null)
                        Replace(from, old, reference.Offset);
                    else
                        Report(DifferencingDiagnostics.MiddleReference, from.Name, unit, NodeComparer.Describe(reference));
                }
            }
        }

        void Replace(ObjectNode from, ObjectNode old, ulong offset)
        {
            if (from.Kind == NodeKind.Function)
            {
                FunctionChange why = new(FunctionDifference.BranchIntoReplaced, offset, from.Name, $"jumps into {old.Name}");
                if (_pairing.PostOf(from) is { } other && _replaced.TryAdd(other, why))
                    work.Enqueue(other);
                return;
            }
            if (!visited.Add(from))
                return;
            if (from.IsGlobal)
                Report(
                    DifferencingDiagnostics.NotAFunction,
                    from.Name,
                    unit,
                    $"it leads into {old.Name}, and other code may enter it by its name"
                );
            foreach (var origin in Origins(from))
                Replace(origin, old, offset);
        }
    }

    // A table of addresses inside of a replaced function, a computed goto's, is the old code's.
    private FunctionChange? LeadsIntoReplaced(ObjectNode data) =>
        data.References.FirstOrDefault(reference =>
            reference.Target is { IsCode: true } target
            && _replaced.ContainsKey(target.Root)
            && (target != target.Root || reference.TargetOffset != 0)
        )
            is { } inside
            ? new FunctionChange(
                FunctionDifference.Relocation,
                inside.Offset,
                data.Name,
                $"it leads into {inside.Target!.Root.Name}, which is replaced"
            )
            : null;
}
