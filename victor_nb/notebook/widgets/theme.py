"""How widgets look: in the colours of the page that they are on, light or dark, whoever made it."""

from __future__ import annotations

from typing import Final

STYLE: Final = """
.victor {
  --victor-ink: var(--jp-ui-font-color1, var(--vscode-foreground, currentColor));
  --victor-quiet: var(--jp-ui-font-color2, var(--vscode-descriptionForeground, currentColor));
  --victor-line: var(--jp-border-color2, var(--vscode-panel-border, #8886));
  --victor-paper: var(--jp-layout-color1, var(--vscode-editor-background, transparent));
  --victor-shade: var(--jp-layout-color2, var(--vscode-editorWidget-background, #8881));
  --victor-mark: var(--jp-brand-color1, var(--vscode-focusBorder, #1565c0));
  --victor-bad: var(--jp-error-color1, var(--vscode-errorForeground, #c62828));
  --victor-good: var(--jp-success-color1, var(--vscode-testing-iconPassed, #2e7d32));
  color: var(--victor-ink);
}
.victor.widget-box { border: 1px solid var(--victor-line); border-radius: 6px; padding: 10px 12px; max-width: 1100px; }
.victor .widget-box { overflow: visible; flex-wrap: wrap; }
.victor :focus-visible, .victor.victor .jupyter-widgets :is(input, textarea, select, button):focus-visible {
  outline: 2px solid var(--victor-mark) !important; outline-offset: 1px; }
.victor .widget-inline-hbox, .victor .widget-inline-vbox { flex-direction: column; align-items: stretch; width: auto;
  max-width: 100%; margin: 2px 0; }
.victor .widget-label { width: auto; max-width: none; height: auto; line-height: 1.7; margin: 0; text-align: left;
  font-size: 12px; color: var(--victor-quiet); }
.victor .widget-text { width: 190px; }
.victor .widget-text input, .victor .widget-select select,
.victor .widget-dropdown select, .victor .widget-textarea textarea { width: 100%; box-sizing: border-box; margin: 0; }
.victor .widget-select, .victor .widget-dropdown { width: 190px; height: auto; }
.victor .widget-select > select { height: auto; min-height: 0; flex: none; }
.victor .widget-select select { color: var(--victor-ink);
  background: var(--victor-paper); border: 1px solid var(--victor-line); border-radius: 3px; padding: 2px; }
.victor .widget-select option { padding: 2px 6px; }
.victor .widget-toggle-buttons .widget-toggle-button { width: auto; min-width: 64px; box-shadow: none; margin: 0; }
.victor .widget-button { width: auto; min-width: 72px; border-radius: 3px; }
.victor code.victor-words, .victor pre.victor-block { font: inherit; background: none; border: 0; padding: 0; margin: 0;
  color: inherit; white-space: pre-wrap; overflow-wrap: anywhere; }
.victor pre.victor-block { max-height: 28em; overflow: auto; }
.victor .victor-title { font-weight: 600; }
.victor .victor-quiet, .victor code.victor-quiet, .victor pre.victor-quiet { color: var(--victor-quiet); }
.victor .victor-bad, .victor code.victor-bad, .victor pre.victor-bad { color: var(--victor-bad); }
.victor .victor-good, .victor code.victor-good, .victor pre.victor-good { color: var(--victor-good); }
.victor .victor-table { border-collapse: collapse; font-size: 12px; line-height: 1.5; margin: 4px 0; }
.victor .victor-table th, .victor .victor-table td { padding: 2px 10px 2px 0; text-align: left; vertical-align: top;
  border: 0; border-bottom: 1px solid var(--victor-line); background: none; }
.victor .victor-table code.victor-words { white-space: pre; overflow-wrap: normal; }
.victor .victor-table .victor-number { text-align: right; font-variant-numeric: tabular-nums; }
.victor .victor-table tr.victor-chosen td { background: var(--victor-shade); font-weight: 600; }
.victor .victor-unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
.victor pre.victor-code { font-family: var(--jp-code-font-family, monospace); font-size: 12px; user-select: all;
  padding: 4px 8px; background: var(--victor-shade); border-radius: 4px; }
.victor .widget-dropdown > select { height: 28px; flex: none; }
.victor .widget-html-content { line-height: 1.5; }
.victor .widget-html-content p { margin: 4px 0; }
.victor .victor-choices { min-width: 150px; max-height: 14em; overflow-y: auto; flex-wrap: nowrap; padding: 2px; }
.victor .victor-choices .widget-checkbox { width: auto; height: 24px; min-height: 24px; flex: none; margin: 0; }
.victor .victor-choices .widget-label-basic { display: flex; align-items: center; justify-content: flex-start;
  gap: 6px; height: 24px; line-height: 24px; font-size: 13px; color: var(--victor-ink); }
.victor .victor-choices .widget-label-basic > * { flex: none; width: auto; margin: 0 0 0 2px; text-align: left; }
.victor .victor-wide { width: 100%; max-width: none; }
.victor .victor-wide textarea, .victor .victor-wide input { width: 100%; }
.victor .victor-row { align-items: flex-end; gap: 4px 12px; }
.victor .victor-beside { align-items: flex-start; gap: 4px 20px; }
.victor .victor-beside > .widget-html { flex: 1 1 600px; min-width: min(600px, 100%); }
.victor .victor-wider { overflow-x: auto; }
.victor .victor-answers { display: grid; gap: 12px; margin: 8px 0;
  grid-template-columns: repeat(auto-fit, minmax(min(18em, 100%), 1fr)); }
.victor .victor-answer { border-top: 2px solid var(--victor-line); padding-top: 6px; min-width: 0; }
.victor .victor-answer-text { line-height: 1.5; overflow-wrap: anywhere; max-height: 40em; overflow: auto; }
.victor .victor-answer-text code { font-family: var(--jp-code-font-family, monospace);
  background: var(--victor-shade); }
.victor .victor-answer-text pre { white-space: pre-wrap; padding: 6px 8px; margin: 4px 0;
  background: var(--victor-shade); }
.victor .victor-answer-text pre code { background: none; }
.victor .victor-board-head { display: flex; flex-wrap: wrap; align-items: center; gap: 4px 12px; margin: 6px 0; }
.victor .victor-chip { border: 1px solid var(--victor-line); border-radius: 12px; padding: 1px 10px; font-weight: 600; }
.victor .victor-state { white-space: nowrap; }
.victor .victor-state code.victor-words { white-space: nowrap; }
.victor .victor-sign { display: inline-block; min-width: 1.1em; text-align: center; font-weight: 700; }
.victor .victor-mark { color: var(--victor-mark); }
.victor .victor-strong { font-weight: 600; }
.victor .victor-across { container-type: inline-size; overflow-x: auto; }
.victor .victor-meter, .victor .victor-narrow, .victor .victor-amount { height: 6px; border-radius: 3px;
  overflow: hidden; background: var(--victor-shade); margin: 3px 0; min-width: 64px; }
.victor .victor-meter > div, .victor .victor-narrow > div > div { height: 100%; border-radius: 3px;
  background: var(--victor-mark); }
.victor .victor-narrow > div { height: 100%; border-radius: 3px; overflow: hidden; background: var(--victor-line); }
.victor .victor-amount { height: 10px; min-width: 96px; }
.victor .victor-amount > div { height: 100%; border-radius: 3px; background: var(--victor-quiet); opacity: 0.55; }
.victor .victor-own > div { background: var(--victor-mark); opacity: 1; }
.victor .victor-meter-wide { height: 8px; border-radius: 4px; margin: 4px 0 10px; }
.victor table.victor-stages, .victor table.victor-costs { width: 100%; }
.victor table.victor-stages th[scope=row], .victor table.victor-costs th[scope=row] { font-weight: 400; }
.victor table.victor-stages td:nth-child(4) { width: 26%; }
.victor table.victor-costs td:nth-child(2) { width: 36%; }
.victor table.victor-stages th:first-child { padding-left: 8px; }
.victor table.victor-stages tr.victor-now > th { box-shadow: inset 3px 0 var(--victor-mark); }
.victor table.victor-stages tr.victor-now .victor-strong { font-weight: 700; }
.victor .victor-now-says { margin: 6px 0; }
.victor .victor-now-says > div { height: 7.5em; overflow: hidden; display: flex; flex-direction: column-reverse;
  border-left: 3px solid var(--victor-mark); padding-left: 10px; line-height: 1.5; }
.victor .victor-now-says pre.victor-block { margin-bottom: auto; max-height: none; }
.victor .victor-gave > .widget-html { margin: 0; }
.victor .victor-gave > .widget-html > .widget-html-content { line-height: 1.5; }
.victor .victor-board-answer { border-left: 3px solid var(--victor-good); padding-left: 10px; margin: 8px 0; }
.victor .victor-board-answer:not(:has(.victor-answer-text)) { display: none; }
.victor .victor-details { margin: 2px 0; font-size: 12px; line-height: 1.5; }
.victor .victor-details summary { cursor: pointer; padding: 2px 0; }
.victor .victor-details > div { margin: 2px 0 6px 16px; }
.victor .victor-details ol { margin: 2px 0; padding-left: 2em; }
.victor .victor-charts { display: flex; flex-wrap: wrap; gap: 12px; }
.victor .victor-charts figure { margin: 0; flex: 1 1 320px; max-width: 520px; background: #fff; border-radius: 6px;
  padding: 6px; border: 1px solid var(--victor-line); box-sizing: border-box; }
.victor .victor-charts img { width: 100%; height: auto; display: block; }
.victor code.victor-words.victor-title { font-weight: 600; }
.victor .victor-figures { display: flex; flex-wrap: wrap; gap: 4px 28px; margin: 6px 0; }
.victor .victor-figure code.victor-words { display: block; white-space: nowrap; font-size: 11px; line-height: 1.4;
  color: var(--victor-quiet); }
.victor .victor-figure code.victor-figure-said { font-size: 18px; font-weight: 600; color: var(--victor-ink);
  font-variant-numeric: tabular-nums; }
.victor .victor-figure.victor-bad code.victor-words { color: inherit; }
.victor .victor-budget { margin: 6px 0; font-size: 12px; font-variant-numeric: tabular-nums; }
.victor .victor-bar { display: flex; height: 6px; margin-top: 3px; border-radius: 3px; overflow: hidden;
  background: var(--victor-line); }
.victor .victor-bar span { background: var(--victor-mark); }
.victor .victor-bar-high span { background: var(--victor-bad); }
.victor .victor-bar span.victor-bar-held { opacity: .5; }
.victor .victor-controls { gap: 0 12px; }
.victor .victor-scroll { overflow-x: auto; max-width: 100%; margin: 0; }
.victor .victor-listing { width: max-content; min-width: 100%; margin: 0; }
.victor .victor-listing > .widget-html { margin: 0; }
.victor .victor-listing > .widget-html > .widget-html-content { line-height: 1.5; }
.victor pre.victor-calls-head, .victor .victor-calls select { font-family: var(--jp-code-font-family, monospace);
  font-size: 12px; line-height: 1.5; }
.victor pre.victor-calls-head { margin: 4px 0 0; padding: 0 5px; font-weight: 600; color: var(--victor-quiet);
  background: none; white-space: pre; overflow: visible; }
.victor .victor-calls { width: auto; min-width: 100%; margin: 0; }
.victor .victor-calls > label { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
.victor .victor-calls select { width: 100%; min-width: max-content; height: auto !important; padding: 2px 0;
  overflow-x: hidden; color: var(--victor-ink); background-color: var(--victor-paper);
  border: 1px solid var(--victor-line); border-radius: 4px; }
.victor .victor-calls:has(select:empty) { display: none; }
.victor .victor-calls select:focus-visible { outline-offset: -1px; }
.victor .victor-calls option { padding: 1px 4px; min-height: 0; white-space: pre; direction: ltr;
  unicode-bidi: bidi-override; }
.victor .victor-calls option[data-value^="%C3%97"], .victor .victor-calls option[data-value^="!"] {
  color: var(--victor-bad); }
.victor .victor-calls option[data-value^="%E2%97%8B"] { color: var(--victor-mark); }
.victor .victor-detail { border-left: 3px solid var(--victor-mark); padding: 2px 0 2px 12px; margin: 6px 0; }
.victor pre.victor-error { padding: 2px 0; word-break: normal; }
.victor .victor-facts { display: grid; gap: 2px 20px; margin: 6px 0; font-size: 12px; line-height: 1.5;
  grid-template-columns: repeat(auto-fill, minmax(min(24em, 100%), 1fr)); }
.victor .victor-facts > div { display: flex; gap: 8px; min-width: 0; }
.victor .victor-facts code.victor-words { min-width: 0; }
.victor .victor-facts code.victor-words:first-child { flex: 0 0 9.5em; color: var(--victor-quiet); }
.victor details > summary { cursor: pointer; }
@container (max-width: 560px) {
  .victor table.victor-stages thead { position: absolute; width: 1px; height: 1px; overflow: hidden;
    clip-path: inset(50%); }
  .victor table.victor-stages tr { display: grid; grid-template-columns: 1.2fr 1fr 1fr; padding: 4px 0;
    border-bottom: 1px solid var(--victor-line); }
  .victor table.victor-costs tr { display: grid; grid-template-columns: 1fr auto; padding: 4px 0;
    border-bottom: 1px solid var(--victor-line); }
  .victor table.victor-stages tr > *, .victor table.victor-costs tr > * { border-bottom: 0; width: auto !important;
    min-width: 0; }
  .victor table.victor-stages th[scope=row] { padding-left: 8px; }
  .victor table.victor-stages td:nth-child(4) { grid-area: 1 / 3; }
  .victor table.victor-stages td:nth-child(2) { grid-area: 1 / 2; }
  .victor table.victor-stages td:nth-child(3) { grid-area: 2 / 1; padding-left: 8px; }
  .victor table.victor-stages td:nth-child(5) { grid-area: 2 / 2; }
  .victor table.victor-stages td:nth-child(6) { grid-area: 2 / 3; }
  .victor table.victor-stages tr { row-gap: 2px; }
  .victor table.victor-stages td:nth-child(3) > code::before { content: "calls "; }
  .victor table.victor-stages td:nth-child(4) > code:not(:empty)::before { content: "items "; }
  .victor table.victor-costs th[scope=row] { grid-area: 1 / 1; }
  .victor table.victor-costs td:nth-child(3) { grid-area: 1 / 2; }
  .victor table.victor-costs td:nth-child(2) { grid-area: 2 / 1 / 2 / 3; }
  .victor table.victor-costs td:nth-child(4) { grid-area: 3 / 1 / 3 / 3; }
  .victor .victor-table code.victor-words { white-space: pre-wrap; overflow-wrap: anywhere; }
}
.victor-twin.victor code.victor-words, .victor-twin.victor pre code { background: none; padding: 0; }
.victor-twin.victor pre.victor-block { word-break: normal; }
.victor-twin.victor table.victor-table { table-layout: auto; margin: 4px 0; }
.victor-twin.victor table.victor-table tr { background: none; }
.victor-twin.victor table.victor-table th, .victor-twin.victor table.victor-table td { text-align: left;
  line-height: 1.5; vertical-align: top; padding: 2px 10px 2px 0; border-bottom: 1px solid var(--victor-line); }
.victor-twin.victor table.victor-table .victor-number { text-align: right; }
.victor-twin.victor table.victor-stages th:first-child { padding-left: 8px; }
"""
"""Every class of ours begins with `victor`; colours are those of JupyterLab, else of VS Code, else plain ones."""
