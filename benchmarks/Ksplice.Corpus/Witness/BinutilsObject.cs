// SPDX-License-Identifier: MIT
// An object as binutils see it. The witnesses share no line with the engine: what sections, symbols and relocations there
// are is read from readelf's text, what the code says from objdump's.
using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using CliWrap;
using CliWrap.Buffered;

namespace Ksplice.Corpus.Witness;

internal sealed record WitnessSection(int Index, string Name, string Type, int Offset, int Size, string Flags, int Info)
{
    public bool IsCode => Flags.Contains('X', StringComparison.Ordinal);
    public bool IsWritable => Flags.Contains('W', StringComparison.Ordinal);
    public bool IsLoaded => Flags.Contains('A', StringComparison.Ordinal);
    public bool IsMerged => Flags.Contains('M', StringComparison.Ordinal) && Name.StartsWith(".rodata", StringComparison.Ordinal);
    public bool IsStrings => IsMerged && Flags.Contains('S', StringComparison.Ordinal);
}

internal sealed record WitnessSymbol(int Index, int Value, int Size, string Type, bool IsLocal, int Section, string Name);

internal readonly record struct WitnessRelocation(int Offset, string Type, int Symbol, int Addend);

internal readonly record struct WitnessInstruction(int Offset, int Length, string Text);

/// <summary>What readelf and objdump print of an object, its debug data left out.</summary>
internal sealed partial class BinutilsObject
{
    private readonly byte[] _file;

    private BinutilsObject(byte[] file, string readelf, string objdump)
    {
        _file = file;
        int table = 0;
        Dictionary<int, List<WitnessRelocation>> relocations = [];
        foreach (string line in readelf.Split('\n'))
        {
            if (SectionLine().Match(line) is { Success: true } header)
            {
                Sections.Add(
                    new WitnessSection(
                        Number(header, 1),
                        header.Groups[2].Value,
                        header.Groups[3].Value,
                        Hex(header, 4),
                        Hex(header, 5),
                        header.Groups[6].Value.Trim(),
                        Number(header, 7)
                    )
                );
            }
            else if (SymbolLine().Match(line) is { Success: true } symbol)
            {
                string where = symbol.Groups[6].Value;
                Symbols.Add(
                    new WitnessSymbol(
                        Number(symbol, 1),
                        Hex(symbol, 2),
                        Convert.ToInt32(
                            symbol.Groups[3].Value,
                            symbol.Groups[3].Value.StartsWith("0x", StringComparison.Ordinal) ? 16 : 10
                        ),
                        symbol.Groups[4].Value,
                        symbol.Groups[5].Value == "LOCAL",
                        int.TryParse(where, out int index) ? index
                            : where == "UND" ? 0
                            : -1,
                        symbol.Groups[7].Value
                    )
                );
            }
            else if (RelocationHeader().Match(line) is { Success: true } place)
            {
                table = Hex(place, 1);
            }
            else if (RelocationLine().Match(line) is { Success: true } entry)
            {
                if (!relocations.TryGetValue(table, out var list))
                    relocations[table] = list = [];
                int addend = entry.Groups[5].Success ? Hex(entry, 5) * (entry.Groups[4].Value == "-" ? -1 : 1) : 0;
                list.Add(new WitnessRelocation(Hex(entry, 1), entry.Groups[3].Value, Hex(entry, 2), addend));
            }
        }
        // Sections may share a name, and so may the tables of their relocations: the place in the file tells which is which.
        var tables = Sections.Where(one => one.Type == "RELA").ToDictionary(one => one.Info, one => one.Offset);
        Relocations =
        [
            .. Sections.Select(one =>
                tables.TryGetValue(one.Index, out int place) && relocations.TryGetValue(place, out var list)
                    ? list.OrderBy(relocation => relocation.Offset).ToList()
                    : []
            ),
        ];
        Code = Sections.Select(_ => (List<WitnessInstruction>)[]).ToList();
        ReadCode(objdump);
    }

    public List<WitnessSection> Sections { get; } = [];

    public List<WitnessSymbol> Symbols { get; } = [];

    /// <summary>By section index, sorted by offset.</summary>
    public List<List<WitnessRelocation>> Relocations { get; }

    /// <summary>By section index, sorted by offset.</summary>
    public List<List<WitnessInstruction>> Code { get; }

    public ReadOnlySpan<byte> Bytes(WitnessSection section, int start, int size) =>
        section.Type == "NOBITS" ? new byte[size] : _file.AsSpan(section.Offset + start, size);

    public static async Task<BinutilsObject> ReadAsync(string path, CancellationToken cancellation)
    {
        string stripped = path + ".witness";
        try
        {
            await RunAsync("objcopy", ["-g", path, stripped], cancellation).ConfigureAwait(false);
            var readelf = RunAsync("readelf", ["-SsrW", stripped], cancellation);
            string objdump = await RunAsync("objdump", ["-dwz", "--no-show-raw-insn", stripped], cancellation).ConfigureAwait(false);
            return new BinutilsObject(
                await File.ReadAllBytesAsync(stripped, cancellation).ConfigureAwait(false),
                await readelf.ConfigureAwait(false),
                objdump
            );
        }
        finally
        {
            File.Delete(stripped);
        }
    }

    internal static async Task<string> RunAsync(
        string tool,
        IReadOnlyList<string> arguments,
        CancellationToken cancellation,
        CommandResultValidation validation = CommandResultValidation.ZeroExitCode
    ) =>
        (
            await Cli.Wrap(tool)
                .WithArguments(arguments)
                .WithEnvironmentVariables(variables => variables.Set("LC_ALL", "C"))
                .WithValidation(validation)
                .ExecuteBufferedAsync(Encoding.Latin1, cancellation)
                .ConfigureAwait(false)
        ).StandardOutput;

    private void ReadCode(string objdump)
    {
        // objdump prints the executable sections that have bytes in the order of the section table.
        var sections = new Queue<WitnessSection>(Sections.Where(section => section is { IsCode: true, Size: > 0 }));
        List<WitnessInstruction>? code = null;
        int size = 0;
        foreach (string line in objdump.Split('\n'))
        {
            if (line.StartsWith("Disassembly of section ", StringComparison.Ordinal))
            {
                var section = sections.Dequeue();
                if (line != $"Disassembly of section {section.Name}:")
                    throw new InvalidDataException($"objdump prints '{line}' where {section.Name} is due");
                Close();
                (code, size) = (Code[section.Index], section.Size);
            }
            else if (code is not null && InstructionLine().Match(line) is { Success: true } match)
            {
                int offset = Hex(match, 1);
                if (code.Count != 0)
                    code[^1] = code[^1] with { Length = offset - code[^1].Offset };
                code.Add(new WitnessInstruction(offset, 0, match.Groups[2].Value.Trim()));
            }
        }
        Close();
        if (sections.Count != 0)
            throw new InvalidDataException($"objdump prints nothing of {sections.Peek().Name}");

        void Close()
        {
            if (code is { Count: > 0 })
                code[^1] = code[^1] with { Length = size - code[^1].Offset };
        }
    }

    private static int Number(Match match, int group) => int.Parse(match.Groups[group].Value, CultureInfo.InvariantCulture);

    private static int Hex(Match match, int group) => (int)Convert.ToInt64(match.Groups[group].Value, 16);

    [GeneratedRegex(
        @"^ +\[ *(\d+)\] (.*?) +(NULL|[A-Z][A-Z0-9_]+) +[0-9a-f]{16} ([0-9a-f]+) ([0-9a-f]+) [0-9a-f]+ +([A-Za-z]*) +\d+ +(\d+) +\d+$"
    )]
    private static partial Regex SectionLine();

    [GeneratedRegex(@"^ +(\d+): ([0-9a-f]{16}) +(\d+|0x[0-9a-f]+) (\w+) +(\w+) +\w+ (?:\[.*?\] )? *(\w+) ?(.*)$")]
    private static partial Regex SymbolLine();

    [GeneratedRegex(@"^Relocation section '\.rela.+' at offset (0x[0-9a-f]+)")]
    private static partial Regex RelocationHeader();

    [GeneratedRegex(@"^([0-9a-f]{16}) +([0-9a-f]{8})[0-9a-f]{8} (R_X86_64_\w+) .*? ([+-]) ([0-9a-f]+)$")]
    private static partial Regex RelocationLine();

    [GeneratedRegex(@"^ *([0-9a-f]+):\t(.*)$")]
    private static partial Regex InstructionLine();
}
