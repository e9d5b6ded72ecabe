"""Rendered pages: what in them could do something, what a reader sees, and what models may write to get at readers."""

from __future__ import annotations

import re
from html.parser import HTMLParser

HARMLESS = set("p a code pre em strong ul ol li h1 h2 h3 h4 h5 h6 blockquote table thead tbody tr th td hr br".split())
HARMLESS |= {"del", "div", "span", "dl", "dt", "dd", "input", "small", "details", "summary"}


class Page(HTMLParser):
    """A rendered page: what in it could do something, and what a reader would see."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.harm: list[object] = []
        self.text = ""
        self.links: list[str] = []
        self._code = 0
        self.mathematics: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._code += tag in {"code", "pre"}
        for name, value in attrs:
            if name == "href" and not (value or "").startswith("#"):
                self.links.append(value or "")
                if not re.match(r"(?i)https?://|mailto:", value or ""):
                    self.harm.append((tag, attrs))
            elif name.startswith("on") or name in {"src", "srcset", "action"} or value == "jp-Mermaid":
                self.harm.append((tag, attrs))
        if tag not in HARMLESS:
            self.harm.append((tag, attrs))

    def handle_endtag(self, tag: str) -> None:
        self._code -= tag in {"code", "pre"}

    def handle_data(self, data: str) -> None:
        self.text += data
        if not self._code and re.search(r"\$|\\[(\[]|\\begin\s*\{", data):
            self.mathematics.append(data)

    def handle_comment(self, data: str) -> None:
        self.harm.append(data)

    def handle_decl(self, decl: str) -> None:
        self.harm.append(decl)

    def handle_pi(self, data: str) -> None:
        self.harm.append(data)

    def unknown_decl(self, data: str) -> None:
        self.harm.append(data)


PIECES = [
    *("<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<b>", "</p>", "<!--", "-->", "<?x?>", "<![CDATA["),
    *("<a href='javascript:1'>", "`", "``", "```", "````", "~~~", "~~", "~", "$", "$$", "\\(", "\\)", "\\[", "\\]"),
    *("\\\\(", "\\\\[", "\\begin{a}", "\\end{a}", "\\\\begin{a}", "\\href{javascript:alert(1)}{x}", "mermaid", "\t"),
    *("[x](javascript:alert(1))", "[x](http://a.b)", "![x](http://a.b/c.png)", "[x]: javascript:alert(1)", "[x]", "["),
    *("](", "]", ")", "(", "|", "| a | b |\n|---|---|\n", "\n", "\n\n", "\n    ", "\n- ", "\n1. ", "\n> ", "\n# "),
    *("*", "**", "_", "\\", "&lt;", "&#60;script&#62;", "&", "<", ">", "a", "b c", "5", "http://x.y", "www.a.b"),
    *("https://x.y/<b>", "<http://x.y>", "```mermaid\n", "```html\n", "\n```\n", "\u2028", "\x1b[31m", "\x0c"),
    *("javascript:alert(1)", "ftp://a.b", "data:text/html,<b>", "\n---\n", "\n===\n", "[^1]", "[^1]: <b>", "\n: def"),
    *("`<i>x</i>`", "`a|b`", "\\`", "\\$", "**`", "`**", "a@b.c"),
]
