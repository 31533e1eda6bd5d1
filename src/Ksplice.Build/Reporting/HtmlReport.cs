// SPDX-License-Identifier: MIT
// The report of an update as one HTML file: the patch, what the analysis said, for each replaced function why and its source before and
// now, and what applying means. A refused build has one too, with the reasons. The file brings all that it shows and holds no script; its
// policy forbids it to load anything. Whether a line is old or new is said by a sign, not by colour alone; what can be opened or scrolled
// is reached with the Tab key. On a narrow screen what stands beside each other stands below each other.
using System.Globalization;
using System.Net;
using System.Text;
using Ksplice.Build.Generation;
using Ksplice.Build.Updates;

namespace Ksplice.Build.Reporting;

/// <summary>Writes the report.</summary>
public sealed partial class HtmlReport
{
    private readonly string? _help;
    private readonly StringBuilder _html = new();

    private HtmlReport(string? help) => _help = help is null || help.EndsWith('/') ? help : help + "/";

    /// <summary>The report of an update, as the text of an HTML file.</summary>
    /// <param name="package">Its package.</param>
    /// <param name="update">The update.</param>
    /// <param name="help">The address of the folder with the rules' pages; without it no rule is linked.</param>
    public static string Write(UpdatePackage package, UpdateDescription update, string? help = null)
    {
        ArgumentNullException.ThrowIfNull(package);
        ArgumentNullException.ThrowIfNull(update);
        HtmlReport html = new(help);
        html.WriteUpdate(package, update);
        return html._html.ToString();
    }

    /// <summary>The report of a build that was refused.</summary>
    /// <param name="build">The build.</param>
    /// <param name="help">The address of the folder with the rules' pages; without it no rule is linked.</param>
    public static string WriteRefused(RefusedBuild build, string? help = null)
    {
        ArgumentNullException.ThrowIfNull(build);
        HtmlReport html = new(help);
        html.WriteRefusal(build);
        return html._html.ToString();
    }

    private void WriteUpdate(UpdatePackage package, UpdateDescription update)
    {
        var manifest = package.Manifest;
        var functions = update.Units.SelectMany(unit => unit.Replaced.Select(function => (unit.Unit, Function: function))).ToList();
        Begin($"Update {manifest.Name} ({manifest.Id})");
        Line(
            $"<header><p class=\"kind\">Update {Text(manifest.Id)}</p><h1>{Text(manifest.Name)}"
                + $"{(manifest.Version is { } version ? $" <span class=\"small\">{Text(version)}</span>" : "")}</h1>"
        );
        if (manifest.Description is { } description)
            Line($"<p class=\"lead\">{Text(description)}</p>");
        if (manifest.Advisories.Count != 0)
            Line($"<ul class=\"advisories\">{string.Concat(manifest.Advisories.Select(id => $"<li>{Text(id)}</li>"))}</ul>");
        Line("<dl class=\"facts\">");
        Fact("Kernel", Text(manifest.Kernel.Release));
        int added = update.Units.Sum(unit => unit.New.Count);
        Fact(
            "Changes",
            $"{Words.Count(functions.Count, "function")} replaced{(added == 0 ? "" : $", {Words.Count(added, "new function")}")}"
        );
        Fact("Signer", Signer(package));
        int warnings = update.Diagnostics.Count(diagnostic => diagnostic.Level == "warning");
        Fact(
            "Analysis",
            update.Diagnostics.Count == 0 ? "nothing to say" : $"<a href=\"#diagnostics\">{Words.Count(warnings, "warning")}</a>"
        );
        Line("</dl></header>");
        Navigation(
            ("patch", "Patch"),
            ("diagnostics", "Analysis"),
            ("functions", "Functions"),
            ("applying", "Applying"),
            ("files", "Package")
        );
        Line("<main>");
        WritePatches([.. manifest.Patches.Select(path => (path, Encoding.UTF8.GetString(package.Files[path].Span)))]);
        WriteDiagnostics("What the analysis said", update.Diagnostics);
        foreach (var acknowledged in manifest.Acknowledged)
            Line(
                $"<p class=\"acknowledged\">Acknowledged: {Rule(acknowledged.Id)} of <code>{Text(acknowledged.Object)}</code>: "
                    + $"{Text(acknowledged.Reason)} ({Text(acknowledged.Source)})</p>"
            );
        Line("</section>");
        WriteSummary(update, functions);
        for (int i = 0; i < functions.Count; i++)
            WriteFunction(i, functions[i].Unit, functions[i].Function);
        WriteApplying(package, update);
        WriteFiles(manifest);
        Line("</main></body></html>");
    }

    private void WriteRefusal(RefusedBuild build)
    {
        Begin($"Refused: {build.Name}");
        Line($"<header><p class=\"kind refused\">Refused build</p><h1>{Text(build.Name)}</h1><dl class=\"facts\">");
        Fact("Kernel", Text(build.Release));
        Fact("Reasons", Words.Count(build.Diagnostics.Count(diagnostic => diagnostic.Level == "error"), "error"));
        Line("</dl><p>No update came of this build. Each error says what was found; its rule's page says what to do.</p></header>");
        Navigation(("diagnostics", "Reasons"), ("patch", "Patch"));
        Line("<main>");
        WriteDiagnostics("Why it was refused", build.Diagnostics);
        Line("</section>");
        WritePatches(build.Patches);
        Line("</main></body></html>");
    }

    private void Begin(string title)
    {
        Line("<!DOCTYPE html>");
        Line(
            "<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">"
                + "<meta name=\"color-scheme\" content=\"light dark\">"
        );
        Line("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">");
        Line($"<title>{Text(title)}</title><style>{Style}</style></head><body>");
    }

    private void Navigation(params (string Id, string Name)[] parts)
    {
        Line($"<a class=\"skip\" href=\"#{parts[0].Id}\">To the content</a><nav aria-label=\"Parts\">");
        Line(string.Concat(parts.Select(part => $"<a href=\"#{part.Id}\">{part.Name}</a> ")) + "</nav>");
    }

    private void Fact(string name, string html) => Line($"<div><dt>{name}</dt><dd>{html}</dd></div>");

    private static string Signer(UpdatePackage package)
    {
        if (!package.Files.TryGetValue(PackageSignature.FileName, out var signature))
            return "not signed";
        var verdict = PackageSignature.VerifyByItsOwn(package.Files[UpdateManifest.FileName].Span, signature.Span);
        return Text(verdict.IsTrusted ? verdict.Detail : "signed; " + verdict.Detail);
    }

    private void WriteFiles(UpdateManifest manifest)
    {
        Line(
            "<section id=\"files\"><h2>Package</h2><details><summary>"
                + $"{Words.Count(manifest.Files.Count, "file")}</summary><table><thead><tr><th scope=\"col\">File</th>"
                + "<th scope=\"col\" class=\"number\">Bytes</th></tr></thead><tbody>"
        );
        foreach (var file in manifest.Files)
            Line(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"<tr><th scope=\"row\">{Text(file.Path)}</th><td class=\"number\">{file.Size}</td></tr>"
                )
            );
        Line($"</tbody></table></details><p class=\"small\">Built by {Text(manifest.Tool)} for</p>");
        Line($"<p class=\"small\">{Text(manifest.Kernel.Banner.Trim())}</p></section>");
    }

    private string Rule(string id) => _help is null ? Text(id) : $"<a href=\"{Text(_help + id)}.md\">{Text(id)}</a>";

    private void Line(string line) => _html.Append(line).Append('\n');

    private static string Text(string text) => WebUtility.HtmlEncode(text);
}
