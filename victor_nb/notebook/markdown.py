r"""A model's Markdown, made safe to render: no HTML, no foreign links, no images, only harmless mathematics.

Escaping is not enough, since Markdown readers disagree about what is code: JupyterLab takes one view, nbconvert
another, and what the one shows as code the other may run. So code blocks are written anew in the one form that all read
alike, and every inline code span must be harmless even where a reader takes it for text. Mathematics is written anew by
`tex`, between dollar signs on one line; no other dollar sign, backslash or code span can be taken for it: MathJax turns
`\href{javascript:...}` into a link, and "costs $5 or $6" into italics.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from html import escape as escape_html
from html import unescape
from itertools import pairwise
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import quote

from victor_nb.notebook.tex import formula
from victor_nb.tables import Html, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from markdown_it import MarkdownIt
    from markdown_it.rules_core import StateCore
    from markdown_it.rules_inline import StateInline
    from markdown_it.token import Token

Bundle: TypeAlias = "Mapping[str, str]"
"""What a cell shows, by MIME type."""

MOST_SHOWN: Final = 100_000
"""Characters; a browser takes more badly, and the reply keeps them all."""

_JOINER: Final = "\u2060"  # has no width; keeps apart what together would mean something

_ESCAPES: Final = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours, cursor
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # titles, hyperlinks
    r"|\x1b[ -/]*[0-~]?"
)
_UNSEEN: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f"
    "\u200b\u202a-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_BREAKS: Final = re.compile("\r\n?|\x85|[\u2028\u2029]")

# Of what may come in long runs, `+` behind a quantifier keeps what it has taken: to give it back, one by one, from each
# place of the run takes seconds where an answer is 20 kB of it.
FENCE: Final = re.compile(r"(?P<indent>[ \t]*)(?P<mark>`{3,}+|~{3,}+)[ \t]*+(?P<info>[^`]*)$")
_MATH: Final = re.compile(r"[ \t]*(\$\$|\\\[|\\begin\{)")
_MATH_ENDS: Final = {
    "$$": re.compile(r"\$\$[ \t]*$"),
    "\\[": re.compile(r"\\\][ \t]*$"),
    "\\begin{": re.compile(r"\\end\{[^}]{0,40}\}[ \t]*$"),
}
_LONGEST_MATH: Final = 60  # lines
_RENDERED_INFO: Final = ("mermaid", "math", "geojson", "topojson", "stl", "html5")
"""What some reader draws, or runs, instead of showing it."""

_PREFIX: Final = re.compile(r"(?:[ ]{0,3}>[ ]?)*[ \t]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+(?:\[[ xX]\][ ])?)?")

_TEXT_TOKENS: Final = r"""
    (?P<bracket>(?<!\\)\\++[()\[\]])
  | (?P<tex>(?<!\\)\\++(?=(?:begin|end|ref|eqref|href|url|style|class|cssId|require|unicode|html\w*)\b))
  | \\(?P<escaped>[!-/:-@\[-`{-~])
  | (?P<backslash>\\(?!$))
  | (?P<address>(?i:https?://|www\.)[^\s<>"'`|\\^{}\[\]$*]{0,2000}[^\s<>"'`|\\^{}\[\]$*.,;:!?()&_~])
  | (?P<scheme>(?i:ftp|xmpp)(?=:))
  | (?P<dollar>\$(?:\w+(?:[.,:/-]\w+)*)?%?)
  | (?P<tildes>~+)
  | (?P<special>[&<>`\[\]])
"""
_TEXT: Final = re.compile(_TEXT_TOKENS, re.VERBOSE)
_INLINE: Final = re.compile(
    r"""
    (?P<code>(?<![\\`])(?P<ticks>`++)[^\n]{1,1000}?(?<!`)(?P=ticks)(?!`))
  | (?P<link>(?P<image>!)?\[(?P<label>[^\[\]\n]{0,500})\]
        \([ \t]*+<?(?P<url>[^()\s<>]{0,2000}(?:\([^()\s<>]{0,500}\)[^()\s<>]{0,500}){0,9})>?
        (?:[ \t]++(?:"[^"\n]{0,500}"|'[^'\n]{0,500}'))?[ \t]*+\))
  | (?P<math>\\\([^\n]{1,500}?\\\)|\\\[[^\n]{1,500}?\\\]
        |\$\$[^$\n]{1,500}\$\$|(?<![\w$\\])\$(?![\s$])[^$\n]{1,300}(?<![\s\\])\$(?![\w${]))
  |"""
    + _TEXT_TOKENS,
    re.VERBOSE,
)
_DANGEROUS_IN_CODE: Final = re.compile(
    r"<[A-Za-z/!?]|\][(\[:]|\$\$|\\\\[(\[]|\\(?:begin|href|url|style|class|cssId|require|html)|(?i:javascript|vbscript|data):"
)
_IN_ADDRESS: Final = "/:?#@!&+,;=%~-._"
_SEEN_END: Final = re.compile(r"[.,;:!?)]*(?:\s|$)")
_ALLOWED: Final = re.compile(r"(?i)https?://[^\s/]|mailto:[^\s/]")
_ENTITIES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "`": "&#96;", "[": "&#91;", "]": "&#93;", "\\": "&#92;"}


def clean(text: str) -> str:
    """Return a text without what a terminal or a page obeys instead of showing: colours, overrides, half characters."""
    text = _ESCAPES.sub("", text)
    text = _BREAKS.sub("\n", text)
    return _SURROGATE.sub("\ufffd", _UNSEEN.sub("", text))


@dataclass(frozen=True, slots=True)
class Shown:
    """An answer to look at; `markdown` is None where only plain text will do."""

    markdown: str | None
    plain: str


def as_markdown(text: str) -> Shown:
    """Return an answer as Markdown, cut to what can be displayed."""
    short = text if len(text) <= MOST_SHOWN else shorten(text)
    return Shown(sanitise(short), clean(short))


def shorten(text: str) -> str:
    """Return a text that can be displayed whole: a longer one is cut, with a note at its end."""
    if len(text) <= MOST_SHOWN:
        return text
    note = f"[The display ends here: {MOST_SHOWN:,} of {len(text):,} characters. The reply has all.]"
    return f"{text[:MOST_SHOWN]}\n\n{note}"


def sanitise(text: str) -> str:
    """Return Markdown that JupyterLab, nbconvert and GitHub render as the same harmless page.

    HTML is escaped; links lead to http, https and mailto only; images become links; mathematics that is not plainly
    harmless is shown as source; every code block is closed.
    """
    return "\n".join(_blocks(clean(text).split("\n"))).strip("\n")


def as_html(text: str, *, narrow: bool = False) -> Html:
    """Return a model's Markdown as HTML, made harmless as `sanitise` does it; none of its own HTML is let through.

    Args:
        text: The Markdown.
        narrow: Whether it stands in a column: small headings, words and code that wrap, the rest scrolls.
    """
    html = _reader(narrow=narrow).render(sanitise(text))
    if narrow:
        for plain, fit in _NARROW.items():
            html = html.replace(plain, fit)
        html = _EMPTY_LINE.sub(r"\1&#10;", html)
    return Html(html)


def words_of(text: str) -> str:
    """Return the words of a model's Markdown on one line, without its marks."""
    return " ".join(unescape(re.sub("<[^>]*>", " ", as_html(text))).replace(_JOINER, "").split())


def line_html(text: str) -> Html:
    """Return a line of ours as HTML, every mark of it inert."""
    return Html(_reader(narrow=False).renderInline(escape(text)))


@cache
def _reader(*, narrow: bool) -> MarkdownIt:
    from markdown_it import MarkdownIt  # noqa: PLC0415 - only side by side and in widgets are answers HTML

    reader = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    reader.disable(["image", "html_inline", "html_block"])
    reader.validateLink = lambda url: _ALLOWED.match(url) is not None
    if narrow:
        reader.core.ruler.push("narrow", _narrow)
    reader.inline.ruler.before("escape", "math", _read_math)
    reader.add_render_rule("math", _render_math)
    return reader


def _read_math(state: StateInline, silent: bool) -> bool:  # noqa: FBT001 - markdown-it's own signature
    """Take a formula that `sanitise` has let through, as it is."""
    found = _FORMULA.match(state.src, state.pos)
    if found is None or formula(found[2], sure=True) is None:
        return False
    if not silent:
        state.push("math", "span", 0).content = found[0]
    state.pos = found.end()
    return True


def _render_math(_: object, tokens: Sequence[Token], place: int, *__: object) -> str:
    # MathJax 3 and 4 read the one class, MathJax 2 the other: what is around it, both leave alone.
    return f'<span class="mathjax_process tex2jax_process">{escape_html(tokens[place].content)}</span>'


# To a reader of Markdown, such as of what nbconvert makes, HTML ends at an empty line.
_EMPTY_LINE: Final = re.compile(r"(?<=\n)([ \t]*)\n")
_SCROLLS: Final = "overflow:auto hidden"
# `wrap` does the same as the style, where styles are dropped.
_NARROW: Final = {
    "<pre>": '<pre wrap style="margin:0 0 8px;white-space:pre-wrap;word-break:normal;overflow-wrap:anywhere">',
    "<table>": f'<div style="{_SCROLLS}"><table>',
    "</table>": "</table></div>",
}


def _narrow(state: StateCore) -> None:
    """Fit what markdown-it has read into a column of a table whose cells a front end may align to the right."""
    for before, token in pairwise(state.tokens):
        # A formula does not wrap, and would lie over the column beside it.
        if before.type == "paragraph_open" and any(part.type == "math" for part in token.children or ()):
            before.attrSet("style", _SCROLLS)
    for token in state.tokens:
        if token.type in {"heading_open", "heading_close"}:
            token.tag = f"h{min(6, int(token.tag[1]) + 3)}"
        if token.type in {"th_open", "td_open"}:
            token.attrSet("style", f"{token.attrs.get('style', 'text-align:left')};overflow-wrap:break-word")


def fence(code: str, info: str = "") -> str:
    """Return a code block that all readers take for one, whatever it holds."""
    longest = max((len(run) for run in re.findall(r"`+", code)), default=0)
    mark = "`" * max(3, longest + 1)
    return f"{mark}{_info(info)}\n{code}\n{mark}"


def escape(text: str) -> str:
    """Return a line of ours as Markdown text, every mark of it inert."""
    # An underscore inside a word is one; an arrow is no tag, and may stay an arrow.
    text = _inline(clean(text), _LABEL).replace("-&gt;", "->")
    return re.sub(r"[*~]|(?<!\w)_|_(?!\w)", lambda mark: f"&#{ord(mark[0])};", text)


def _info(info: str) -> str:
    word = re.match(r"[\w+#.-]{0,30}", info.strip())
    name = word[0] if word else ""
    return "text" if name.lower().startswith(_RENDERED_INFO) else name


# --- blocks ---


def _blocks(lines: list[str]) -> Iterator[str]:
    """Give the lines of a text back, its code and its mathematics as blocks of their own."""
    place = 0
    while place < len(lines):
        start, line = place, lines[place]
        opening = FENCE.match(line)
        if opening is not None:
            code, place = _fenced(lines, start + 1, opening)
            yield _apart(lines, start, place, fence(code, opening["info"]))
        elif (math := _MATH.match(line)) and (end := _end_of_math(lines, start, math)) is not None:
            place = end
            yield _apart(lines, start, end, _displayed("\n".join(lines[start:end])))
        else:
            prefix = _PREFIX.match(line)
            text = prefix.end() if prefix else 0
            yield line[:text] + _inline(line[text:], _INLINE)
            place += 1


def _displayed(block: str) -> str:
    """Return mathematics on lines of its own, or its source where it may not be rendered."""
    indent, math = block[: len(block) - len(block.lstrip())], block.strip()
    mark, inside = ("", math) if math.startswith("\\begin") else _delimited(math)
    # `$$ and $$` speaks of prices.
    found = formula(inside, sure=mark != "\\[" and not re.fullmatch(r"[ ][a-z ,]+[ ]", inside))
    return fence(block, "tex") if found is None else f"{indent}$${found}$$"


def _apart(lines: list[str], start: int, end: int, block: str) -> str:
    """Return a block with an empty line on each side."""
    before = "\n" if start and lines[start - 1].strip() else ""
    after = "\n" if end < len(lines) and lines[end].strip() else ""
    return f"{before}{block}{after}"


def _fenced(lines: list[str], start: int, opening: re.Match[str]) -> tuple[str, int]:
    """Return the content of a code block, and where the text goes on; an unclosed block reaches to the end."""
    closing = re.compile(rf"[ \t]*{re.escape(opening['mark'][0])}{{{len(opening['mark'])},}}[ \t]*$")
    indent = re.compile(rf"[ \t]{{0,{len(opening['indent'])}}}")
    content: list[str] = []
    for place in range(start, len(lines)):
        if closing.match(lines[place]):
            return "\n".join(content), place + 1
        content.append(indent.sub("", lines[place], count=1))
    return "\n".join(content), len(lines)


def code_blocks(text: str) -> Iterator[tuple[str, str]]:
    """Yield the language and the content of every code block of an answer."""
    lines, place = clean(text).split("\n"), 0
    while place < len(lines):
        opening = FENCE.match(lines[place])
        place += 1
        if opening is not None:
            code, place = _fenced(lines, place, opening)
            yield opening["info"], code


def _end_of_math(lines: list[str], start: int, opening: re.Match[str]) -> int | None:
    """Return where displayed mathematics ends that opens in this line; None where it does not."""
    closing = _MATH_ENDS[opening[1]]
    if closing.search(lines[start], opening.end()):
        return start + 1
    if opening[1] in lines[start][opening.end() :]:
        return None
    for place in range(start + 1, min(start + _LONGEST_MATH, len(lines))):
        if closing.search(lines[place]):
            return place + 1
    return None


# --- lines ---


def _inline(line: str, tokens: re.Pattern[str]) -> str:
    """Return a line with every token that means something replaced by what is safe."""
    pieces: list[str] = []
    end = 0
    for match in tokens.finditer(line):
        before, shown = line[end : match.start()], _HANDLERS[match.lastgroup or ""](match)
        # Two code spans side by side would read as one.
        touching = shown.startswith("`") and not before and pieces and pieces[-1].endswith("`")
        pieces += (before, _JOINER if touching else "", shown)
        end = match.end()
    pieces.append(line[end:])
    return "".join(pieces)


def _code(match: re.Match[str]) -> str:
    ticks = match["ticks"]
    content = match["code"][len(ticks) : -len(ticks)]
    return _span(content) or f"&#96;{_inline(content, _TEXT)}&#96;"


def _math(match: re.Match[str]) -> str:
    mark, inside = _delimited(match["math"])
    # In Markdown, brackets are also escaped: `\\[1\\]`.
    found = None if mark == "\\[" and re.fullmatch(r"[\w\s]*", inside) else formula(inside)
    if found is not None:
        return f"${found}$"
    if mark in {"$", "$$"} and not re.search(r"[\\^_]", inside):
        return _inline(match["math"], _TEXT)
    content = f"${inside}$" if mark == "$$" else match["math"]
    return _span(content) or _inline(content, _TEXT)


def _delimited(math: str) -> tuple[str, str]:
    """Return the mark at the beginning of mathematics, and what is between it and the one at the end."""
    mark = math[:2] if math[:2] in {"$$", "\\[", "\\("} else "$"
    return mark, math[len(mark) : -len(mark)]


def _span(content: str) -> str | None:
    """Return an inline code span; None where a reader that takes it for text would run it."""
    if _DANGEROUS_IN_CODE.search(content):
        return None
    if "`" not in content:
        return f"`{content}`"
    mark = "`" * (max(len(run) for run in re.findall(r"`+", content)) + 1)
    return f"{mark} {content.strip()} {mark}"


def _link(match: re.Match[str]) -> str:
    label = _inline(match["label"].replace("$", "\uff04").replace("\\", ""), _LABEL)
    url = unescape(match["url"])
    address = quote(url, safe=_IN_ADDRESS) if _ALLOWED.match(url) else None
    label = label or (_inline(address, _LABEL) if address else "")
    if match["image"]:
        label = f"image: {label}"
    return f"[{label}]({address})" if address else label


def _bare_address(match: re.Match[str]) -> str:
    """Return an address as it is where all readers see its end, else as a link."""
    shown = match[0]
    if match.re is _INLINE and _SEEN_END.match(match.string, match.end()):
        return shown
    address = f"http://{shown}" if shown[:4].lower() == "www." else shown
    return f"[{escape(shown)}]({quote(unescape(address), safe=_IN_ADDRESS)})"


def _dollar(match: re.Match[str]) -> str:
    return f"`{match['dollar']}`"


def _escaped(match: re.Match[str]) -> str:
    mark = match["escaped"]
    return "`$`" if mark == "$" else _ENTITIES.get(mark, match[0])


def _bracket(match: re.Match[str]) -> str:
    *slashes, bracket = match["bracket"]
    return _ENTITIES["\\"] * len(slashes) + _JOINER + _ENTITIES.get(bracket, bracket)


_FORMULA: Final = re.compile(r"(\$\$?)([^$\n]+)\1")
_LABEL: Final = re.compile(
    r"(?P<bracket>(?<!\\)\\++[()\[\]])|(?P<tex>(?<!\\)\\++(?=begin|end))|(?P<backslash>\\)|(?P<dollar>\$)|(?P<special>[&<>`\[\]])"
)
_HANDLERS: Final[dict[str, Callable[[re.Match[str]], str]]] = {
    "code": _code,
    "link": _link,
    "math": _math,
    "bracket": _bracket,
    "tex": lambda match: _ENTITIES["\\"] * len(match[0]) + _JOINER,
    "escaped": _escaped,
    "backslash": lambda _: _ENTITIES["\\"],
    "address": _bare_address,
    "scheme": lambda match: f"{match[0]}{_JOINER}",
    "dollar": _dollar,
    "tildes": lambda match: "&#126;" * len(match[0]),
    "special": lambda match: _ENTITIES[match[0]],
}


def notice(text: str) -> Bundle:
    """Return a line of ours as a frame."""
    return {"text/markdown": escape(text), "text/plain": clean(text)}


def stack(*frames: Bundle) -> Bundle:
    """Return frames in both forms as one, below each other; an empty one takes no room."""
    return {
        mime: "\n\n".join(frame[mime] for frame in frames if frame[mime]) for mime in ("text/markdown", "text/plain")
    }


def frame(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    above: str = "",
    below: str = "",
    numbers: Collection[str] = (),
) -> Bundle:
    """Return a table of ours as a frame, with a line above and one below: Markdown, and plain text.

    Args:
        columns: The names over the columns.
        rows: The cells; texts of others among them are made harmless.
        above: A line over the table.
        below: A line under it.
        numbers: The columns that are aligned to the right.
    """
    safe = [[escape(str(cell)) for cell in row] for row in rows]
    marked = Table([escape(name) for name in columns], safe, [escape(name) for name in numbers]).markdown()
    plain = clean(Table(columns, rows, numbers).plain())
    table = {"text/markdown": marked, "text/plain": plain} if rows else notice("")
    return stack(notice(above), table, notice(below))
