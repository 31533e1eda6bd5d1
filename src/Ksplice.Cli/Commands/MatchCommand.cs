// SPDX-License-Identifier: MIT
// ksplice match: which functions of an object a kernel has, and where the first difference is in those that it has not.
using System.Globalization;
using System.Text;
using System.Text.Json;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Elf;
using Ksplice.Build.Kernel;
using Ksplice.Build.Matching;

namespace Ksplice.Cli.Commands;

/// <summary>Matches an object against a kernel's image or memory.</summary>
public static class MatchCommand
{
    /// <summary>The exit code when the object has no function that a running kernel keeps.</summary>
    public const int NothingToMatch = 3;

    private const int LeftWidth = 66;

    /// <summary>Matches; returns 0 if every function is found, 2 if one is not, 3 if there is none.</summary>
    /// <exception cref="CommandException">A file cannot be read, or is not what it must be.</exception>
    public static int Run(TextWriter output, TextWriter errors, string path, string image, string? kernel, bool json)
    {
        // Where kbuild runs objtool at the link only, the build leaves a copy with its tables beside the object (K2).
        string withTables = UnitCompiler.WithTablesOf(path);
        var pre = DiffCommand.Read(File.Exists(withTables) ? withTables : path);
        DiagnosticBag diagnostics = [];
        using var target = MemoryFile.Open(image, kernel, diagnostics);
        if (target is null)
        {
            errors.Write(string.Concat(diagnostics.Select(reported => $"{reported}\n")));
            return (int)ExitCode.Usage;
        }
        try
        {
            var functions = ObjectMatch.Run(pre, path, target.Memory).ToList();
            int code =
                functions.Count == 0 ? NothingToMatch
                : functions.TrueForAll(IsMatch) ? (int)ExitCode.Ok
                : (int)ExitCode.Refused;
            if (code == (int)ExitCode.Refused && !File.Exists(withTables) && pre.FindSection(".orc_unwind_ip") is null)
                errors.Write(
                    $"ksplice: {path} does not have the tables that objtool makes, and {withTables} is not there: "
                        + "code with alternatives or static calls differs without them\n"
                );
            output.Write(json ? Json(pre, functions, target) + "\n" : Text(pre, functions, target));
            return code;
        }
        catch (ElfFormatException problem)
        {
            throw new CommandException(ExitCode.Usage, problem.Message);
        }
    }

    private static bool IsMatch(FunctionMatch function) => function.Result is { IsMatch: true };

    private static string Text(ElfObject pre, IReadOnlyList<FunctionMatch> functions, MemoryFile target)
    {
        StringBuilder text = new();
        text.Append(CultureInfo.InvariantCulture, $"{target.Description}\n");
        foreach (var function in functions)
        {
            if (function.Result is { IsMatch: true } result)
            {
                text.Append(
                    CultureInfo.InvariantCulture,
                    $"matched  {function.Name} at 0x{result.Ranges[0].Start:x}{(function.HasRoom ? "" : ", without room for a redirect")}\n"
                );
                continue;
            }
            text.Append(CultureInfo.InvariantCulture, $"differs  {function.Name}: {Reason(function)}\n");
            if (function.Result?.Failure is { } failure && MatchListing.Of(pre, failure, target) is { } listing)
                AddListing(text, listing);
        }
        text.Append(CultureInfo.InvariantCulture, $"{functions.Count(IsMatch)} of {functions.Count} functions match\n");
        return text.ToString();
    }

    private static string Reason(FunctionMatch function) =>
        function.Result?.Failure?.ToString() ?? string.Join("; ", function.Problems.Select(problem => $"{problem.Id}: {problem.Message}"));

    // Side by side, the differing instructions in one line.
    private static void AddListing(StringBuilder text, MatchListing listing)
    {
        int left = IndexOf(listing.Pre),
            right = IndexOf(listing.Run),
            above = Math.Max(left, right);
        text.Append(CultureInfo.InvariantCulture, $"    {"object", -LeftWidth} | kernel\n");
        for (int line = -above; left + line < listing.Pre.Count || right + line < listing.Run.Count; line++)
        {
            string pre = Show(listing.Pre, left + line, "x4"),
                run = Show(listing.Run, right + line, "x16");
            text.Append($"  {(line == 0 ? '>' : ' ')} {pre.PadRight(LeftWidth)} | {run}".TrimEnd()).Append('\n');
        }
    }

    private static int IndexOf(IReadOnlyList<ListedInstruction> listed)
    {
        for (int i = 0; i < listed.Count; i++)
        {
            if (listed[i].Differs)
                return i;
        }
        return listed.Count;
    }

    private static string Show(IReadOnlyList<ListedInstruction> listed, int index, string format) =>
        index < 0 || index >= listed.Count
            ? ""
            : $"{listed[index].Address.ToString(format, CultureInfo.InvariantCulture)}: {listed[index].Text}";

    private static string Json(ElfObject pre, IReadOnlyList<FunctionMatch> functions, MemoryFile target)
    {
        using MemoryStream buffer = new();
        using (Utf8JsonWriter writer = new(buffer, new JsonWriterOptions { Indented = true }))
        {
            writer.WriteStartObject();
            writer.WriteString("kernel", target.Description);
            writer.WriteStartArray("functions");
            foreach (var function in functions)
                Write(writer, pre, function, target);
            writer.WriteEndArray();
            writer.WriteEndObject();
        }
        return Encoding.UTF8.GetString(buffer.GetBuffer(), 0, (int)buffer.Length);
    }

    private static void Write(Utf8JsonWriter writer, ElfObject pre, FunctionMatch function, MemoryFile target)
    {
        writer.WriteStartObject();
        writer.WriteString("name", function.Name);
        writer.WriteBoolean("matched", IsMatch(function));
        if (function.Result is { IsMatch: true } result)
        {
            writer.WriteString("address", Hex(result.Ranges[0].Start));
            writer.WriteString("end", Hex(result.Ranges[0].End));
            writer.WriteBoolean("room", function.HasRoom);
        }
        else if (function.Result?.Failure is { } failure)
        {
            writer.WriteString("reason", JsonNamingPolicy.CamelCase.ConvertName(failure.Reason.ToString()));
            writer.WriteString("object", failure.Object);
            writer.WriteString("symbol", failure.Symbol);
            writer.WriteNumber("candidates", failure.Candidates);
            writer.WriteString("address", failure.Address == 0 ? null : Hex(failure.Address));
            writer.WriteNumber("offset", failure.Offset);
            writer.WriteString("expected", Convert.ToHexStringLower(failure.Expected.AsSpan()));
            writer.WriteString("found", Convert.ToHexStringLower(failure.Found.AsSpan()));
            var listing = MatchListing.Of(pre, failure, target);
            Write(writer, "pre", listing?.Pre);
            Write(writer, "run", listing?.Run);
        }
        else
        {
            writer.WriteString("reason", "noProgram");
            writer.WriteStartArray("diagnostics");
            foreach (var problem in function.Problems)
                writer.WriteStringValue($"{problem.Id}: {problem.Message}");
            writer.WriteEndArray();
        }
        writer.WriteEndObject();
    }

    private static void Write(Utf8JsonWriter writer, string property, IReadOnlyList<ListedInstruction>? listed)
    {
        writer.WriteStartArray(property);
        foreach (var instruction in listed ?? [])
        {
            writer.WriteStartObject();
            writer.WriteString("address", Hex(instruction.Address));
            writer.WriteString("instruction", instruction.Text);
            writer.WriteBoolean("differs", instruction.Differs);
            writer.WriteEndObject();
        }
        writer.WriteEndArray();
    }

    private static string Hex(ulong value) => "0x" + value.ToString("x", CultureInfo.InvariantCulture);
}
