// SPDX-License-Identifier: MIT
// What is known of an update once its sources are generated, for whoever comes later: the package, the report, another program. It
// is written as update.json; docs/difference.schema.json describes the part about one unit, which `ksplice diff --json` prints too.
using System.Text.Json;
using System.Text.Json.Serialization;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Ksplice.Build.Files;
using Ksplice.Build.Generation;
using Ksplice.Build.Patching;

namespace Ksplice.Build.Updates;

/// <summary>An update, described. Immutable; equal updates have equal descriptions.</summary>
public sealed record UpdateDescription
{
    /// <summary>The update's id.</summary>
    public required string Id { get; init; }

    /// <summary>The kernel that it is for.</summary>
    public required ManifestKernel Kernel { get; init; }

    /// <summary>What is updated, and by which modules.</summary>
    public required IReadOnlyList<ManifestTarget> Targets { get; init; }

    /// <summary>True if the primary stays loaded for good once it has been applied (K20).</summary>
    public required bool Pinned { get; init; }

    /// <summary>The data module; null if the update has none.</summary>
    public required ManifestData? Data { get; init; }

    /// <summary>The differences of all units, those without any among them; each replaced function with its code.</summary>
    public required IReadOnlyList<UnitDescription> Units { get; init; }

    /// <summary>What the judgement said, by the severities of the project.</summary>
    public required IReadOnlyList<ReportedDiagnostic> Diagnostics { get; init; }

    /// <summary>Errors of the build that a person took over, with the reasons.</summary>
    public required IReadOnlyList<ManifestAcknowledgement> Acknowledged { get; init; }

    /// <summary>The description as UTF-8 JSON.</summary>
    public byte[] ToJson() => JsonSerializer.SerializeToUtf8Bytes(this, DescriptionContext.Default.UpdateDescription);

    /// <summary>Reads what <see cref="ToJson"/> made.</summary>
    /// <exception cref="JsonException">It is no description.</exception>
    public static UpdateDescription FromJson(ReadOnlySpan<byte> json) => JsonFile.Parse(json, DescriptionContext.Default.UpdateDescription);

    /// <summary>Reads the file update.json.</summary>
    /// <param name="path">The file.</param>
    /// <param name="remedy">What to do if it is damaged.</param>
    /// <exception cref="DamagedFileException">It is no description.</exception>
    /// <exception cref="IOException">It cannot be read.</exception>
    public static UpdateDescription Read(string path, string remedy)
    {
        var update = JsonFile.Read(path, DescriptionContext.Default.UpdateDescription, remedy);
        return UpdateId.IsWellFormed(update.Id) ? update : throw new DamagedFileException(path, $"'{update.Id}' is no id", remedy);
    }
}

/// <summary>A diagnostic as the project's configuration lets a person see it.</summary>
/// <param name="Id">The rule.</param>
/// <param name="Level">error, warning or note.</param>
/// <param name="Place">Where: in a patch, in the source, in the project; null if nowhere in particular.</param>
/// <param name="Message">The text.</param>
public sealed record ReportedDiagnostic(string Id, string Level, SourceLocation? Place, string Message)
{
    /// <summary>The path in the source tree, if the place is in one.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? File { get; init; }
}

/// <summary>What differs in one unit.</summary>
/// <param name="Unit">Its source path.</param>
/// <param name="Replaced">The functions that are replaced, with the first difference of each.</param>
/// <param name="New">The functions that only the patched source has.</param>
/// <param name="Removed">The functions that only the unpatched source has.</param>
/// <param name="Needs">What of the running kernel the new code refers to.</param>
/// <param name="Pins">The addresses of the update's own that may outlive an undo.</param>
public sealed record UnitDescription(
    string Unit,
    IReadOnlyList<DifferenceDescription> Replaced,
    IReadOnlyList<string> New,
    IReadOnlyList<string> Removed,
    IReadOnlyList<string> Needs,
    IReadOnlyList<PinDescription> Pins
)
{
    /// <summary>A unit of which nothing differs.</summary>
    public static UnitDescription Nothing(string unit) => new(unit, [], [], [], [], []);

    /// <summary>Describes <paramref name="diff"/>, without the code of whole functions.</summary>
    /// <exception cref="Elf.ElfFormatException">The debug data of an object is malformed.</exception>
    public static UnitDescription Of(ObjectDiff diff) => Of(diff, [.. FunctionExplanation.Of(diff).Select(DifferenceDescription.Of)]);

    internal static UnitDescription Of(ObjectDiff diff, IReadOnlyList<DifferenceDescription> replaced)
    {
        ArgumentNullException.ThrowIfNull(diff);
        return new(
            diff.Unit,
            replaced,
            [.. diff.NewFunctions.Select(function => function.Name)],
            diff.RemovedFunctions,
            [.. diff.Needed.Select(symbol => symbol.DisplayName)],
            [.. diff.Pins.Select(pin => new PinDescription(pin.Kind, pin.Holder, pin.Target, pin.PinsPrimary))]
        );
    }

    /// <summary>The description as JSON, indented.</summary>
    public string ToJson() => JsonSerializer.Serialize(this, IndentedContext.Default.UnitDescription).ReplaceLineEndings("\n") + "\n";
}

/// <summary>An address of the update's own that may outlive an undo.</summary>
/// <param name="Kind">What it is of.</param>
/// <param name="Holder">The function or object that holds or hands out the address.</param>
/// <param name="Target">What it is of, by name or content.</param>
/// <param name="PinsPrimary">True if the primary stays loaded for it, false if the data module does.</param>
public sealed record PinDescription(
    [property: JsonConverter(typeof(PinKindConverter))] PinKind Kind,
    string Holder,
    string Target,
    bool PinsPrimary
);

/// <summary>Why a function is replaced.</summary>
/// <param name="Name">The function.</param>
/// <param name="Reason">The kind of difference.</param>
/// <param name="Inlined">The inlined function that the differing code belongs to; null unless that is the reason.</param>
/// <param name="Part">The function, its <c>.cold</c> part, or the special section with the difference.</param>
/// <param name="Offset">The first differing offset, in bytes from the start of <paramref name="Part"/>.</param>
/// <param name="Detail">The difference in words.</param>
/// <param name="Pre">The instruction before; null where the difference is not in one.</param>
/// <param name="Post">The same place after.</param>
public sealed record DifferenceDescription(
    string Name,
    [property: JsonConverter(typeof(DifferenceConverter))] FunctionDifference Reason,
    string? Inlined,
    string Part,
    ulong Offset,
    string Detail,
    InstructionDescription? Pre,
    InstructionDescription? Post
)
{
    /// <summary>The function's code, before and now; null where it was not asked for.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public CodeDescription? Code { get; init; }

    internal static DifferenceDescription Of(FunctionExplanation explained) =>
        new(
            explained.Function.Name,
            explained.Reason,
            explained.Inlined,
            explained.Function.Why.Part,
            explained.Function.Why.Offset,
            explained.Function.Why.Detail,
            InstructionDescription.Of(explained.Pre),
            InstructionDescription.Of(explained.Post)
        );
}

/// <summary>An instruction.</summary>
/// <param name="Offset">Bytes from the start of the function, or of its part.</param>
/// <param name="Instruction">The instruction in GNU syntax; what its relocation points at stands behind a <c>#</c>.</param>
/// <param name="Source">The line that it comes from; null without debug data.</param>
public sealed record InstructionDescription(ulong Offset, string Instruction, LineDescription? Source)
{
    internal static InstructionDescription? Of(InstructionText? instruction) =>
        instruction is null
            ? null
            : new(
                instruction.Offset,
                instruction.Text,
                instruction.Source is { } source ? new LineDescription(LineDirectives.PathOf(source.Path), source.Line) : null
            );
}

/// <summary>A line of the kernel's source.</summary>
/// <param name="Path">The file, in the source tree.</param>
/// <param name="Line">Its number, from 1: the patched file's in a statement that a patch changed, else the unpatched file's.</param>
public sealed record LineDescription(string Path, int Line)
{
    /// <summary>The line itself; null where it is not at hand or not asked for.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Text { get; init; }
}

/// <summary>A replaced function's code.</summary>
/// <param name="Place">Where matching found it in the shipped file; null where the update goes on top of others.</param>
/// <param name="SizeBefore">Bytes of the code before.</param>
/// <param name="SizeNow">Bytes of the new code.</param>
/// <param name="Before">The instructions before: the body, then its parts, a list each.</param>
/// <param name="Now">The new instructions, likewise.</param>
public sealed record CodeDescription(
    MatchedRange? Place,
    long SizeBefore,
    long SizeNow,
    IReadOnlyList<IReadOnlyList<InstructionDescription>> Before,
    IReadOnlyList<IReadOnlyList<InstructionDescription>> Now
)
{
    /// <summary>The function's source before; null where it cannot be told.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public SourceListing? SourceBefore { get; init; }

    /// <summary>Its source now.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public SourceListing? SourceNow { get; init; }
}

/// <summary>Lines of a source file.</summary>
/// <param name="Path">The file, in the source tree.</param>
/// <param name="FirstLine">The number of the first line, in the file as it was or as it is patched.</param>
/// <param name="Lines">The lines.</param>
public sealed record SourceListing(string Path, int FirstLine, IReadOnlyList<string> Lines);

/// <summary>Where a function is in a shipped file.</summary>
/// <param name="Start">Its address there.</param>
/// <param name="Size">Bytes.</param>
public sealed record MatchedRange(ulong Start, ulong Size);

[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    RespectNullableAnnotations = true,
    RespectRequiredConstructorParameters = true,
    UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow
)]
[JsonSerializable(typeof(UpdateDescription))]
internal sealed partial class DescriptionContext : JsonSerializerContext;

[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(UnitDescription))]
internal sealed partial class IndentedContext : JsonSerializerContext;

/// <summary>Kinds of differences as a JSON text in camel case.</summary>
public sealed class DifferenceConverter() : JsonStringEnumConverter<FunctionDifference>(JsonNamingPolicy.CamelCase);

/// <summary>Kinds of what pins as a JSON text in camel case.</summary>
public sealed class PinKindConverter() : JsonStringEnumConverter<PinKind>(JsonNamingPolicy.CamelCase);
