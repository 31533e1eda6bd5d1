// SPDX-License-Identifier: MIT
// Whether the code of assembly is understood whole.
using Iced.Intel;

namespace Ksplice.Build.Differencing;

internal sealed partial class ObjectGraphBuilder
{
    // Assembly may hold data where code could be, and bytes that look like a branch must not be taken for one. What is
    // carried has to be understood whole: each byte is reached by control, or is padding.
    private void CheckFlow()
    {
        if (!IsAssembly)
            return;
        foreach (var node in _nodes.Where(node => node.Kind is NodeKind.Function or NodeKind.Fragment && node.Size != 0))
        {
            var reached = Reached(node);
            ulong at = 0;
            foreach (var (place, instruction) in Decode(node.Section, node.Start, node.End))
            {
                at = place - node.Start;
                if (!reached.Remove(at) && !IsPadding(instruction))
                    node.CannotMove($"no branch leads to the bytes at offset 0x{at:x}");
            }
            if (reached.Count != 0)
                node.CannotMove($"a branch leads into the middle of the instruction before offset 0x{reached.Min():x}");
        }
    }

    private HashSet<ulong> Reached(Node node)
    {
        Queue<ulong> work = new([0]);
        foreach (
            var reference in node
                .Referrers.Concat(node.TableReferrers)
                .Where(reference => reference.TargetOffset > 0 && reference.TargetOffset < (long)node.Size)
        )
            work.Enqueue((ulong)reference.TargetOffset);
        foreach (
            var (_, start, end) in Alternatives.Where(site =>
                site.Section == node.Section.Index && site.Start >= node.Start && site.End < node.End
            )
        )
            work.Enqueue(end - node.Start);
        HashSet<ulong> reached = [];
        byte[] bytes = node.Bytes.ToArray();
        while (work.TryDequeue(out ulong at))
        {
            var decoder = Decoder.Create(64, new ByteArrayCodeReader(bytes, (int)at, bytes.Length - (int)at), at);
            while (decoder.IP < (ulong)bytes.Length && reached.Add(decoder.IP))
            {
                var instruction = decoder.Decode();
                if (instruction.IsInvalid)
                    break;
                if (instruction.OpCount > 0 && instruction.Op0Kind == OpKind.NearBranch64 && instruction.NearBranch64 < (ulong)bytes.Length)
                    work.Enqueue(instruction.NearBranch64);
                if (EndsControl(instruction))
                    break;
            }
        }
        return reached;
    }
}
