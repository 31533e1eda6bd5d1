// SPDX-License-Identifier: MIT
// What the preprocessor told of units, as a text to which a line is added for each unit. A line is whole when its newline is there, so
// whatever interrupts the writer costs a unit at most.
//
//     file fs/proc/internal.h        the files get the numbers 0, 1, 2, … in the order of their lines
//     unit fs/proc/version.o 17 4    a unit, and the files that it reads
//     unit arch/x86/x.o ?            a unit of which the preprocessor could not tell
using System.Globalization;
using System.Text;

namespace Ksplice.Build.Kernel;

/// <summary>Which files of the source tree units read, for those units that were asked.</summary>
internal sealed class UnitIncludes(string path)
{
    private readonly Dictionary<string, int[]?> _units = new(StringComparer.Ordinal);
    private readonly Dictionary<string, int> _files = new(StringComparer.Ordinal);
    private long _read;

    /// <summary>True if <paramref name="unit"/> (its object) was asked.</summary>
    public bool Has(string unit)
    {
        if (_read == 0)
            Read();
        return _units.ContainsKey(unit);
    }

    /// <summary>Whether <paramref name="unit"/>, which was asked, reads <paramref name="file"/>; null if that could not be told.</summary>
    public bool? Reads(string unit, string file) =>
        _units[unit] is { } files ? _files.TryGetValue(file, out int id) && files.AsSpan().IndexOf(id) >= 0 : null;

    /// <summary>Takes what others have added meanwhile, and adds to it. Nobody else may write until the writer is disposed of.</summary>
    public Writer OpenToAdd()
    {
        Read();
        return new Writer(this);
    }

    // The whole lines that were not read yet. A text that is none of ours is made anew.
    private void Read()
    {
        if (!File.Exists(path))
            return;
        byte[] all = File.ReadAllBytes(path);
        int end = all.AsSpan().LastIndexOf((byte)'\n') + 1;
        if (end < _read || !ReadLines(all.AsSpan((int)_read..end)))
        {
            _units.Clear();
            _files.Clear();
            _read = 0;
            return;
        }
        _read = end;
    }

    private bool ReadLines(ReadOnlySpan<byte> text)
    {
        foreach (var range in text.Split((byte)'\n'))
        {
            string line = Encoding.UTF8.GetString(text[range]);
            if (line.StartsWith("file ", StringComparison.Ordinal))
                _files.TryAdd(line[5..], _files.Count);
            else if (line.StartsWith("unit ", StringComparison.Ordinal))
            {
                string[] words = line.Split(' ');
                if (words is [_, _, "?"])
                    _units[words[1]] = null;
                else if (Numbers(words.AsSpan(2)) is { } files)
                    _units[words[1]] = files;
                else
                    return false;
            }
            else if (line.Length != 0)
                return false;
        }
        return true;
    }

    private int[]? Numbers(ReadOnlySpan<string> words)
    {
        int[] numbers = new int[words.Length];
        for (int i = 0; i < words.Length; i++)
        {
            if (!int.TryParse(words[i], NumberStyles.None, CultureInfo.InvariantCulture, out numbers[i]) || numbers[i] >= _files.Count)
                return null;
        }
        return numbers;
    }

    /// <summary>Adds units; safe to call from several threads.</summary>
    internal sealed class Writer : IDisposable
    {
        private readonly UnitIncludes _includes;
        private readonly FileStream _file;

        public Writer(UnitIncludes includes)
        {
            _includes = includes;
            _file = new FileStream(includes.Path, FileMode.OpenOrCreate, FileAccess.Write, FileShare.Read);
            _file.SetLength(includes._read);
            _file.Seek(0, SeekOrigin.End);
        }

        /// <summary>Adds what <paramref name="unit"/> reads; null if the preprocessor could not tell.</summary>
        public void Add(string unit, IReadOnlyList<string>? files)
        {
            lock (_file)
            {
                StringBuilder text = new();
                foreach (string file in files ?? [])
                {
                    if (_includes._files.TryAdd(file, _includes._files.Count))
                        text.Append("file ").Append(file).Append('\n');
                }
                int[]? numbers = files is null ? null : [.. files.Select(file => _includes._files[file])];
                text.Append("unit ").Append(unit);
                foreach (int number in numbers ?? [])
                    text.Append(' ').Append(number);
                text.Append(numbers is null ? " ?\n" : "\n");
                _file.Write(Encoding.UTF8.GetBytes(text.ToString()));
                _file.Flush();
                _includes._units[unit] = numbers;
                _includes._read = _file.Position;
            }
        }

        public void Dispose() => _file.Dispose();
    }

    private string Path => path;
}
