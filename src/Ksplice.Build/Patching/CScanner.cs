// SPDX-License-Identifier: MIT
// As much of C's lexical grammar as it takes to know where a preprocessor directive may stand: comments, strings, raw
// strings (gnu11 has them), continued lines, parentheses, conditional groups.

namespace Ksplice.Build.Patching;

/// <summary>What a line is to conditional compilation.</summary>
internal enum Conditional
{
    None,
    If,
    Else,
    EndIf,
}

/// <summary>Goes over a file line by line.</summary>
internal sealed class CScanner(bool isAssembly)
{
    private enum Mode
    {
        Code,
        BlockComment,
        LineComment,
        Quoted,
        RawString,
    }

    private readonly Stack<int> _depthAtIf = new();
    private Mode _mode;
    private char _quote;
    private string _rawEnd = "";
    private bool _continued;
    private bool _inDirective;
    private bool _tokenSeen;
    private string _directive = "";
    private int _depth;
    private char _last = ';';

    /// <summary>True if a directive may stand before the next line.</summary>
    public bool IsBetweenStatements =>
        !_continued && _mode == Mode.Code && (isAssembly || (_depth == 0 && _last is ';' or '{' or '}' or ':'));

    /// <summary>Takes the next line. Tells if it ends a conditional directive.</summary>
    public Conditional Scan(string line)
    {
        var body = line.AsSpan().TrimEnd("\r\n");
        // gcc takes a backslash before blanks at the end of a line for a continuation, too.
        var trimmed = body.TrimEnd(" \t\v\f");
        _continued = trimmed.EndsWith("\\") && _mode != Mode.RawString;
        if (_continued)
            body = trimmed[..^1];
        // A function ends here: a count that #if made wrong starts anew.
        if (_mode == Mode.Code && !_tokenSeen && body.StartsWith("}"))
            _depth = 0;
        for (var i = 0; i < body.Length; i++)
            i = Step(body, i);
        if (_continued)
            return Conditional.None;
        return EndOfLine();
    }

    private int Step(ReadOnlySpan<char> body, int i)
    {
        var c = body[i];
        var next = i + 1 < body.Length ? body[i + 1] : '\0';
        switch (_mode)
        {
            case Mode.BlockComment:
                if (c == '*' && next == '/')
                {
                    _mode = Mode.Code;
                    return i + 1;
                }
                return i;
            case Mode.LineComment:
                return i;
            case Mode.Quoted:
                if (c == '\\')
                    return i + 1;
                if (c == _quote)
                    _mode = Mode.Code;
                return i;
            case Mode.RawString:
                if (!body[i..].StartsWith(_rawEnd))
                    return i;
                _mode = Mode.Code;
                return i + _rawEnd.Length - 1;
        }
        if (c == '/' && next is '*' or '/')
        {
            _mode = next == '*' ? Mode.BlockComment : Mode.LineComment;
            return i + 1;
        }
        if (c == '"' || (c == '\'' && !isAssembly))
            return Open(body, i);
        Token(c);
        return i;
    }

    private int Open(ReadOnlySpan<char> body, int i)
    {
        var quote = body[i];
        var open = quote == '"' && IsRawPrefix(body, i) ? body[i..].IndexOf('(') : -1;
        Token(quote);
        if (open < 0)
        {
            _mode = Mode.Quoted;
            _quote = quote;
            return i;
        }
        _mode = Mode.RawString;
        _rawEnd = $"){body[(i + 1)..(i + open)]}\"";
        return i + open;
    }

    private bool IsRawPrefix(ReadOnlySpan<char> body, int quote)
    {
        if (isAssembly || quote == 0 || body[quote - 1] != 'R')
            return false;
        var start = quote - 1;
        while (start > 0 && (char.IsAsciiLetterOrDigit(body[start - 1]) || body[start - 1] == '_'))
            start--;
        return body[start..quote] is "R" or "LR" or "uR" or "UR" or "u8R";
    }

    /// <summary>A character of code outside comments and strings.</summary>
    private void Token(char c)
    {
        if (char.IsWhiteSpace(c))
        {
            if (_inDirective && _directive.Length != 0)
                _directive += ' ';
            return;
        }
        if (!_tokenSeen && c == '#')
        {
            _inDirective = true;
            _directive = "";
        }
        else if (_inDirective)
        {
            if (_directive.Length < 16)
                _directive += c;
        }
        else
        {
            _last = c;
            if (c == '(')
                _depth++;
            else if (c == ')' && _depth > 0)
                _depth--;
        }
        _tokenSeen = true;
    }

    private Conditional EndOfLine()
    {
        if (_mode is Mode.LineComment or Mode.Quoted)
            _mode = Mode.Code;
        if (_mode == Mode.BlockComment && _inDirective)
            return Conditional.None;
        var kind = Conditional.None;
        if (_inDirective && _mode != Mode.RawString)
            kind = EndOfDirective();
        if (_mode != Mode.BlockComment)
        {
            _inDirective = false;
            _tokenSeen = false;
        }
        return kind;
    }

    private Conditional EndOfDirective()
    {
        var name = _directive.AsSpan().TrimStart();
        var end = name.IndexOfAnyExceptInRange('a', 'z');
        switch (end < 0 ? name : name[..end])
        {
            case "if" or "ifdef" or "ifndef":
                _depthAtIf.Push(_depth);
                return Conditional.If;
            case "else" or "elif" or "elifdef" or "elifndef":
                if (_depthAtIf.TryPeek(out var depth))
                    _depth = depth;
                return Conditional.Else;
            case "endif":
                _depthAtIf.TryPop(out _);
                return Conditional.EndIf;
            default:
                return Conditional.None;
        }
    }
}
