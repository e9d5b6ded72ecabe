"""What a model may write to take over the page that shows it, and how a page is found unharmed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from nbconvert import HTMLExporter

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

MEGABYTE: Final = 1 << 20
# Each script would set `window.pwned` to a number of its own.
ATTACKS: Final = (
    "<script>window.pwned=1</script>\n\n",
    '<img src=x onerror="window.pwned=2">\n\n',
    "[a link](javascript:window.pwned=3) and <a href='javascript:window.pwned=4'>another</a>\n\n",
    "![an image](x\"onerror=\"window.pwned=5) <svg onload=window.pwned=6> <iframe srcdoc='<script>top.pwned=7'>\n\n",
    "It costs $5 or $6, $x$, $$\\href{javascript:window.pwned=8}{y}$$, \\(\\href{javascript:window.pwned=9}{z}\\)\n\n",
    "<style>.jp-Cell{display:none}</style>\n\n",
    "\x1b[31mred\x1b[0m \x1b]8;;javascript:window.pwned=10\x07click\x1b]8;;\x07\n\n",
    "\u202ereversed\u2066 right\u200fto\u200fleft\n\n",
    "A table:\n\n|a|b|\n|-|-|\n|<script>window.pwned=11</script>|$x$|\n\n",
    "```html\n<script>window.pwned=12</script>\n```\n<script>window.pwned=13</script>\n\n",
    "<div><b>unclosed\n\n",
)
UNCLOSED: Final = "```html\n</code></pre><script>window.pwned=14</script>"
LONG: Final = tuple("0123456789abcdef" * 4096 for _ in range(MEGABYTE // 65536))
# What could act in the outputs of a page; a formula may be shown, and holds no link.
LIVE: Final = """() => [...document.querySelectorAll('.jp-OutputArea-output')].flatMap(output => [
    ...output.querySelectorAll('script, img, svg, iframe, object, embed'),
    ...[...output.querySelectorAll('style')].filter(style => !style.textContent.trim().startsWith('.victor{')),
    ...output.querySelectorAll('mjx-container a, .MathJax a, mjx-container [style*="color"]'),
    ...[...output.querySelectorAll('*')].filter(node => [...node.attributes].some(attribute =>
        attribute.name.startsWith('on') || /^\\s*(javascript|data|vbscript):/i.test(attribute.value))),
]).map(node => node.outerHTML.slice(0, 200))"""
# The page itself, and each output in it: none may reach over the window's edge.
WIDE: Final = """() => [document.documentElement, ...document.querySelectorAll('.jp-OutputArea-output')]
    .map(node => Math.max(node.getBoundingClientRect().right, node === document.documentElement ? node.scrollWidth : 0))
    .filter(right => right > innerWidth + 1)"""
SIGNS: Final = re.compile("[\x1b\u202a-\u202e\u2066-\u2069]")


def assert_unharmed(page: Page) -> None:
    """Fail if anything of an answer has acted on the page, could act, or has broken its layout."""
    assert page.evaluate("() => window.pwned") is None
    assert page.evaluate(LIVE) == []
    assert page.evaluate(WIDE) == []
    assert not SIGNS.search(page.locator("body").inner_text())


def export(notebook: Path) -> Path:
    """Return the page that `jupyter nbconvert --to html` makes of a notebook."""
    text, _ = HTMLExporter().from_filename(str(notebook))
    page = notebook.with_suffix(".html")
    page.write_text(text, encoding="utf-8")
    return page
