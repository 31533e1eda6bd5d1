// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text.RegularExpressions;
using Ksplice.Build.Updates;

namespace Ksplice.Build.Reporting;

/// <content>The instructions of a function, before and now beside each other.</content>
public sealed partial class HtmlReport
{
    private const int LinesAround = 3;

    [GeneratedRegex(@"^(j\w+|call\w*|xbegin)\s+(\S+)(?<target>  # .*)?$")]
    private static partial Regex Branch();

    private void WriteAssembly(string name, CodeDescription code)
    {
        Line(
            string.Create(
                CultureInfo.InvariantCulture,
                $"<details class=\"assembly\"><summary>Instructions, {code.SizeBefore} bytes before, {code.SizeNow} now</summary>"
            )
        );
        for (int part = 0; part < Math.Max(code.Before.Count, code.Now.Count); part++)
        {
            var (before, after) = (code.Before.ElementAtOrDefault(part) ?? [], code.Now.ElementAtOrDefault(part) ?? []);
            string caption = $"{name}{(part == 0 ? "" : string.Create(CultureInfo.InvariantCulture, $", part {part}"))}: instructions";
            Line(
                $"<div class=\"code\" role=\"region\" tabindex=\"0\" aria-label=\"{Text(caption)}\"><table class=\"listing\">"
                    + $"<caption>{Text(caption)}</caption><thead><tr><th scope=\"col\">Source</th><th scope=\"col\">Before</th>"
                    + "<th scope=\"col\"><span class=\"hidden\">Change</span></th><th scope=\"col\">Now</th>"
                    + "<th scope=\"col\">Source</th></tr></thead>"
            );
            WriteRows(Alignment.Of([.. before.Select(Key)], [.. after.Select(Key)]), before, after);
            Line("</table></div>");
        }
        Line("</details>");
    }

    // A branch goes further when something between grows; where it goes by name is what counts.
    private static string Key(InstructionDescription instruction) =>
        Branch().Match(instruction.Instruction) is { Success: true } branch
            ? branch.Groups[1].Value + branch.Groups["target"].Value
            : instruction.Instruction;

    private void WriteRows(
        IReadOnlyList<(int Before, int After)> pairs,
        IReadOnlyList<InstructionDescription> before,
        IReadOnlyList<InstructionDescription> after
    )
    {
        bool[] near = new bool[pairs.Count];
        for (int i = 0; i < pairs.Count; i++)
        {
            if (pairs[i] is { Before: >= 0, After: >= 0 })
                continue;
            for (int at = Math.Max(0, i - LinesAround); at < Math.Min(pairs.Count, i + LinesAround + 1); at++)
                near[at] = true;
        }
        (LineDescription? before, LineDescription? after) shown = (null, null);
        for (int i = 0; i < pairs.Count; )
        {
            int end = i;
            while (end < pairs.Count && near[end] == near[i])
                end++;
            Line(
                near[i]
                    ? "<tbody>"
                    : $"<tbody class=\"same\"><tr><th colspan=\"5\" scope=\"rowgroup\">{end - i} equal instructions</th></tr>"
            );
            for (; i < end; i++)
            {
                if (!near[i])
                    continue;
                var (old, now) = (pairs[i].Before < 0 ? null : before[pairs[i].Before], pairs[i].After < 0 ? null : after[pairs[i].After]);
                string kind =
                    old is null ? "added"
                    : now is null ? "removed"
                    : "equal";
                string sign =
                    old is null ? "+"
                    : now is null ? "&minus;"
                    : "";
                Line(
                    $"<tr class=\"{kind}\">{Source(old, ref shown.before)}{Code(old)}"
                        + $"<td class=\"sign\">{sign}</td>"
                        + $"{Code(now)}{Source(now, ref shown.after)}</tr>"
                );
            }
            Line("</tbody>");
        }
    }

    private static string Code(InstructionDescription? instruction) =>
        instruction is null
            ? "<td></td>"
            : string.Create(
                CultureInfo.InvariantCulture,
                $"<td><code><span class=\"offset\">{instruction.Offset:x}</span> {Text(instruction.Instruction)}</code></td>"
            );

    // A line is told once, at its first instruction.
    private static string Source(InstructionDescription? instruction, ref LineDescription? shown)
    {
        if (instruction?.Source is not { } source || source == shown)
            return "<td></td>";
        shown = source;
        return string.Create(
            CultureInfo.InvariantCulture,
            $"<td class=\"source\"><span class=\"offset\">{Text(Path.GetFileName(source.Path))}:{source.Line}</span> "
                + $"<code>{Text(source.Text ?? "")}</code></td>"
        );
    }
}
