r"""Mathematics in a model's answer: what is plainly TeX and harmless is rendered, all else is shown as its source.

A list of what is allowed, not of what is not: MathJax makes links of `\href`, attributes of `\mmlToken` and `\style`,
and loads more with `\require`; `\def` and `\rule` change what stands around a formula; LaTeX reads files by `\input`.
"""

from __future__ import annotations

import re
from typing import Final

_LONGEST: Final = 2_000  # characters
_DEEPEST: Final = 16  # braces in braces

_WORDS: Final = frozenset(
    # letters
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi pi varpi rho varrho "
    "sigma varsigma tau upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega "
    "ell hbar imath jmath Re Im aleph wp partial nabla infty emptyset varnothing "
    # operators and relations
    "pm mp times div cdot ast star circ bullet oplus ominus otimes odot cap cup uplus sqcap sqcup setminus wedge vee "
    "land lor lnot neg amalg dagger le leq leqslant ge geq geqslant ne neq ll gg approx equiv sim simeq cong propto "
    "asymp doteq prec preceq succ succeq in ni notin subset subseteq subsetneq supset supseteq mid nmid parallel perp "
    "vdash dashv models forall exists nexists therefore because not colon triangleq "
    # arrows
    "to gets leftarrow rightarrow leftrightarrow Leftarrow Rightarrow Leftrightarrow longleftarrow longrightarrow "
    "longleftrightarrow Longleftarrow Longrightarrow Longleftrightarrow mapsto longmapsto hookrightarrow hookleftarrow "
    "uparrow downarrow updownarrow nearrow searrow rightleftharpoons implies impliedby iff xrightarrow xleftarrow "
    # large ones, and fractions
    "sum prod coprod int iint iiint oint bigcap bigcup bigoplus bigotimes bigwedge bigvee frac dfrac tfrac cfrac sqrt "
    "binom dbinom tbinom substack limits nolimits "
    # functions
    "sin cos tan cot sec csc sinh cosh tanh coth arcsin arccos arctan exp log ln lg lim limsup liminf max min sup inf "
    "arg det dim ker hom deg gcd Pr bmod pmod mod "
    # around something
    "left right middle big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr Biggl Biggr lfloor rfloor lceil rceil langle "
    "rangle lvert rvert lVert rVert vert Vert lbrace rbrace lbrack rbrack backslash hat widehat bar overline underline "
    "tilde widetilde vec dot ddot overrightarrow overleftarrow overbrace underbrace overset underset stackrel boxed "
    "check breve acute grave mathring prime "
    # letters of another kind, and space
    "mathbb mathbf mathcal mathfrak mathit mathrm mathsf mathtt mathscr boldsymbol mathop mathbin mathrel "
    "displaystyle textstyle scriptstyle quad qquad dots ldots cdots vdots ddots dotsc dotsb "
    "triangle square diamond angle checkmark blacksquare degree".split()
)
_INSIDE: Final = frozenset(
    "matrix pmatrix bmatrix Bmatrix vmatrix Vmatrix smallmatrix cases array aligned gathered split".split()
)
_ALONE: Final = {"align": "aligned", "gather": "gathered", "equation": "", "displaymath": "", "math": ""}
"""Environments that are displayed mathematics by themselves, and what they are within `$$`."""

_WORD_RUN: Final = "sin cos tan log ln exp lim max min mod det gcd dim".split()  # not three letters side by side
_SIGNS: Final = "\u00ac\u00b0-\u00b3\u00b7\u00b9\u00d7\u00f7\u0370-\u03ff\u2032-\u2034\u2070-\u209c\u2190-\u22ff"
_TOKEN: Final = re.compile(
    rf"""
    (?P<words>\\(?:text|textrm|textbf|textit|mathrm|operatorname\*?)\{{[^{{}}\\$`<>\x00-\x1f#%&~^_"]*\}})
  | (?P<edge>\\(?P<which>begin|end)\{{(?P<name>[A-Za-z]+)\*?\}}(?P<spec>\{{[lcr| ]*\}})?)
  | (?P<command>\\[A-Za-z]+)
  | (?P<newline>\\\\(?:\s*\[-?[\d.]+\s*(?:pt|em|ex|mm|cm)\])?)
  | (?P<mark>\\[,;:!{{}}%|\ ])
  | (?P<open>\{{) | (?P<close>\}})
  | (?P<raised>[\^_])
  | (?P<letters>[A-Za-z]+)
  | (?P<bar>\|) | (?P<star>\*) | (?P<less><) | (?P<tilde>~) | (?P<and>&)
  | (?P<plain>[0-9\-+/=>()\[\],.;:!?'\s{_SIGNS}])
    """,
    re.VERBOSE,
)
_REWRITTEN: Final = {"bar": r"\vert ", "star": r"\ast ", "less": " < ", "tilde": r"\ ", "newline": r"\\ "}
"""What Markdown, HTML or a table would take for its own, and line ends with a length."""

_BEGINS_BADLY: Final = re.compile(r"[,.;:!?)\]{}/=]")
_ENDS_BADLY: Final = re.compile(r"[-+/=<>(\[{,;:^_]$|(?<![\^_])\*$")
_BETWEEN_WORDS: Final = re.compile(r"(?<=\s)[A-Za-z]{2,}(?=\s)|^[A-Za-z]{2,}\s|\s[A-Za-z]{2,}$|[A-Za-z]{3,}")


def formula(source: str, *, sure: bool = False) -> str | None:
    r"""Return the inside of a formula as every reader of Markdown and TeX takes it; None where it is not plainly one.

    Args:
        source: What stands between the delimiters, or an environment such as `\begin{align}`.
        sure: Whether the delimiters leave no doubt that it is mathematics and not, say, money.
    """
    source = source.strip()
    alone = re.fullmatch(r"\\begin\{(\w+)\*?\}(.*)\\end\{\1\*?\}", source, re.DOTALL)
    if alone and alone[1] in _ALONE:
        inner = _ALONE[alone[1]]
        source = rf"\begin{{{inner}}}{alone[2]}\end{{{inner}}}" if inner else alone[2].strip()
    if not 0 < len(source) <= _LONGEST:
        return None
    written = _written(source)
    if written is None or not (sure or _is_plainly_one(source)):
        return None
    return " ".join(written.split())


def _written(source: str) -> str | None:
    """Return a formula written anew from what is allowed; None where anything else is in it."""
    pieces: list[str] = []
    nesting, place = _Nesting(), 0
    while place < len(source):
        token = _TOKEN.match(source, place)
        if token is None:
            return None
        # The last group of an environment is one inside it.
        kind = "edge" if token["edge"] else token.lastgroup or ""
        if not nesting.takes(kind, token):
            return None
        pieces.append(_REWRITTEN.get(kind, token[0].replace("|", "") if kind == "edge" else token[0]))
        place = token.end()
    # A bracket behind a line end would be taken for a length.
    return re.sub(r"\\\\(?=\s*\[)", r"\\\\{}", "".join(pieces)) if nesting.is_closed() else None


class _Nesting:
    """What is open at one place of a formula."""

    def __init__(self) -> None:
        self._braces = self._fences = 0
        self._environments: list[str] = []
        self._raised = False

    def takes(self, kind: str, token: re.Match[str]) -> bool:
        """Go on behind a token; return whether it may be there."""
        was_raised, self._raised = self._raised, kind == "raised"
        match kind:
            case "raised":  # TeX reads `^^41` as a letter
                return not was_raised
            case "and":
                return bool(self._environments)
            case "edge" if token["which"] == "begin":
                self._environments.append(token["name"])
                return token["name"] in _INSIDE and len(self._environments) <= _DEEPEST
            case "edge":
                return bool(self._environments) and self._environments.pop() == token["name"]
            case "command":
                self._fences += {r"\left": 1, r"\right": -1}.get(token[0], 0)
                return token[0][1:] in _WORDS and 0 <= self._fences <= _DEEPEST
            case _:
                self._braces += {"open": 1, "close": -1}.get(kind, 0)
                return 0 <= self._braces <= _DEEPEST

    def is_closed(self) -> bool:
        """Return whether nothing is open any more."""
        return not (self._braces or self._fences or self._environments or self._raised)


def _is_plainly_one(source: str) -> bool:
    """Return whether this between two dollar signs is mathematics; `5 and ` is not, nor is `HOME/`."""
    if _BEGINS_BADLY.match(source) or _ENDS_BADLY.search(source) or "**" in source:
        return False
    if any(source.count(one) != source.count(other) for one, other in ("()", "[]")):
        return False
    if source.endswith("|") and source.count("|") % 2:
        return False
    if re.search(r"\\[A-Za-z]|[\^_]\{", source):
        return True
    words = re.sub(rf"\b(?:{'|'.join(_WORD_RUN)})\b", "", source)
    return not _BETWEEN_WORDS.search(words) or re.fullmatch(r"[A-Z]{3}|[A-Za-z]{2}", source) is not None
