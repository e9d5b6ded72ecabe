"""Mathematics in answers: what is plainly TeX is rendered, money and names are not, and nothing harmful ever is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rendered import Page, is_harmless, page
from victor_nb.notebook.markdown import as_html, sanitise
from victor_nb.notebook.tex import formula

if TYPE_CHECKING:
    from decimal import Decimal


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("the area is $\\pi r^2$, for $r$", ["$\\pi r^2$", "$r$"]),
        ("the area is \\(\\pi r^2\\)", ["$\\pi r^2$"]),
        ("so $$a^2$$ is it", ["$a^2$"]),
        ("$E = mc^2$, $f(x)$, $n-1$ and $O(n \\log n)$", ["$E = mc^2$", "$f(x)$", "$n-1$", "$O(n \\log n)$"]),
        ("if $|a| < b$", ["$\\vert a\\vert < b$"]),
        ("**$x_1$** *and* $x^*$ and $a * b$", ["$x_1$", "$x^\\ast$", "$a \\ast b$"]),
        ("for $5, $6 or $x$", ["$x$"]),
        ("$100\\%$ of $\\text{all cases}$", ["$100\\%$", "$\\text{all cases}$"]),
        ("$$\nE = mc^2\n$$", ["$$E = mc^2$$"]),
        ("$$profit = revenue - cost$$", ["$$profit = revenue - cost$$"]),
        ("\\[\n\\int_0^1 x\\,dx\n\\]", ["$$\\int_0^1 x\\,dx$$"]),
        (
            "\\begin{align*}\na &= b \\\\[2pt]\n &= c\n\\end{align*}",
            ["$$\\begin{aligned} a &= b \\\\ &= c \\end{aligned}$$"],
        ),
        (
            "$$\\begin{pmatrix} 1 & 2 \\\\ [3] & 4 \\end{pmatrix}$$",
            ["$$\\begin{pmatrix} 1 & 2 \\\\{} [3] & 4 \\end{pmatrix}$$"],
        ),
        ("| a |\n|---|\n| $p(x|y)$ |", ["$p(x\\vert y)$"]),
        ("- $$x$$\n- $y$", ["$x$", "$y$"]),
    ],
)
def test_when_mathematics_is_plainly_tex_then_it_is_rendered(text: str, seen: list[str]) -> None:
    assert page(text).mathematics == seen
    assert Page(as_html(text)).mathematics == seen
    assert all(map(is_harmless, seen))


@pytest.mark.parametrize(
    "text",
    [
        "$5",
        "$5 and $6",
        "$$ and $$",
        "costs $3-$4",
        "from $5 to $10, or $1.50/$2.00",
        "($5) and ($6)",
        "US$5, A$6, 5$ and 6$, 5$-6$",
        "it was $5M–$10M, $5k/$6k",
        "| $5 | $6 |",
        "|$5|$6|",
        "*$5*, *$6*, **$7**/**$8**",
        "$HOME/bin:$PATH and $HOME/$USER",
        "$user_id, $other_id; ${a}${b} $FOO_BAR$",
        "$1,000,000 - $2,000,000",
        "in $: 5, in $: 6",
        "a $20 bill, a $x off",
        "costs $$ and $$$",
        "$foo bar$ and $the end$",
        "$5 (in 2020) is $6",
        "3$/h,4$/d",
    ],
)
def test_when_dollars_are_money_or_names_then_they_are_no_mathematics(text: str) -> None:
    shown = page(text)
    assert shown.mathematics == []
    assert "".join(re.findall(r"[\d$]", shown.text)) == "".join(re.findall(r"[\d$]", text))
    assert Page(as_html(text)).mathematics == []


@given(
    amounts=st.lists(st.decimals(0, 10**7, places=2), min_size=2, max_size=5),
    between=st.sampled_from([" and ", "-", "/", ", ", " to ", "–", " or ", " vs. ", "; ", " | "]),
    after=st.sampled_from(["", "k", "M", "/day", " each", "%", "."]),
)
def test_when_amounts_of_money_are_listed_then_they_are_no_mathematics(
    amounts: list[Decimal], between: str, after: str
) -> None:
    assert page(between.join(f"${amount:,}{after}" for amount in amounts)).mathematics == []


HARMFUL = [
    *("\\href{javascript:alert(1)}{x}", "\\url{x}", "\\require{html}", "\\class{a}{x}", "\\style{color:red}{x}"),
    *("\\cssId{a}{x}", "\\unicode{65}", "\\htmlClass{a}{x}", "\\data{a=b}{x}", "\\def\\x{y}", "\\newcommand{\\x}{y}"),
    *("\\input{/etc/passwd}", "\\mmlToken{mi}[href='x']{y}", "\\bbox[red]{x}", "\\color{red}{x}", "\\rule{99em}{99em}"),
    *("\\hspace{-9em}", "x^^41", "\\csname href\\endcsname", "\\write18{x}", "\\label{x}", "\\begin{evil}x\\end{evil}"),
    *(
        "\\text{\\href{a}{b}}",
        "{x",
        "x}",
        "\\left( x",
        "\\text{<b>x</b>}",
        "`x`",
        "#1",
        "a & b",
        "5% x",
        "\\HREF{a}{b}",
    ),
    "{" * 40 + "x" + "}" * 40,
]
PIECES_OF_TEX = [*HARMFUL, "\\frac{a}{b}", "x", "{", "}", "\\", "_", "^", " ", "\\text{", "&", "1", "|", "<", "[2em]"]


@pytest.mark.parametrize("source", HARMFUL)
def test_when_mathematics_could_do_more_than_be_seen_then_its_source_is_shown(source: str) -> None:
    for text in (f"so ${source}$ is", f"$${source}$$", f"\\({source}\\)", f"\\[\n{source}\n\\]", f"$y {source} = 1$"):
        assert page(text).mathematics == []
        assert page(text).harm == []
        assert Page(as_html(text)).mathematics == []


@given(st.lists(st.sampled_from(PIECES_OF_TEX)).map("".join))
def test_when_a_formula_is_let_through_then_it_is_harmless_and_stays_as_it_is(source: str) -> None:
    found = formula(source, sure=True)
    if found is not None:
        assert is_harmless(f"${found}$")
        assert formula(found, sure=True) == found


def test_when_mathematics_is_not_closed_then_nothing_is_rendered() -> None:
    assert page("$$ never closed\ntext").mathematics == []
    assert sanitise("$$\\class{a}{x}$$") == "```tex\n$$\\class{a}{x}$$\n```"
    assert sanitise("$$x$$ is nice\n\nso is $$y$$") == "$x$ is nice\n\nso is $y$"


def test_when_a_formula_or_a_table_is_wider_than_its_column_then_it_scrolls_there() -> None:
    scrolls = 'style="overflow:auto hidden"'
    assert f"<p {scrolls}>so <span" in as_html("so $x^2$", narrow=True)
    assert f"<div {scrolls}><table>\n<thead>" in as_html("|a|b|\n|-|-|\n|1|2|", narrow=True)
    assert scrolls not in as_html("so $x^2$\n\n|a|b|\n|-|-|\n|1|2|") + as_html("plain `<table>`", narrow=True)
