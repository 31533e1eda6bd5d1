// SPDX-License-Identifier: MIT
namespace Ksplice.Build.Reporting;

public sealed partial class HtmlReport
{
    private const string Style = """

        :root {
            --back: #fff; --text: #1b1b1b; --soft: #5a5a5a; --line: #d0d0d0; --head: #f3f3f3; --added: #e3f5e3; --removed: #fbe4e4;
            --link: #0645ad; --warn: #8a5300; --error: #a40000;
        }
        @media (prefers-color-scheme: dark) { :root {
            --back: #16181c; --text: #e6e6e6; --soft: #a8adb5; --line: #3a3f47; --head: #22262c; --added: #17361d; --removed: #431d1f;
            --link: #8ab4f8; --warn: #f0b357; --error: #ff8a80;
        } }
        body {
            background: var(--back); color: var(--text); font: 1rem/1.45 system-ui, sans-serif;
            margin: 0 auto; max-width: 110rem; padding: 1rem;
        }
        h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
        header p { margin: .2rem 0; } .small { color: var(--soft); font-size: .85rem; font-weight: normal; }
        a { color: var(--link); } a:focus-visible, [tabindex]:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
        .skip { left: -100rem; position: absolute; } .skip:focus { left: 1rem; top: 1rem; background: var(--back); padding: .5rem; }
        table { border-collapse: collapse; }
        th, td { border: 1px solid var(--line); padding: .2rem .5rem; text-align: left; vertical-align: top; }
        thead th { background: var(--head); }
        .number { text-align: right; font-variant-numeric: tabular-nums; }
        .warning td:nth-child(2) { color: var(--warn); font-weight: bold; }
        .error td:nth-child(2) { color: var(--error); font-weight: bold; }
        .code { overflow-x: auto; margin: .5rem 0; } caption { text-align: left; color: var(--soft); }
        code { font: .85rem/1.4 ui-monospace, monospace; white-space: pre; }
        .listing td { border-width: 0 1px; padding: 0 .5rem; } .listing .sign { text-align: center; font-weight: bold; }
        .offset, .source { color: var(--soft); font-size: .85rem; } .offset { user-select: none; }
        .added { background: var(--added); } .removed { background: var(--removed); }
        .same th { background: var(--head); color: var(--soft); font-weight: normal; text-align: center; }
        .hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
        @media print { .code { overflow: visible; } }

        """;
}
