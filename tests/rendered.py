"""Rendered pages: what in them could do something, what a reader sees, and what models may write to get at readers."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from nbconvert.filters.markdown_mistune import markdown2html_mistune

from victor_nb.notebook.markdown import sanitise

HARMLESS = set("p a code pre em strong ul ol li h1 h2 h3 h4 h5 h6 blockquote table thead tbody tr th td hr br".split())
HARMLESS |= {"del", "div", "span", "dl", "dt", "dd", "input", "small", "details", "summary"}


_MATHEMATICS = re.compile(
    r"\$\$.*?\$\$|\$.+?\$|\\\(.*?\\\)|\\\[.*?\\\]|\\begin\s*\{.*?\\end\s*\{[^}]*\}|\$|\\[(\[]|\\begin\s*\{", re.DOTALL
)
_HARMFUL = re.compile(
    r"\\(?:href|url|style|class|cssId|require|unicode|html\w*|data|def|let|gdef|edef|newcommand|renewcommand|input|include"
    r"|write|csname|mmlToken|bbox|\w*color|rule|[hv]space|[hmv]?skip|kern|raise|lower|label|tag|ref|eqref|verb|catcode"
    r"|special|enclose|toggle|texttip|mathtip|action|immediate|openin|read)(?![A-Za-z])|\^\^|[#`\n<](?! )"
)


def is_harmless(mathematics: str) -> bool:
    """Return whether what MathJax and LaTeX are given is one closed formula, and does no more than to be seen."""
    inside = mathematics.strip("$")
    braces = re.sub(r"\\\\|\\[{}]", "", inside)
    return (
        mathematics.startswith("$")
        and bool(inside)
        and "$" not in inside
        and braces.count("{") == braces.count("}")
        and _HARMFUL.search(inside) is None
    )


class Page(HTMLParser):
    """A rendered page: what in it could do something, and what a reader would see."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.harm: list[object] = []
        self.text = ""
        self.links: list[str] = []
        self._code = 0
        self._prose = ""
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
        if not self._code:
            self._prose += data

    @property
    def mathematics(self) -> list[str]:
        """What MathJax would typeset, in whatever it finds its marks; a lone mark is in it as well."""
        return [found[0] for found in _MATHEMATICS.finditer(self._prose)]

    def handle_comment(self, data: str) -> None:
        self.harm.append(data)

    def handle_decl(self, decl: str) -> None:
        self.harm.append(decl)

    def handle_pi(self, data: str) -> None:
        self.harm.append(data)

    def unknown_decl(self, data: str) -> None:
        self.harm.append(data)


def page(markdown: str) -> Page:
    """Render Markdown as nbconvert does, which lets HTML through."""
    return Page(markdown2html_mistune(sanitise(markdown)))


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
    *("$x$", "$\\frac{a}{b}$", "$a_1 * b_2$", "$|x|$", "\\frac", "{", "}", "^", "$5", "\n$$\n", "$<b>$", "\\left("),
    *("\\text{a}", "\\require{html}", "\\def\\x{y}", "\\right)", "\\input{/etc/passwd}", "&&"),
    "$\\href{javascript:alert(1)}{x}$",
]
