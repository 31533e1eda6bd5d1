// SPDX-License-Identifier: MIT
// Which source line an instruction comes from: the line number programs of .debug_line (DWARF 4 and 5, section 6.2).
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Elf;

namespace Ksplice.Build.Dwarf;

/// <summary>An object's lines by place.</summary>
internal sealed class LineTable
{
    private readonly record struct Row(ulong Offset, string File, int Line, int Column);

    private sealed record Header(int LineBase, int LineRange, byte[] Lengths, int MinimumLength, List<string> Files, int FirstFile);

    private readonly ElfObject _elf;
    private readonly ElfSection _section;
    private readonly Dictionary<int, List<Row>> _rows = [];
    private readonly Dictionary<ulong, Header> _units = [];

    private LineTable(ElfObject elf, ElfSection section)
    {
        (_elf, _section) = (elf, section);
        DwarfCursor cursor = new(elf, section);
        while (!cursor.AtEnd)
            ReadUnit(ref cursor);
        // Where one sequence ends and the next begins, the beginning counts.
        foreach (int place in _rows.Keys.ToList())
            _rows[place] = [.. _rows[place].OrderBy(row => row.Offset).ThenBy(row => row.Line != 0)];
    }

    /// <summary>The lines of <paramref name="elf"/>, or null if it has none.</summary>
    /// <exception cref="ElfFormatException">The debug data is malformed.</exception>
    public static LineTable? Read(ElfObject elf)
    {
        return elf.FindSection(".debug_line") is { } section ? new LineTable(elf, section) : null;
    }

    /// <summary>The source of the instruction at <paramref name="offset"/> of a section, or null.</summary>
    public SourceLocation? Find(int section, ulong offset)
    {
        if (!_rows.TryGetValue(section, out var rows))
            return null;
        int low = 0,
            high = rows.Count;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (rows[middle].Offset <= offset)
                low = middle + 1;
            else
                high = middle;
        }
        return low == 0 || rows[low - 1].Line == 0 ? null : new SourceLocation(rows[low - 1].File, rows[low - 1].Line);
    }

    /// <summary>Every source line of the code in a range of a section, with the column of its first statement.</summary>
    public IEnumerable<SourceLocation> Lines(int section, ulong start, ulong end) =>
        Places(section, start, end).Select(place => place.Line);

    /// <summary>The same, with the offset of each.</summary>
    public IEnumerable<(ulong Offset, SourceLocation Line)> Places(int section, ulong start, ulong end) =>
        _rows.TryGetValue(section, out var rows)
            ? rows.Where(row => row.Offset >= start && row.Offset < end && row.Line != 0)
                .Select(row => (row.Offset, new SourceLocation(row.File, row.Line, row.Column)))
            : [];

    /// <summary>
    /// The name of file <paramref name="number"/> of the unit whose line program starts at <paramref name="unit"/>, or null.
    /// </summary>
    public string? File(ulong unit, int number) =>
        _units.TryGetValue(unit, out var header) && number >= header.FirstFile && number - header.FirstFile < header.Files.Count
            ? header.Files[number - header.FirstFile]
            : null;

    private void ReadUnit(ref DwarfCursor cursor)
    {
        int start = cursor.Position;
        uint length = cursor.UInt32();
        if (length >= 0xfffffff0 || length > _section.Data.Length - cursor.Position)
            throw new ElfFormatException(_elf.Name, start, $".debug_line has a unit of {length} bytes at 0x{start:x}");
        int end = cursor.Position + (int)length;
        int version = cursor.UInt16();
        if (version is 4 or 5)
        {
            if (version == 5)
                cursor.Skip(2);
            uint rest = cursor.UInt32();
            int program = (int)Math.Min(cursor.Position + rest, end);
            var header = ReadHeader(ref cursor, version);
            _units[(ulong)start] = header;
            cursor.Position = program;
            Run(ref cursor, header, end);
        }
        cursor.Position = end;
    }

    private Header ReadHeader(ref DwarfCursor cursor, int version)
    {
        int minimum = cursor.Byte();
        cursor.Skip(2);
        int lineBase = (sbyte)cursor.Byte(),
            range = cursor.Byte();
        byte[] lengths = new byte[Math.Max((int)cursor.Byte(), 1)];
        for (int i = 1; i < lengths.Length; i++)
            lengths[i] = cursor.Byte();
        if (range == 0)
            throw new ElfFormatException(_elf.Name, cursor.Position, ".debug_line has a line range of 0");
        List<string> directories = [],
            files = [];
        if (version == 5)
        {
            foreach (var (name, _) in ReadEntries(ref cursor))
                directories.Add(name);
            foreach (var (name, directory) in ReadEntries(ref cursor))
                files.Add(Join(directories, name, directory));
            return new Header(lineBase, range, lengths, minimum, files, 0);
        }
        // Directory 0 is the one of the compilation; its name stands in .debug_info only.
        directories.Add("");
        while (cursor.String() is { Length: > 0 } directory)
            directories.Add(directory);
        while (cursor.String() is { Length: > 0 } name)
        {
            files.Add(Join(directories, name, cursor.Unsigned()));
            cursor.Unsigned();
            cursor.Unsigned();
        }
        return new Header(lineBase, range, lengths, minimum, files, 1);
    }

    private List<(string Name, ulong Directory)> ReadEntries(ref DwarfCursor cursor)
    {
        var formats = new (ulong Content, ulong Form)[cursor.Byte()];
        for (int i = 0; i < formats.Length; i++)
            formats[i] = (cursor.Unsigned(), cursor.Unsigned());
        ulong count = cursor.Unsigned();
        // Each takes a byte at least: a damaged count ends here and not after hours.
        if (count > (ulong)cursor.Left || (count != 0 && formats.Length == 0))
            throw new ElfFormatException(_elf.Name, cursor.Position, $".debug_line lists {count} files in {cursor.Left} bytes");
        List<(string, ulong)> entries = [];
        for (ulong i = 0; i < count; i++)
        {
            var (name, directory) = ("", 0UL);
            foreach (var (content, form) in formats)
            {
                if (content == 1)
                    name = Name(ref cursor, form);
                else if (content == 2)
                    directory = cursor.Value(form);
                else
                    cursor.Value(form);
            }
            entries.Add((name, directory));
        }
        return entries;
    }

    private string Name(ref DwarfCursor cursor, ulong form)
    {
        int at = cursor.Position;
        return DwarfText.Read(_elf, _section, at, form, cursor.Value(form));
    }

    private static string Join(List<string> directories, string name, ulong directory) =>
        directory < (ulong)directories.Count ? Path.Combine(directories[(int)directory], name) : name;

    private void Run(ref DwarfCursor cursor, Header header, int end)
    {
        List<Row>? rows = null;
        ulong address = 0;
        int line = 1,
            file = 1,
            column = 0;
        void Add(int now)
        {
            int index = file - header.FirstFile;
            rows?.Add(new Row(address, index >= 0 && index < header.Files.Count ? header.Files[index] : "", now, column));
        }
        while (cursor.Position < end)
        {
            int opcode = cursor.Byte();
            if (opcode >= header.Lengths.Length)
            {
                int adjusted = opcode - header.Lengths.Length;
                address += (ulong)(adjusted / header.LineRange * header.MinimumLength);
                line += header.LineBase + (adjusted % header.LineRange);
                Add(line);
                continue;
            }
            switch (opcode)
            {
                case 0:
                    ulong size = cursor.Unsigned();
                    int operand = cursor.Position + 1;
                    switch (size == 0 ? 0 : cursor.Byte())
                    {
                        case 1:
                            Add(0);
                            (rows, address, line, file, column) = (null, 0, 1, 1, 0);
                            break;
                        case 2
                            when _section.RelocationAt((ulong)operand) is { } relocation
                                && !_elf.Symbols[relocation.SymbolIndex].IsUndefined:
                            var symbol = _elf.Symbols[relocation.SymbolIndex];
                            address = symbol.Value + (ulong)relocation.Addend;
                            if (!_rows.TryGetValue(symbol.SectionIndex, out rows))
                                _rows[symbol.SectionIndex] = rows = [];
                            break;
                    }
                    cursor.Position = operand - 1;
                    cursor.Skip(size);
                    break;
                case 1:
                    Add(line);
                    break;
                case 2:
                    address += cursor.Unsigned() * (ulong)header.MinimumLength;
                    break;
                case 3:
                    line += (int)cursor.Signed();
                    break;
                case 4:
                    file = (int)Math.Min(cursor.Unsigned(), int.MaxValue);
                    break;
                case 5:
                    column = (int)Math.Min(cursor.Unsigned(), int.MaxValue);
                    break;
                case 8:
                    address += (ulong)((255 - header.Lengths.Length) / header.LineRange * header.MinimumLength);
                    break;
                case 9:
                    address += cursor.UInt16();
                    break;
                default:
                    for (int i = 0; i < header.Lengths[opcode]; i++)
                        cursor.Unsigned();
                    break;
            }
        }
    }
}
