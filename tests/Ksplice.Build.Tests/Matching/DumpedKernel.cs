// SPDX-License-Identifier: MIT
// The C interpreter as a program beside the C# one: a kernel as its surroundings read it (dumped.c), and results as it prints them.
using System.Globalization;
using System.Text;
using Ksplice.Build.Kernel;
using Ksplice.Build.Matching;

namespace Ksplice.Build.Tests.Matching;

internal static class DumpedKernel
{
    /// <summary>Writes <paramref name="image"/>, and what <paramref name="memory"/> knows of it beyond its bytes.</summary>
    /// <param name="path">The file.</param>
    /// <param name="image">The kernel, as shipped or as it ran.</param>
    /// <param name="memory">The same as memory.</param>
    /// <param name="sites">Where the function tracer has sites, if the kernel ran.</param>
    public static void Write(string path, KernelImage image, IMatchMemory memory, IReadOnlyCollection<ulong>? sites = null)
    {
        using BinaryWriter writer = new(File.Create(path));
        var segments = image.Segments.Where(segment => segment.VirtualAddress >= 0xffffffff80000000).ToList();
        var behind = sites is null ? [] : Behind(memory);
        writer.Write((ulong)(segments.Count + behind.Count));
        foreach (var segment in segments)
        {
            writer.Write(segment.VirtualAddress);
            writer.Write(segment.MemorySize);
            writer.Write(segment.Data.Span);
            writer.Write(new byte[segment.MemorySize - (ulong)segment.Data.Length]);
        }
        foreach (var (address, bytes) in behind)
        {
            writer.Write(address);
            writer.Write((ulong)bytes.Length);
            writer.Write(bytes.ToArray());
        }
        var names = image
            .Symbols.Symbols.Select(symbol => symbol.Name)
            .Distinct()
            .Order(StringComparer.Ordinal)
            .SelectMany(name => memory.Candidates(name).Select(address => (Name: name, Address: address)))
            .ToList();
        writer.Write((ulong)names.Count);
        foreach (var (name, address) in names)
        {
            var bytes = Encoding.UTF8.GetBytes(name);
            writer.Write(address);
            writer.Write((ulong)bytes.Length);
            writer.Write(bytes);
        }
        writer.Write((ulong)image.Tables.JumpLabels.Count);
        foreach (var (code, (target, key)) in image.Tables.JumpLabels.OrderBy(entry => entry.Key))
        {
            writer.Write(code);
            writer.Write(target);
            writer.Write(key);
        }
        writer.Write((ulong)image.Tables.StaticCalls.Count);
        foreach (var (site, key) in image.Tables.StaticCalls.OrderBy(call => call.Key))
        {
            writer.Write(site);
            writer.Write(key);
        }
        writer.Write((ulong)image.Tables.Bugs.Count);
        foreach (var (code, bug) in image.Tables.Bugs.OrderBy(entry => entry.Key))
        {
            writer.Write(code);
            writer.Write(bug.File);
            writer.Write((ulong)bug.Line);
            writer.Write((ulong)bug.Flags);
            writer.Write(bug.Format);
            writer.Write(bug.Entry);
        }
        writer.Write((ulong)image.Tables.Exceptions.Count);
        foreach (var (code, exception) in image.Tables.Exceptions.OrderBy(entry => entry.Key))
        {
            writer.Write(code);
            writer.Write(exception.Fixup);
            writer.Write((ulong)exception.Data);
        }
        writer.Write(image.Symbols.FindUnique("__fentry__") ?? 0);
        Write(writer, sites ?? []);
        Write(writer, image.Symbols.Symbols.Select(symbol => symbol.Address).Distinct().ToList());
        writer.Write(image.SealableText.Start);
        writer.Write(image.SealableText.End);
        // A kernel that ran has freed the table, and has overwritten what it names.
        Write(writer, sites is null ? image.Tables.Seals : []);
    }

    // Modules, and thunks that a kernel made itself while it booted.
    private static List<(ulong Address, MemoryStream Bytes)> Behind(IMatchMemory memory)
    {
        const ulong Start = 0xffffffffc0000000,
            End = 0xffffffffff000000;
        List<(ulong Address, MemoryStream Bytes)> pieces = [];
        byte[] page = new byte[4096];
        for (ulong at = Start; at < End; at += (ulong)page.Length)
        {
            if (!memory.TryRead(at, page))
                continue;
            if (pieces.Count == 0 || pieces[^1].Address + (ulong)pieces[^1].Bytes.Length != at)
                pieces.Add((at, new MemoryStream()));
            pieces[^1].Bytes.Write(page);
        }
        return pieces;
    }

    private static void Write(BinaryWriter writer, IReadOnlyCollection<ulong> addresses)
    {
        writer.Write((ulong)addresses.Count);
        foreach (ulong address in addresses.Order())
            writer.Write(address);
    }

    /// <summary>A result as interpreter.c prints it.</summary>
    public static string Show(MatchResult result)
    {
        StringBuilder text = new();
        text.Append(CultureInfo.InvariantCulture, $"{(int)(result.Failure?.Reason ?? MatchReason.Matched)}");
        if (result.Failure is { } failure && failure.Reason != MatchReason.BadData)
        {
            text.Append(
                CultureInfo.InvariantCulture,
                $" {failure.Unit} {failure.Object} {failure.Symbol ?? "-"} {failure.Address:x} {failure.Offset:x} {failure.Candidates}"
            );
            foreach (byte value in failure.Expected)
                text.Append(CultureInfo.InvariantCulture, $" {value:x2}");
            text.Append(" /");
            foreach (byte value in failure.Found)
                text.Append(CultureInfo.InvariantCulture, $" {value:x2}");
        }
        foreach (ulong value in result.Exports)
            text.Append(CultureInfo.InvariantCulture, $" e{value:x}");
        foreach (var function in result.Functions)
            text.Append(CultureInfo.InvariantCulture, $" f{function.Start:x}-{function.End:x} {function.Jump:x} {function.Fentry:x}");
        foreach (var range in result.Ranges)
            text.Append(CultureInfo.InvariantCulture, $" r{range.Name} {range.Start:x}-{range.End:x}{(range.EndsInCall ? " call" : "")}");
        return text.ToString();
    }
}
