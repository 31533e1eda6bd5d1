// SPDX-License-Identifier: MIT
// A patch is a mail mostly: git format-patch writes one, and Debian's patches have headers of the same form (DEP-3). What stands before
// the first change says what the patch is for, and often which advisory it answers. MimeKit reads the headers: they are folded over lines
// and encoded where they are not ASCII (RFC 2047).
using System.Text;
using System.Text.RegularExpressions;
using MimeKit;

namespace Ksplice.Tasks;

/// <summary>What a patch file says before its first change.</summary>
/// <param name="Subject">Its subject in one line, without marks such as [PATCH 1/2]; null if it has none.</param>
/// <param name="Advisories">
/// The CVE ids in its headers, and in lines of its text that hold nothing else. A sentence may mention those of other faults.
/// </param>
internal sealed partial record PatchMail(string? Subject, IReadOnlyList<string> Advisories)
{
    /// <summary>Reads the content of a patch file.</summary>
    public static PatchMail Read(ReadOnlySpan<byte> patch)
    {
        // One char for each byte: encodings are MimeKit's.
        string text = Encoding.Latin1.GetString(patch).Replace("\r\n", "\n", StringComparison.Ordinal);
        if (Changes().Match(text) is { Success: true } changes)
            text = text[..changes.Index];
        if (text.StartsWith("From ", StringComparison.Ordinal))
            text = text[(text.IndexOf('\n', StringComparison.Ordinal) + 1)..];
        string body = text;
        HeaderList? headers = null;
        if (FirstHeader().IsMatch(text))
        {
            int end = text.IndexOf("\n\n", StringComparison.Ordinal);
            string head = end < 0 ? text : text[..end];
            body = text[head.Length..];
            using MemoryStream bytes = new(Encoding.Latin1.GetBytes(head.TrimEnd() + "\n\n"));
            headers = HeaderList.Load(bytes);
        }
        string? subject = OneLine(Marks().Replace(headers?[HeaderId.Subject] ?? "", ""));
        // DEP-3: a short text, and a longer one in the lines that follow.
        if (subject.Length == 0 && headers?.FirstOrDefault(header => header.Field == "Description") is { } description)
            subject = OneLine(Encoding.UTF8.GetString(description.RawValue).Trim().Split('\n')[0]);
        IEnumerable<string> named =
        [
            .. headers?.SelectMany(header => Ids(header.Value)) ?? [],
            .. body.Split('\n').Where(line => OnlyIds().IsMatch(line)).SelectMany(Ids),
        ];
        return new(subject.Length == 0 ? null : subject, [.. named.Distinct(StringComparer.Ordinal)]);
    }

    /// <summary><paramref name="text"/> as one line: each run of blanks, line ends and control characters is one blank.</summary>
    public static string OneLine(string text) => Blanks().Replace(text, " ").Trim();

    private static IEnumerable<string> Ids(string text) => Cve().Matches(text).Select(match => match.Value);

    [GeneratedRegex(@"^(?:--- .*|---|diff .*|Index: .*)$", RegexOptions.Multiline)]
    private static partial Regex Changes();

    [GeneratedRegex(@"\A[A-Za-z][A-Za-z0-9-]*:")]
    private static partial Regex FirstHeader();

    [GeneratedRegex(@"^\s*(?:(?:\[[^\]]*\]|[Rr][Ee]:)\s*)+")]
    private static partial Regex Marks();

    [GeneratedRegex(@"[\s\p{Cc}]+")]
    private static partial Regex Blanks();

    [GeneratedRegex(@"\bCVE-[0-9]{4}-[0-9]{4,19}\b")]
    private static partial Regex Cve();

    [GeneratedRegex(@"^\s*(?:[A-Za-z-]+:)?(?:[\s,;]*CVE-[0-9]{4}-[0-9]{4,19}\b)+\s*$")]
    private static partial Regex OnlyIds();
}
