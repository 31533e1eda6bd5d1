// ksplice diff: what pre-post differencing says of two objects, without a kernel tree beside them.
using System.Globalization;
using System.Text;
using System.Text.Json;
using Ksplice.Build.Analysis;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Ksplice.Build.Elf;

namespace Ksplice.Cli.Commands;

/// <summary>Compares two objects and explains the difference.</summary>
public static class DiffCommand
{
    /// <summary>The exit code when the objects' code is the same; like diff(1) turned round, 0 is what a script acts on.</summary>
    public const int NoDifference = 3;

    /// <summary>Compares; returns 0 if the change can be made, 2 if it is refused, 3 if there is none.</summary>
    /// <exception cref="CommandException">A file cannot be read or is no relocatable x86-64 object.</exception>
    public static int Run(TextWriter output, TextWriter errors, string prePath, string postPath, bool json)
    {
        var (pre, post) = (Read(prePath), Read(postPath));
        DiagnosticBag diagnostics = [];
        var diff = ObjectDiffer.Compare(prePath, pre, post, diagnostics);
        if (diagnostics.FirstOrDefault(reported => reported.Descriptor == DifferencingDiagnostics.MalformedObject) is { } malformed)
            throw new CommandException(ExitCode.Usage, malformed.Message);
        bool types = pre.FindSection(".BTF") is not null && post.FindSection(".BTF") is not null;
        if (types && diff is not { IsEmpty: true })
            TypeComparison.Compare(pre, post, prePath, diagnostics);
        if (diagnostics.HasErrors)
            diff = null;
        int code =
            diff is null ? (int)ExitCode.Refused
            : diff.IsEmpty ? NoDifference
            : (int)ExitCode.Ok;
        try
        {
            if (!json)
                errors.Write(string.Concat(diagnostics.Select(reported => $"{reported}\n")));
            output.Write(json ? Json(diff, code, types, diagnostics) + "\n" : Text(diff, types));
        }
        catch (ElfFormatException e)
        {
            throw new CommandException(ExitCode.Usage, e.Message);
        }
        return code;
    }

    internal static ElfObject Read(string path)
    {
        try
        {
            var elf = ElfObject.Read(File.ReadAllBytes(path), path);
            const ushort Relocatable = 1;
            return elf.FileType == Relocatable
                ? elf
                : throw new CommandException(
                    ExitCode.Usage,
                    $"{path}: an image (ELF type {elf.FileType}), and no relocatable object; compare the .o files that it was linked from"
                );
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ElfFormatException)
        {
            throw new CommandException(ExitCode.Usage, $"{path}: {e.Message}");
        }
    }

    private static string Text(ObjectDiff? diff, bool types)
    {
        if (diff is null)
            return "";
        if (diff.IsEmpty)
            return "no difference\n";
        StringBuilder text = new();
        foreach (var explained in FunctionExplanation.Of(diff))
        {
            var function = explained.Function;
            text.Append(
                CultureInfo.InvariantCulture,
                $"replaced  {function.Name}: {Words(explained)}: {function.Why.Part}+0x{function.Why.Offset:x}: {function.Why.Detail}\n"
            );
            AddInstruction(text, '-', explained.Pre);
            AddInstruction(text, '+', explained.Post);
        }
        foreach (var function in diff.NewFunctions)
            text.Append(CultureInfo.InvariantCulture, $"new       {function.Name}\n");
        foreach (string name in diff.RemovedFunctions)
            text.Append(CultureInfo.InvariantCulture, $"removed   {name}\n");
        foreach (var pin in diff.Pins)
            text.Append(
                CultureInfo.InvariantCulture,
                $"pinned    {pin.Holder} hands out the address of {pin.Target}: the update stays loaded after undo\n"
            );
        if (!types)
            text.Append("types were not compared: an object has no .BTF (gcc -g -gbtf makes it)\n");
        return text.ToString();
    }

    private static void AddInstruction(StringBuilder text, char sign, InstructionText? instruction)
    {
        if (instruction is not null)
            text.Append(
                CultureInfo.InvariantCulture,
                $"        {sign} {instruction.Offset:x4}: "
                    + $"{instruction.Text}{(instruction.Source is null ? "" : "   " + instruction.Source)}\n"
            );
    }

    private static string Words(FunctionExplanation explained) =>
        explained.Reason switch
        {
            FunctionDifference.Constant => "a constant",
            FunctionDifference.Relocation => "a relocation",
            FunctionDifference.SpecialSection => "a special section",
            FunctionDifference.BranchIntoReplaced => "a jump into replaced code",
            FunctionDifference.InlinedCallee => "an inlined callee, " + explained.Inlined,
            _ => "text",
        };

    private static string Json(ObjectDiff? diff, int code, bool types, DiagnosticBag diagnostics)
    {
        using var buffer = new MemoryStream();
        using (var writer = new Utf8JsonWriter(buffer, new JsonWriterOptions { Indented = true }))
        {
            writer.WriteStartObject();
            writer.WriteString(
                "result",
                code switch
                {
                    0 => "differs",
                    NoDifference => "same",
                    _ => "refused",
                }
            );
            writer.WriteBoolean("typesCompared", types);
            writer.WriteStartArray("replaced");
            foreach (var explained in diff is null ? [] : FunctionExplanation.Of(diff))
                Write(writer, explained);
            writer.WriteEndArray();
            WriteNames(writer, "new", diff?.NewFunctions.Select(function => function.Name) ?? []);
            WriteNames(writer, "removed", diff?.RemovedFunctions ?? []);
            writer.WriteStartArray("pins");
            foreach (var pin in diff?.Pins ?? [])
            {
                writer.WriteStartObject();
                writer.WriteString("holder", pin.Holder);
                writer.WriteString("target", pin.Target);
                writer.WriteEndObject();
            }
            writer.WriteEndArray();
            writer.WriteStartArray("diagnostics");
            foreach (var reported in diagnostics)
            {
                writer.WriteStartObject();
                writer.WriteString("id", reported.Id);
                writer.WriteString("severity", reported.Severity.ToString().ToLowerInvariant());
                writer.WriteString("message", reported.Message);
                writer.WriteEndObject();
            }
            writer.WriteEndArray();
            writer.WriteEndObject();
        }
        return Encoding.UTF8.GetString(buffer.GetBuffer(), 0, (int)buffer.Length);
    }

    private static void Write(Utf8JsonWriter writer, FunctionExplanation explained)
    {
        var function = explained.Function;
        writer.WriteStartObject();
        writer.WriteString("name", function.Name);
        writer.WriteString("reason", JsonNamingPolicy.CamelCase.ConvertName(explained.Reason.ToString()));
        writer.WriteString("inlined", explained.Inlined);
        writer.WriteString("part", function.Why.Part);
        writer.WriteNumber("offset", function.Why.Offset);
        writer.WriteString("detail", function.Why.Detail);
        Write(writer, "pre", explained.Pre);
        Write(writer, "post", explained.Post);
        writer.WriteEndObject();
    }

    private static void Write(Utf8JsonWriter writer, string property, InstructionText? instruction)
    {
        if (instruction is null)
        {
            writer.WriteNull(property);
            return;
        }
        writer.WriteStartObject(property);
        writer.WriteNumber("offset", instruction.Offset);
        writer.WriteString("instruction", instruction.Text);
        writer.WriteString("source", instruction.Source?.ToString());
        writer.WriteEndObject();
    }

    private static void WriteNames(Utf8JsonWriter writer, string property, IEnumerable<string> names)
    {
        writer.WriteStartArray(property);
        foreach (string name in names)
            writer.WriteStringValue(name);
        writer.WriteEndArray();
    }
}
