// SPDX-License-Identifier: MIT
using System.Text;
using CliWrap;

namespace Ksplice.Build.Processes;

/// <summary>
/// What a program writes, up to a limit: the first half of the limit and the last one are kept, since the cause of a failure stands at
/// the beginning of a compiler's output and at the end of make's.
/// </summary>
/// <param name="limit">Characters to keep.</param>
internal sealed class BoundedText(int limit)
{
    private readonly StringBuilder _head = new();
    private readonly char[] _tail = new char[limit - (limit / 2)];
    private long _behindHead;

    /// <summary>Takes a program's output.</summary>
    public PipeTarget Pipe =>
        PipeTarget.Create(
            async (stream, cancellation) =>
            {
                using StreamReader reader = new(stream, new UTF8Encoding(false), leaveOpen: true);
                var block = new char[4096];
                while (await reader.ReadAsync(block, cancellation).ConfigureAwait(false) is var count and > 0)
                    Append(block.AsSpan(0, count));
            }
        );

    /// <summary>Adds to the text.</summary>
    public void Append(ReadOnlySpan<char> text)
    {
        int atHead = Math.Min(text.Length, (limit / 2) - _head.Length);
        _head.Append(text[..atHead]);
        foreach (char letter in text[atHead..])
            _tail[_behindHead++ % _tail.Length] = letter;
    }

    /// <summary>The text; where something is left out, a line says how much.</summary>
    public override string ToString()
    {
        if (_behindHead <= _tail.Length)
            return _head.ToString() + new string(_tail, 0, (int)_behindHead);
        int first = (int)(_behindHead % _tail.Length);
        string end = new string(_tail, first, _tail.Length - first) + new string(_tail, 0, first);
        return $"{_head}\n[{_behindHead - _tail.Length} characters left out]\n{end}";
    }
}
