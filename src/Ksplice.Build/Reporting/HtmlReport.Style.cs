// SPDX-License-Identifier: MIT
namespace Ksplice.Build.Reporting;

/// <content>How it looks.</content>
public sealed partial class HtmlReport
{
    private const string Style = """

        :root {
            --back: #fff; --text: #1b1b1b; --soft: #5a5a5a; --line: #d8dadd; --head: #f4f5f7; --added: #e3f5e3; --removed: #fbe4e4;
            --link: #0645ad; --warn: #8a5300; --error: #a40000; --plus: #1b6e2d; --minus: #a31515;
        }
        @media screen and (prefers-color-scheme: dark) { :root {
            --back: #16181c; --text: #e6e6e6; --soft: #a8adb5; --line: #3a3f47; --head: #22262c; --added: #17361d; --removed: #431d1f;
            --link: #8ab4f8; --warn: #f0b357; --error: #ff8a80; --plus: #7ddc8f; --minus: #ff9a94;
        } }
        * { box-sizing: border-box; }
        body {
            background: var(--back); color: var(--text); font: 1rem/1.5 system-ui, "DejaVu Sans", sans-serif;
            margin: 0 auto; max-width: 84rem; padding: 1rem 1.25rem 3rem; overflow-wrap: anywhere;
        }
        h1 { font-size: 1.7rem; line-height: 1.2; margin: 0; } h2 { font-size: 1.25rem; margin: 2.2rem 0 .6rem; }
        h3 { font-size: 1rem; margin: 1.2rem 0 .4rem; } h3 code { font-size: 1rem; font-weight: bold; }
        .kind { color: var(--soft); font-size: .85rem; letter-spacing: .04em; margin: 0; text-transform: uppercase; }
        .refused { color: var(--error); font-weight: bold; }
        .lead { font-size: 1.1rem; margin: .4rem 0; } .small { color: var(--soft); font-size: .85rem; font-weight: normal; }
        .advisories { display: flex; flex-wrap: wrap; gap: .4rem; list-style: none; margin: .5rem 0; padding: 0; }
        .advisories li { border: 1px solid var(--line); border-radius: 1rem; padding: .05rem .7rem; font-size: .9rem; }
        .facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .4rem 1.5rem; margin: 1rem 0; }
        dt { color: var(--soft); font-size: .8rem; } dd { margin: 0; }
        nav { border-block: 1px solid var(--line); display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; padding: .4rem 0; }
        a { color: var(--link); } a:focus-visible, summary:focus-visible, [tabindex]:focus-visible {
            outline: 3px solid var(--link); outline-offset: 2px;
        }
        .skip { left: -100rem; position: absolute; } .skip:focus { left: 1rem; top: 1rem; background: var(--back); padding: .5rem; }
        abbr { text-decoration: none; } summary { cursor: pointer; padding: .25rem 0; color: var(--link); }
        code { font: .85rem/1.45 ui-monospace, "DejaVu Sans Mono", monospace; }
        table { border-collapse: collapse; width: 100%; }
        th, td { border: 1px solid var(--line); padding: .25rem .5rem; text-align: left; vertical-align: top; }
        thead th { background: var(--head); } tbody th { font-weight: normal; }
        .number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
        .words { white-space: pre-wrap; margin: .4rem 0 .6rem; max-width: 48rem; }
        .code { border: 1px solid var(--line); border-radius: .3rem; overflow-x: auto; margin: .5rem 0; }
        .diff code { display: block; padding: 0 .6rem; white-space: pre; tab-size: 8; width: max-content; min-width: 100%; }
        .diff .head, .diff .hunk { background: var(--head); color: var(--soft); }
        .added { background: var(--added); } .removed { background: var(--removed); }
        .said { border-left: .3rem solid var(--line); margin: .6rem 0; padding: .1rem .8rem; } .said p { margin: .2rem 0; }
        .said.warning { border-color: var(--warn); } .said.warning b { color: var(--warn); }
        .said.error { border-color: var(--error); } .said.error b { color: var(--error); }
        .pair { border: 1px solid var(--line); table-layout: fixed; } .pair thead th { text-align: center; }
        .pair td { border: 0; padding: 0 .4rem; } .pair td.new.line { border-left: 1px solid var(--line); }
        .pair code { tab-size: 4; white-space: pre-wrap; }
        .pair .line { color: var(--soft); font-size: .8rem; text-align: right; user-select: none; white-space: nowrap; }
        .pair .no { width: 4rem; } .pair .none { background: var(--head); }
        .sign { display: inline-block; font-weight: bold; text-align: center; width: 1.1rem; }
        .added .sign { color: var(--plus); } .removed .sign { color: var(--minus); }
        .same th { background: var(--head); color: var(--soft); font-size: .85rem; text-align: center; }
        .listing td { border-width: 0 1px; padding: 0 .5rem; } .listing code { white-space: pre; }
        .listing .sign { display: table-cell; } caption { text-align: left; color: var(--soft); padding: .2rem .5rem; }
        .offset, .source { color: var(--soft); font-size: .85rem; } .offset { user-select: none; }
        .hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
        @media (max-width: 45rem) {
            body { padding: .75rem .75rem 2rem; } h1 { font-size: 1.4rem; }
            .cards thead { display: none; } .cards tr { border: 1px solid var(--line); display: block; margin-bottom: .6rem; }
            .cards th, .cards td { border: 0; display: block; text-align: left; white-space: normal; }
            .cards td::before { content: attr(data-label) ": "; color: var(--soft); }
            .pair thead { display: none; } .pair, .pair tbody, .pair tr { display: block; }
            .pair tr { display: grid; grid-template-columns: 3.6rem 1fr; }
            .pair .same tr { display: block; } .pair .same th { display: block; }
            .pair .equal .old, .pair .none { display: none; } .pair td.new.line { border-left: 0; }
        }
        @media print {
            body { font-size: 10pt; max-width: none; padding: 0; } nav, .skip, .assembly { display: none; }
            .code { overflow: visible; } .diff code { white-space: pre-wrap; width: auto; }
            .added, .removed, .diff .head, .diff .hunk { print-color-adjust: exact; } h2, h3 { break-after: avoid; }
            .pair tr, .said { break-inside: avoid; }
        }

        """;
}
