"""How a report looks. Blue and orange of Okabe and Ito's palette, which all eyes tell apart; light and dark."""

from __future__ import annotations

from headrace.builtins.report.markup import Html

STYLE = Html("""
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --surface: #ffffff; --ink: #14181f; --muted: #5b6472; --line: #dfe3e9; --soft: #eef1f5;
  --model: #0068a8; --rival: #c75000; --third: #00805f; --fourth: #9c4f84; --fifth: #8a6d00; --sixth: #2b8bbf;
  --good: #00704f; --good-soft: #e0f3ec; --bad: #a8320a; --bad-soft: #fbe9e1;
  --heat: 0, 104, 168; --unsure: #6d5a00; --unsure-soft: #f7f0d6;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0f1216; --surface: #171b21; --ink: #e8ebf0; --muted: #9aa4b2; --line: #2b323c; --soft: #20262e;
    --model: #5cb3ec; --rival: #f0924c; --third: #3fc49b; --fourth: #d18fbd; --fifth: #d9b93c; --sixth: #9bd3f5;
    --good: #56d3a6; --good-soft: #12322a; --bad: #ff9a76; --bad-soft: #3a2118;
    --heat: 92, 179, 236; --unsure: #d9b93c; --unsure-soft: #322a10;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Helvetica Neue", Arial, sans-serif;
}
main, header.top, footer { max-width: 1120px; margin: 0 auto; padding: 0 28px; }
header.top { padding-top: 44px; }
.eyebrow { margin: 0; color: var(--muted); font-size: 13px; letter-spacing: .04em; }
h1 { margin: 2px 0 0; font-size: 34px; line-height: 1.2; letter-spacing: -.015em; overflow-wrap: anywhere; }
h2 { margin: 0; font-size: 20px; line-height: 1.3; letter-spacing: -.005em; }
h3 { margin: 0 0 8px; font-size: 15px; }
p { margin: 0; max-width: 74ch; }
p + p { margin-top: 8px; }
a { color: var(--model); }
.title { display: flex; flex-wrap: wrap; align-items: center; gap: 6px 16px; }
.verdict { padding: 3px 12px 4px; border-radius: 999px; font-size: 14px; font-weight: 600; white-space: nowrap; }
.verdict.yes { color: var(--good); background: var(--good-soft); }
.verdict.unsure { color: var(--unsure); background: var(--unsure-soft); }
.verdict.no { color: var(--bad); background: var(--bad-soft); }
.lede { margin-top: 12px; font-size: 17px; line-height: 1.5; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(168px, 1fr)); gap: 12px; margin: 26px 0 0; }
.tile { background: var(--surface); border: 1px solid var(--line); border-radius: 10px; padding: 14px 16px 13px; }
.tile dt { color: var(--muted); font-size: 13px; }
.tile dd { margin: 0; }
.tile .value { font-size: 26px; line-height: 1.3; font-weight: 600; letter-spacing: -.01em; }
.tile .aside { color: var(--muted); font-size: 13px; }
section { margin-top: 44px; }
section > h2 { margin-bottom: 12px; }
section > h2 + .intro { margin: -8px 0 16px; color: var(--muted); }
.card { background: var(--surface); border: 1px solid var(--line); border-radius: 10px; padding: 18px 20px; }
.card + .card { margin-top: 16px; }
.grid { display: grid; gap: 16px; grid-template-columns: repeat(auto-fit, minmax(min(320px, 100%), 1fr)); }
.grid.two { grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 1fr)); }
.grid > .card { margin: 0; }
.grid + .card { margin-top: 16px; }
.wide { overflow-x: auto; }
figure { margin: 0; }
figure svg { display: block; width: 100%; height: auto; }
figure svg * { stroke-linejoin: round; }
figure svg text { font-family: inherit; }
figcaption { margin-top: 8px; color: var(--muted); font-size: 13px; line-height: 1.45; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
caption { text-align: left; color: var(--muted); font-size: 13px; padding-bottom: 8px; }
th { text-align: left; font-weight: 600; }
thead th { color: var(--muted); font-size: 13px; font-weight: 500; border-bottom: 1px solid var(--line); }
th, td { padding: 7px 14px 7px 0; vertical-align: top; }
th:last-child, td:last-child { padding-right: 0; }
tbody tr + tr > * { border-top: 1px solid var(--soft); }
tbody th { font-weight: 500; min-width: 15ch; }
tbody th .aside { display: block; max-width: 34ch; line-height: 1.4; }
.num { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.aside { color: var(--muted); font-size: 13px; font-weight: 400; }
.num .aside { display: block; }
.num .why { white-space: normal; max-width: 17ch; margin-left: auto; }
tr.main > * { background: var(--soft); }
tr.main > :first-child { box-shadow: -8px 0 0 var(--soft); }
tr.main > :last-child { box-shadow: 8px 0 0 var(--soft); }
.good { color: var(--good); }
.bad { color: var(--bad); }
.names { overflow-wrap: anywhere; min-width: 10ch; }
ul.checks { list-style: none; margin: 0; padding: 0; }
ul.checks li { display: grid; grid-template-columns: 84px 1fr; gap: 4px 14px; padding: 9px 0; }
ul.checks li + li { border-top: 1px solid var(--soft); }
.mark { font-weight: 600; font-size: 14px; white-space: nowrap; }
.mark::before { display: inline-block; width: 1.25em; }
.mark.yes { color: var(--good); }
.mark.yes::before { content: "✓"; }
.mark.no { color: var(--bad); }
.mark.no::before { content: "✗"; }
.mark.unsure { color: var(--unsure); }
.mark.unsure::before { content: "?"; }
h3 .mark { float: right; font-size: 13px; }
ul.checks .message { overflow-wrap: anywhere; }
details { margin-top: 14px; }
summary { cursor: pointer; color: var(--muted); font-size: 14px; }
summary:hover { color: var(--ink); }
details > :not(summary) { margin-top: 12px; }
table.matrix { width: auto; }
table.matrix td, table.matrix th { padding: 9px 14px; }
table.matrix td { text-align: right; font-variant-numeric: tabular-nums; border: 2px solid var(--surface); }
table.matrix td .aside { display: block; color: inherit; opacity: .75; }
table.matrix td { background: rgba(var(--heat), var(--share)); border-radius: 6px; }
table.matrix thead th { border: 0; text-align: right; max-width: 16ch; overflow-wrap: anywhere; }
table.matrix tbody th { min-width: 0; color: var(--muted); max-width: 20ch; overflow-wrap: anywhere; }
table.matrix tbody tr + tr > * { border-top: 2px solid var(--surface); }
dl.facts { display: grid; grid-template-columns: minmax(110px, max-content) 1fr; gap: 5px 20px; margin: 0; font-size:
14px; } dl.facts dt { color: var(--muted); } dl.facts dd { margin: 0; overflow-wrap: anywhere; } code { font: 13px/1.5
ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; } ul.notes { margin: 0;
padding-left: 20px; color: var(--muted); font-size: 14px; } footer { padding-top: 36px; padding-bottom: 56px; color:
var(--muted); font-size: 13px; } @media (max-width: 640px) {
  main, header.top, footer { padding-left: 16px; padding-right: 16px; }
  header.top { padding-top: 26px; }
  h1 { font-size: 27px; }
}
@media print {
  body { background: #fff; }
  .card, .tile, figure { break-inside: avoid; }
  section { margin-top: 26px; }
}
""")
