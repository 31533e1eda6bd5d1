// SPDX-License-Identifier: MIT
// The data module's generated part (K20): the strings and constants of all targets whose addresses may outlive an undo, one after
// the other, and an export for each. The names of the exports carry the digest of the content and of the places in it. So the
// kernel's loader binds a primary to no other data module than its own, whatever a loaded one is called.
using System.Buffers.Binary;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Ksplice.Build.Differencing;
using Ksplice.Build.Targets;

namespace Ksplice.Build.Generation;

/// <summary>The generated files of the data module of one update.</summary>
public sealed class DataSource
{
    private const int DigestDigits = 16; // of those in a name: modpost takes 55 characters

    private readonly Dictionary<(ObjectDiff, int), string> _exports;

    private DataSource(string updateId, byte[] content, IReadOnlyList<Item> items)
    {
        UpdateId = updateId;
        Content = content;
        Digest = DigestOf(content, items);
        Symbol = $"ksp_{updateId}_data_{Digest[..DigestDigits]}";
        _exports = items.Select((item, i) => (item.Place, Name: ExportName(i))).ToDictionary(export => export.Place, export => export.Name);
        (Assembly, SymbolVersions) = Write(items);
    }

    /// <summary>The update's id.</summary>
    public string UpdateId { get; }

    /// <summary>The module's name.</summary>
    public string Module => UpdateTarget.DataOf(UpdateId);

    /// <summary>SHA-256 of the content and of the places in it, hexadecimal; the module's version.</summary>
    public string Digest { get; }

    /// <summary>The name of the module's <c>struct ksplice_data</c>, which it exports too.</summary>
    public string Symbol { get; }

    /// <summary>The strings and constants, which the assembly includes as <c>data.bin</c>.</summary>
    public ReadOnlyMemory<byte> Content { get; }

    /// <summary>exports.S: the content and the export table.</summary>
    public string Assembly { get; }

    /// <summary>What the primaries are linked against, in the form of Module.symvers.</summary>
    public string SymbolVersions { get; }

    private sealed record Item((ObjectDiff, int) Place, long Offset, ulong Size, ulong Alignment);

    /// <summary>
    /// The data module of an update, from all that <paramref name="diffs"/> carry and whose address may outlive an undo; null if there is
    /// nothing of the kind.
    /// </summary>
    public static DataSource? Create(string updateId, IReadOnlyList<ObjectDiff> diffs)
    {
        ArgumentNullException.ThrowIfNull(diffs);
        using MemoryStream content = new();
        List<Item> items = [];
        foreach (var diff in diffs.OrderBy(diff => diff.Unit, StringComparer.Ordinal))
        {
            for (int i = 0; i < diff.Carried.Count; i++)
            {
                var piece = diff.Carried[i];
                if (!piece.IsKept)
                    continue;
                while ((ulong)content.Length % piece.Alignment != 0)
                    content.WriteByte(0);
                items.Add(new((diff, i), content.Length, piece.Post.Size, piece.Alignment));
                content.Write(piece.Data.Span);
            }
        }
        return items.Count == 0 ? null : new DataSource(updateId, content.ToArray(), items);
    }

    /// <summary>The name of the export for a carried piece.</summary>
    internal string ExportOf(ObjectDiff diff, int piece) => _exports[(diff, piece)];

    private string ExportName(int index) => string.Create(CultureInfo.InvariantCulture, $"{Symbol}_{index:d4}");

    private static string DigestOf(byte[] content, IReadOnlyList<Item> items)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"{PrimaryTables.Abi} {items.Count}\0")));
        foreach (var item in items)
            hash.AppendData(
                Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"{item.Offset} {item.Size} {item.Alignment}\0"))
            );
        hash.AppendData(content);
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    // An export table as the helper's (K1), whose values the linker knows.
    private (string Assembly, string SymbolVersions) Write(IReadOnlyList<Item> items)
    {
        StringBuilder text = new();
        ExportTable exports = new(text, Module, BinaryPrimitives.ReadUInt32LittleEndian(Convert.FromHexString(Digest)));
        text.Append(
            CultureInfo.InvariantCulture,
            $"""
            /* Generated: the strings and constants of update {UpdateId}, and an export for each. */
            	.section ".rodata","a",%progbits
            	.balign {items.Max(item => item.Alignment)}
            .Lcontent:
            	.incbin "data.bin"

            """
        );
        for (int i = 0; i < items.Count; i++)
            text.Append(
                CultureInfo.InvariantCulture,
                $"""
                	.globl {ExportName(i)}
                	.type {ExportName(i)}, %object
                	.set {ExportName(i)}, .Lcontent + {items[i].Offset}
                	.size {ExportName(i)}, {items[i].Size}

                """
            );
        foreach (string name in items.Select((_, i) => ExportName(i)).Prepend(Symbol))
            exports.Add(name, $"{name} - .");
        text.Append("\t.section .note.GNU-stack,\"\",%progbits\n");
        return (text.ToString().ReplaceLineEndings("\n"), exports.SymbolVersions);
    }
}
