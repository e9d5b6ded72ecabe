"""What a prompt takes from the notebook, and what it leaves exactly as it was typed."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import json
import os
import random
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from victor_nb.config.secret import Secret
from victor_nb.errors import ConnectError, PromptError, SecretError
from victor_nb.money import Total
from victor_nb.templates import render
from victor_nb.values import Reply, Usage
from victor_nb.workflows.fan_out import Entry, Replies
from victor_nb.workflows.runs import StageResult, StrategyRun


class Fruit(pydantic.BaseModel):
    """A pydantic model of a user."""

    name: str
    grams: int = 1


class Colour(enum.Enum):
    """An enumeration of a user."""

    RED = "red"


@dataclasses.dataclass
class Point:
    """A dataclass of a user."""

    x: int = 1


def shown(prompt: str, **names: object) -> str:
    """Return what is sent."""
    return render(prompt, names).text


def refusal(prompt: str, **names: object) -> str:
    """Return what a prompt that cannot be sent is told."""
    with pytest.raises(PromptError) as caught:
        render(prompt, names)
    told = str(caught.value)
    assert "\n" not in told
    assert len(told) < 260
    return told


def reply(content: str) -> Reply:
    """Return a reply with a content."""
    return Reply(
        content=content,
        usage=Usage(),
        cost=None,
        billed=None,
        profile="fast",
        provider="openai",
        model="m",
        model_served=None,
        latency=0.0,
        ttft=None,
        finish_reason="stop",
        attempts=1,
        mode="live",
        request_id=None,
    )


# --- the five forms ---


def test_when_a_name_is_given_then_its_value_is_inserted() -> None:
    rendered = render("a {{ x }} b {{x}} c", {"x": "V"})
    assert rendered.text == "a V b V c"
    assert rendered.inserted == (("{{ x }}", 1), ("{{x}}", 1))


@pytest.mark.parametrize(
    ("prompt", "sent"),
    [
        ("{{ p.x }}", "7"),
        ("{{ p.deep.y }}", "8"),
        ("{{ d['a b'] }}", "9"),
        ('{{ d["a b"] }}', "9"),
        ("{{ l[0] }}{{ l[-1] }}", "13"),
        ("{{ d['l'][1] }}", "5"),
        ("{{ p.d['k'].y }}", "10"),
        ("{{ l | json }}", "[1, 2, 3]"),
        ("{{l|json}}", "[1, 2, 3]"),
        ("{{ l | head(2) }}", "[1, 2]"),
        ("{{ l | head( 2 ) }}", "[1, 2]"),
        ('{"a": {{ l }}}', '{"a": [1, 2, 3]}'),
        ("{{ größe }}", "3"),
        ("{{ a-b }} {{ a-b | json }}", '9 "9"'),
        ("{{ b-1 }} {{ c-d }}", "{{ b-1 }} {{ c-d }}"),
    ],
)
def test_when_a_form_is_recognised_then_it_is_replaced(prompt: str, sent: str) -> None:
    names = {
        "p": SimpleNamespace(x=7, deep=SimpleNamespace(y=8), d={"k": SimpleNamespace(y=10)}),
        "d": {"a b": 9, "l": [4, 5]},
        "l": [1, 2, 3],
        "größe": 3,
        "a-b": "9",
    }
    assert render(prompt, names).text == sent


def test_when_a_value_holds_placeholders_then_they_are_not_read_again() -> None:
    assert shown("{{ x }}", x="{{ y }} {{ os.environ }} {x}", y="no") == "{{ y }} {{ os.environ }} {x}"


# --- what is sent as typed ---

FOREIGN = {
    "json": '{"a": {"b": [1, 2, {"c": "}"}]}, "d": {}}',
    "json schema": '{"type": "object", "properties": {"x": {"type": "string"}}}',
    "latex": r"\frac{a}{b} \left\{ x \right\} {{\bf x}} {{\it y}} \sqrt{{x^2}} $\{{a, b}\}$",
    "f-string": "f'{name!r:>{width}} {{literal braces}} {value:.2f}'",
    "str.format": "'{0} {1:>10} {name}'.format(1, 2, name=3)",
    "typescript": "type A = { [k: string]: { b: number } }; const f = () => ({ a: { b: 1 } });",
    "jsx": "<div style={{ color: 'red', margin: 0 }}>{items.map((i) => <li key={i}>{i}</li>)}</div>",
    "go": 'tmpl := `{{ .Name }} {{- range .Items }} {{ . }} {{- end }}`; m := map[string][]int{"a": {1}}',
    "helm": '{{- if .Values.on }}\n{{ include "chart.labels" . | nindent 4 }}\n{{- end -}}\n{{ .Release.Name }}',
    "handlebars": "{{#each people}}{{/each}} {{> partial}} {{else if x}} {{!-- note --}}",
    "jinja": "{% for x in xs %}{# note #}{%- endfor %} {{ 'a' ~ 'b' }} {{ 5 * 3 }}",
    "bash": "awk '{print $1}' f; echo ${x:-{}} && x=$((1+2)); [[ -f a ]] || { echo no; }",
    "rust": 'println!("{:?} {{}}", x); let s = S { a: S2 { b } };',
    "css": "@media print { a { color: red } }",
    "triple": "{{{ body }}} {{{{ raw }}}}",
    "lonely": "{ } {{ }} {{}} }} {{ \\{{ \\{ {{ a b }} {{ 5 }} {{ a, b }} {{\nx\n}}",
    "whitespace": "a\tb  \r\n\n \x0c \u2028 \u00a0é\U0001f600 end  ",
}


@pytest.mark.parametrize("text", FOREIGN.values(), ids=FOREIGN.keys())
def test_when_a_prompt_holds_code_then_it_is_sent_byte_for_byte(text: str) -> None:
    assert shown(text, value=1) == text


COLLISIONS = {
    "latex": r"\frac{{alpha}}{b}",
    "f-string": "f'{{literal}}'",
    "vue": "<p>{{ message }}</p>",
    "jinja": "{{ user.name }} {{ items[0] }} {{ name | upper }}",
    "github": "${{ github.ref }}",
    "go": "{{ end }}",
    "helm": "{{ else }}",
}


@pytest.mark.parametrize("text", COLLISIONS.values(), ids=COLLISIONS.keys())
def test_when_code_looks_like_a_placeholder_then_it_is_refused_with_the_way_out(text: str) -> None:
    told = refusal(text)
    assert "is not defined (line 1 of the prompt)" in told
    assert "Write \\{{" in told
    assert "--raw" in told


@given(st.text(st.sampled_from("{}|\\ .[]'\"()ab_1\n-#%"), max_size=30))
def test_when_nothing_is_recognised_then_the_text_is_identical(text: str) -> None:
    try:
        rendered = render(text, {})
    except PromptError:
        return  # refused, not altered
    # Only an escaped placeholder loses its backslash.
    if "\\{{" not in text:
        assert rendered.text == text


@given(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")))
def test_when_a_value_is_any_text_then_it_arrives_whole_between_what_was_typed(value: str, around: str) -> None:
    typed = around.replace("{", "(").replace("\\", "/")
    assert shown(typed + "{{ x }}" + typed, x=value) == typed + value + typed


def test_when_a_placeholder_is_escaped_then_the_backslash_goes_and_the_rest_stays() -> None:
    assert shown(r"\{{ x }} {{ x }} \{{ gone }} \{{ x.head() }}", x=1) == "{{ x }} 1 {{ gone }} {{ x.head() }}"


def test_when_a_backslash_stands_before_what_is_no_placeholder_then_it_stays() -> None:
    text = r"\left\{{1, 2}\right\} \{{ .V }} \{ \{{\bf x}}"
    assert shown(text) == text


# --- what is refused ---


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("one\ntwo\n{{ revew }}", "'revew' is not defined (line 3 of the prompt). Did you mean 'review'?"),
        ("{{ zzz }}", "'zzz' is not defined (line 1 of the prompt). Write \\{{ zzz }} or --raw"),
        ("{{ d.nme }}", "Write ['nme'] for an entry."),
        ("{{ d['nme'] }}", "Did you mean 'name'?"),
        ("{{ review.upperr }}", "has no 'upperr'. Did you mean 'upper'?"),
        ("{{ nums[9] }}", "this list has no [9]"),
        ("{{ nums['a'] }}", "this list has no ['a']"),
        ("{{ review._x }}", "private"),
        ("{{ review.__class__ }}", "private"),
        ("{{ review.upper }}", "is a builtin_function_or_method, which is not run"),
        ("{{ func }}", "is a function, which is not run"),
        ("{{ Fruit }}", "which is not run"),
        ("{{ os }}", "is a module"),
        ("{{ os.environ }}", "is a module"),
        ("{{ os.environ['HOME'] }}", "is a module"),
        ("{{ env }}", "is the environment"),
        ("{{ env['HOME'] }}", "is the environment"),
        ("{{ env | json }}", "is the environment"),
        ("{{ env | repr }}", "is the environment"),
        ("{{ holder.env | repr }}", "is the environment"),
        ("{{ review.upper() }}", "calls and arithmetic are not run"),
        ("{{ func(1) }}", "calls and arithmetic are not run"),
        ("{{ nums + nums }}", "calls and arithmetic are not run"),
        ("{{ nums-1 }}", "calls and arithmetic are not run"),
        ("{{ my-nam }}", "'my-nam' is not defined (line 1 of the prompt). Did you mean 'my-name'?"),
        ("{{ nums[1:2] }}", "cannot be inserted"),
        ("{{ nums | head(1) | json }}", "one | filter"),
        ("{{{ nums }}}", "cannot be inserted"),
        (
            "{{ nums | upper }}",
            "names an unknown filter 'upper'. Known: md, csv, json, repr, head, sample, truncate, schema, image, pdf.",
        ),
        ("{{ nums | jsn }}", "Did you mean 'json'?"),
        ("{{ nums | json(3) }}", "gives a number to json"),
        ("{{ nums | head(0) }}", "needs a number of 1 or more, such as | head(20)"),
        ("{{ nums | head() }}", "needs a number"),
        ("{{ review | truncate }}", "such as | truncate(4000)"),
        ("{{ thing }}", "is a SimpleNamespace. Say how it reads: | repr, | json or | md."),
        ("{{ thing | md }}", "which is no table"),
        ("{{ thing | json }}", "has no JSON form: it holds a SimpleNamespace"),
        ("{{ thing | head }}", "of which there is no part"),
        ("{{ review | schema }}", "has no schema"),
        ("{{ Odd | schema }}", "has no schema"),
        ("{{ loop }}", "has no JSON form"),
        ("{{ pairs }}", "has no JSON form"),
        ("{{ secret }}", "is a Secret"),
    ],
)
def test_when_a_placeholder_cannot_be_filled_then_it_says_why(prompt: str, told: str) -> None:
    loop: list[Any] = []
    loop.append(loop)
    names: dict[str, object] = {
        "review": "good",
        "nums": [1, 2],
        "my-name": "x",
        "d": {"name": 1},
        "func": lambda: 1,
        "Fruit": Fruit,
        "Odd": SimpleNamespace,
        "os": os,
        "env": os.environ,
        "holder": SimpleNamespace(env=os.environ),
        "thing": SimpleNamespace(a=1),
        "loop": loop,
        "pairs": {(1, 2): 3},
        "secret": Secret("sk-canary-123456789"),
    }
    text = refusal(prompt, **names)
    assert told in text
    assert "canary" not in text


def test_when_a_value_holds_a_configured_key_then_nothing_is_sent() -> None:
    key = "canary-0123456789"
    settings = SimpleNamespace(leaks=lambda text: key in text)
    for names in ({"x": f"my {key}!"}, {"x": {"a": [key]}}, {"x": pd.DataFrame({"k": [key]})}):
        with pytest.raises(SecretError) as caught:
            render("{{ x }}", names, leaks=settings.leaks)
        assert key not in str(caught.value)
        assert "line 1" in str(caught.value)


def test_when_too_much_is_inserted_then_it_is_refused_with_the_filters_that_help() -> None:
    assert "about 25,000 tokens so far, and 20,000 are the most" in refusal("{{ x }}", x="a" * 100_000)
    assert "| head(20)" in refusal("{{ x }}{{ x }}", x="a" * 44_000)
    assert len(shown("{{ x }}", x="a" * 79_000)) == 79_000


# --- how values read ---


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as\nit is", "as\nit is"),
        (3, "3"),
        (1.5, "1.5"),
        (Decimal("1.50"), "1.50"),
        (True, "True"),
        (None, "None"),
        (np.int64(4), "4"),
        (np.float64(0.5), "0.5"),
        (np.bool_(1), "True"),
        (dt.date(2026, 1, 2), "2026-01-02"),
        (dt.datetime(2026, 1, 2, 3, 4, tzinfo=dt.UTC), "2026-01-02T03:04:00+00:00"),
        (pd.Timestamp("2026-01-02"), "2026-01-02T00:00:00"),
        (dt.time(3, 4), "03:04:00"),
        (dt.timedelta(days=1), "1 day, 0:00:00"),
        ([1, "é", None, True], '[1, "é", null, true]'),
        ((1, 2), "[1, 2]"),
        ({"a": dt.date(2026, 1, 2), "b": [Decimal("0.5")]}, '{"a": "2026-01-02", "b": [0.5]}'),
        ({"c": Colour.RED, "p": Point(), "s": {2, 1}}, '{"c": "red", "p": {"x": 1}, "s": [1, 2]}'),
        ({"n": np.int64(1), "a": np.array([1, 2]), "f": Fruit(name="fig")}, None),
        (Fruit(name="fig"), '{"name": "fig", "grams": 1}'),
        (reply("said"), "said"),
        ([reply("said")], '["said"]'),
        ([pd.DataFrame({"a": [1]})], '[[{"a": 1}]]'),
    ],
)
def test_when_a_value_is_inserted_then_it_reads_as_itself_or_as_json(value: object, text: str | None) -> None:
    expected = text if text is not None else '{"n": 1, "a": [1, 2], "f": {"name": "fig", "grams": 1}}'
    assert shown("{{ v }}", v=value) == expected


def test_when_a_frame_is_long_then_its_schema_and_first_rows_are_inserted_and_it_says_so() -> None:
    frame = pd.DataFrame({"n": range(10_431), "t": ["x"] * 10_431})
    head, *rows = shown("{{ df }}", df=frame).split("\n")
    assert head.startswith("DataFrame of 10,431 rows and 2 columns (n: int64, t: ")
    assert head.endswith("; the first 20 of 10,431 rows as CSV:")
    assert rows[:2] == ["n,t", "0,x"]
    assert len(rows) == 21


def test_when_a_frame_is_short_then_all_of_it_is_inserted_with_an_index_that_says_something() -> None:
    frame = pd.DataFrame({"n": [1]}, index=pd.Index(["a"], name="id"))
    text = shown("{{ df }}", df=frame)
    assert text == "DataFrame of 1 rows and 1 columns (n: int64); all 1 rows as CSV:\nid,n\na,1"


def test_when_a_series_is_inserted_then_it_reads_like_a_frame() -> None:
    series = pd.Series([1.5, 2.5], name="price")
    text = shown("{{ s }}", s=series)
    assert text == "Series of 2 rows and 1 columns (price: float64); all 2 rows as CSV:\nprice\n1.5\n2.5"
    assert shown("{{ s[1] }} {{ df.a[0] }} {{ df['a'][0] }}", s=series, df=pd.DataFrame({"a": [3]})) == "2.5 3 3"


FRAME = pd.DataFrame({"a": [1, 2, 3], "b": ["x|y", "z\nw", None]})
DICTS = [{"a": 1, "b": "x|y"}, {"a": 2}]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("md", DICTS, "| a | b |\n| --- | --- |\n| 1 | x\\|y |\n| 2 |  |"),
        ("md", {"k": 1}, "| key | value |\n| --- | --- |\n| k | 1 |"),
        ("md", [1], "| value |\n| --- |\n| 1 |"),
        ("md", FRAME[["a"]], "| a |\n| --- |\n| 1 |\n| 2 |\n| 3 |"),
        ("csv", FRAME[["a"]], "a\n1\n2\n3"),
        ("csv", DICTS, "a,b\n1,x|y\n2,"),
        ("json", FRAME[["a"]], '[{"a":1},{"a":2},{"a":3}]'),
        ("json", FRAME["a"], '[{"a":1},{"a":2},{"a":3}]'),
        ("json", "é", '"é"'),
        ("repr", "it's", '"it\'s"'),
        ("head(1)", FRAME[["a"]], "DataFrame of 3 rows and 1 columns (a: int64); the first 1 of 3 rows as CSV:\na\n1"),
        ("head(9)", FRAME[["a"]], "DataFrame of 3 rows and 1 columns (a: int64); all 3 rows as CSV:\na\n1\n2\n3"),
        ("head(2)", "a\nb\nc", "a\nb"),
        ("head", list(range(9)), "[0, 1, 2, 3, 4]"),
        ("sample(9)", [1, 2], "[1, 2]"),
        ("truncate(2)", "abcd", "ab… [cut: 2 of 4 characters]"),
        ("truncate(4)", "abcd", "abcd"),
        ("truncate(2)", [1, 2], "[1… [cut: 2 of 6 characters]"),
        ("schema", FRAME[["a"]], "a: int64"),
        ("schema", {"a": 1, "b": "x"}, '{"a": "int", "b": "str"}'),
    ],
)
def test_when_a_filter_is_given_then_it_shapes_the_value(name: str, value: object, text: str) -> None:
    assert render(f"{{{{ v | {name} }}}}", {"v": value}).text == text


def test_when_a_model_has_a_schema_then_class_and_instance_insert_it() -> None:
    for value in (Fruit, Fruit(name="fig")):
        assert json.loads(shown("{{ v | schema }}", v=value)) == Fruit.model_json_schema()
    assert "properties" in json.loads(shown("{{ v | schema }}", v=Point))


def test_when_a_sample_is_drawn_then_it_is_the_same_one_every_time() -> None:
    names = {"df": pd.DataFrame({"a": range(1000)}), "l": list(range(1000)), "t": "\n".join(map(str, range(1000)))}
    for name in names:
        random.seed()
        first, second = (render(f"{{{{ {name} | sample(7) }}}}", names).text for _ in range(2))
        assert first == second
    assert len(json.loads(shown("{{ l | sample(7) }}", **names))) == 7


@pytest.fixture(scope="module")
def results() -> dict[str, object]:
    """Return what several answers are: a fan-out in which one failed, and a run."""
    text = "Yes | no.\nMore."
    facts: dict[str, Any] = {"usage": Usage(), "cost": None, "billed": None, "provider": "p", "model": "m"}
    facts |= {"model_served": None, "latency": 0.0, "ttft": None, "finish_reason": "stop", "attempts": 1}
    reply = Reply(content=text, profile="fast", mode="live", request_id=None, **facts)
    entries = (Entry("fast", 0, 0, reply), Entry("fast", 0, 1, reply), Entry("local", 0, 0, ConnectError("refused")))
    stage = StageResult("draft", "fast", (reply,), (), (text,), (), (), 0, 0, Total())
    run = StrategyRun("s", "t", "1", text, text, (stage,), (), complete=True, stopped=None, wall=0, final=None, rows=())
    return {"run": run, "replies": Replies(entries, wall=0, run_id="1", single=False), "all": [run]}


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("run", "Yes | no.\nMore."),
        ("run['draft']", "Yes | no.\nMore."),
        ("run | md", "Yes | no.\nMore."),
        ("run | json", '"Yes | no.\\nMore."'),
        ("run | truncate(5)", "Yes |… [cut: 5 of 15 characters]"),
        ("all", '["Yes | no.\\nMore."]'),
        (
            "replies",
            "[fast]\nYes | no.\nMore.\n\n[fast · sample 2]\nYes | no.\nMore.\n\n[local]\n(no answer: ConnectError)",
        ),
        ("replies | head(1)", '[{"profile": "fast", "answer": "Yes | no.\\nMore."}]'),
        (
            "replies | md",
            (
                "| profile | answer |\n| --- | --- |\n| fast | Yes \\| no. More. |\n"
                "| fast · sample 2 | Yes \\| no. More. |\n| local | (no answer: ConnectError) |"
            ),
        ),
        ("replies | truncate(6)", "[fast]… [cut: 6 of 92 characters]"),
    ],
)
def test_when_several_answers_are_inserted_then_each_stands_under_its_name(
    results: dict[str, object], place: str, text: str
) -> None:
    rendered = render(f"{{{{ {place} }}}}", results)
    assert rendered.text == text
    assert rendered.inserted == ((f"{{{{ {place} }}}}", len(text)),)
