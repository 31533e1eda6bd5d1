// SPDX-License-Identifier: MIT
// ksplice diff: what pre-post differencing says of two objects, without a kernel tree beside them.
using System.Globalization;
using System.Text;
using Ksplice.Build.Analysis;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Ksplice.Build.Elf;
using Ksplice.Build.Patching;
using Ksplice.Build.Updates;

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
        bool types = pre.FindSection(".BTF") is not null && post.FindSection(".BTF") is not null;
        UpdateBuild build = new(
            new()
            {
                UpdateId = "",
                Units = [new UnitObjects(prePath, null, prePath, postPath)],
                Analyzers = _ =>
                    types ? AnalyzerDriver.BuiltIn : [.. AnalyzerDriver.BuiltIn.Where(analyzer => analyzer is not TypeAnalyzer)],
            }
        );
        try
        {
            List<Diagnostic> diagnostics = [.. build.Judgement().Diagnostics.Select(InSource)];
            if (diagnostics.Find(reported => reported.Descriptor == DifferencingDiagnostics.MalformedObject) is { } malformed)
                throw new CommandException(ExitCode.Usage, malformed.Message);
            bool refused = diagnostics.Exists(reported => reported.Severity == DiagnosticSeverity.Error);
            var diff = refused ? null : build.Differences().Value;
            var described = diff is null ? null : UnitDescription.Of(diff[0]);
            int code =
                diff is null ? (int)ExitCode.Refused
                : diff[0].IsEmpty ? NoDifference
                : (int)ExitCode.Ok;
            if (!json)
                errors.Write(string.Concat(diagnostics.Select(reported => $"{reported}\n")));
            output.Write(
                json ? DiffReport.Write(described ?? UnitDescription.Nothing(prePath), code, types, diagnostics)
                : code == NoDifference ? "no difference\n"
                : Text(described, types)
            );
            return code;
        }
        catch (ElfFormatException e)
        {
            throw new CommandException(ExitCode.Usage, e.Message);
        }
    }

    // By its path in the source tree, without the mark of a patched statement.
    private static Diagnostic InSource(Diagnostic reported)
    {
        static SourceLocation Unmarked(SourceLocation place) => place with { Path = LineDirectives.PathOf(place.Path) };
        return reported with
        {
            Location = reported.Location is { } location ? Unmarked(location) : null,
            Related = [.. reported.Related.Select(related => related with { Location = Unmarked(related.Location) })],
        };
    }

    internal static ElfObject Read(string path)
    {
        try
        {
            return ElfObject.Read(File.ReadAllBytes(path), path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ElfFormatException)
        {
            throw new CommandException(ExitCode.Usage, $"{path}: {e.Message}");
        }
    }

    private static string Text(UnitDescription? unit, bool types)
    {
        if (unit is null)
            return "";
        StringBuilder text = new();
        foreach (var function in unit.Replaced)
        {
            text.Append(
                CultureInfo.InvariantCulture,
                $"replaced  {function.Name}: {Words(function)}: {function.Part}+0x{function.Offset:x}: {function.Detail}\n"
            );
            AddInstruction(text, '-', function.Pre);
            AddInstruction(text, '+', function.Post);
        }
        foreach (string name in unit.New)
            text.Append(CultureInfo.InvariantCulture, $"new       {name}\n");
        foreach (string name in unit.Removed)
            text.Append(CultureInfo.InvariantCulture, $"removed   {name}\n");
        foreach (var pin in unit.Pins)
            text.Append(
                CultureInfo.InvariantCulture,
                $"{(pin.PinsPrimary ? "pinned" : "kept  ")}    {pin.Holder} hands out the address of {pin.Target}: "
                    + $"{(pin.PinsPrimary ? "the primary" : "the string or constant")} stays loaded after undo\n"
            );
        if (!types)
            text.Append("types were not compared: an object has no .BTF (gcc -g -gbtf makes it)\n");
        return text.ToString();
    }

    private static void AddInstruction(StringBuilder text, char sign, InstructionDescription? instruction)
    {
        if (instruction is not null)
            text.Append(
                CultureInfo.InvariantCulture,
                $"        {sign} {instruction.Offset:x4}: {instruction.Instruction}"
                    + $"{(instruction.Source is { } source ? $"   {source.Path}({source.Line})" : "")}\n"
            );
    }

    private static string Words(DifferenceDescription function) =>
        function.Reason switch
        {
            FunctionDifference.Constant => "a constant",
            FunctionDifference.Relocation => "a relocation",
            FunctionDifference.SpecialSection => "a special section",
            FunctionDifference.BranchIntoReplaced => "a jump into replaced code",
            FunctionDifference.InlinedCallee => "an inlined callee, " + function.Inlined,
            _ => "text",
        };
}
