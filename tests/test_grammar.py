"""What a magic line may say, and what it is told when it says something else."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from victor_nb.errors import MagicError, VictorError
from victor_nb.notebook.grammar import apply, parse, read, split_prompt
from victor_nb.notebook.options import KEYS, MagicCall


def refusal(line: str, **names: object) -> str:
    """Return what a line that cannot be understood is told."""
    with pytest.raises(MagicError) as caught:
        parse(line, names)
    told = str(caught.value)
    assert "\n" not in told
    assert len(told) < 250  # two lines of a cell
    return told


# --- what is understood ---


def test_when_the_line_is_empty_then_nothing_is_asked_for() -> None:
    assert parse("", {}) == MagicCall()


@pytest.mark.parametrize(
    "line", ["fast", "profile=fast", "--profile fast", "--profile=fast", "'fast'", " fast ", '"fast"']
)
def test_when_a_profile_is_named_in_any_way_then_the_call_is_the_same(line: str) -> None:
    assert parse(line, {}) == MagicCall(profile="fast")


def test_when_every_key_is_given_then_each_has_its_type() -> None:
    line = (
        'fast out=reply system="Be brief. It\'s fine" chat=demo as=json raw=yes timeout=2.5 retries=0 max_tokens=50 '
        "temperature=0 show=quiet cost=off dry=true tags=team:search,run:7"
    )
    assert parse(line, {}) == MagicCall(
        profile="fast",
        out="reply",
        system="Be brief. It's fine",
        chat="demo",
        form="json",
        raw=True,
        timeout=2.5,
        retries=0,
        max_tokens=50,
        temperature=0.0,
        show="quiet",
        cost=False,
        dry=True,
        tags={"team": "search", "run": "7"},
    )


def test_when_a_later_release_reads_its_keys_then_the_grammar_has_them_already() -> None:
    call = apply(read("profiles=fast,local strategy=funnel n=3 budget=0.05 --bg", {}), MagicCall())
    assert call.profiles == ("fast", "local")
    assert (call.strategy, call.n, call.budget, call.bg) == ("funnel", 3, Decimal("0.05"), True)


def test_when_objects_stand_for_words_then_they_are_read_the_same_way() -> None:
    names = {"many": ["fast", "local"], "usd": Decimal("0.05"), "words": {"team": 1}}
    given = read("profiles=$many budget=$usd tags=$words cost=footer show=all", names)
    assert given == {
        "profiles": ("fast", "local"),
        "budget": Decimal("0.05"),
        "tags": {"team": "1"},
        "cost": True,
        "show": "answer",
    }
    for line in ("profiles=$usd", "profiles=fast,,local", "budget=-1", "budget=much"):
        with pytest.raises(MagicError):
            read(line, names)


@pytest.mark.parametrize("line", ["--raw", "--raw=true", "raw=on", "raw=1"])
def test_when_a_flag_is_set_then_it_holds(line: str) -> None:
    assert parse(line, {}).raw


def test_when_a_flag_is_followed_by_a_pair_then_it_takes_no_value() -> None:
    assert parse("fast --dry --raw timeout=3", {}) == MagicCall(profile="fast", dry=True, raw=True, timeout=3.0)


def test_when_dashes_stand_for_underscores_then_the_key_is_found() -> None:
    assert parse("--max-tokens 9 -o r", {}) == MagicCall(max_tokens=9, out="r")


def test_when_a_value_is_a_name_with_a_dollar_then_it_is_the_object() -> None:
    row = {"review": "good"}
    names = {"row": row, "instructions": "Be brief.", "cfg": SimpleNamespace(limit={"tokens": 7}, seconds=3)}
    call = parse(
        "vars=$row params=$row system=$instructions max_tokens=$cfg.limit.tokens --timeout $cfg.seconds", names
    )
    assert call.vars is row
    assert call.params is row
    assert (call.system, call.max_tokens, call.timeout) == ("Be brief.", 7, 3.0)


def test_when_a_value_comes_out_of_a_table_then_it_is_a_number_of_pythons() -> None:
    row = pd.DataFrame({"k": [50, None], "n": [2.0, 3.0], "t": np.array([0.1, 1], "float32")}).loc[0]
    table = {"k": row.k, "n": np.int64(2), "t": np.float32(0.1), "raw": np.True_, "who": np.array(["fast", "local"])}
    call = parse("profiles=$who max_tokens=$k n=$n temperature=$t raw=$raw budget=$t", table)
    assert call == MagicCall(
        profiles=("fast", "local"), max_tokens=50, n=2, temperature=0.1, raw=True, budget=Decimal("0.1")
    )
    assert [type(value) for value in (call.max_tokens, call.n, call.temperature, call.raw)] == [int, int, float, bool]
    assert parse("temperature=$t max_tokens=$k", {"t": Decimal("0.5"), "k": Decimal(5)}).temperature == 0.5
    assert parse("profiles=$who", {"who": pd.Series(["a", "b"])}).profiles == ("a", "b")


def test_when_a_dollar_stands_inside_a_text_then_it_is_text() -> None:
    assert parse('system="costs $5, or $x"', {"x": 1}).system == "costs $5, or $x"


def test_when_a_hash_stands_on_the_line_then_it_is_no_comment() -> None:
    assert parse("system=a#b", {}).system == "a#b"
    assert "'#'" in refusal("fast # the cheap one")


def test_when_the_value_holds_an_equals_sign_then_it_stays_whole() -> None:
    assert parse("system=a=b", {}).system == "a=b"


def test_when_defaults_are_set_then_the_line_wins_over_them() -> None:
    defaults = MagicCall(profile="local", timeout=9.0, show="quiet")
    assert parse("timeout=1", {}, defaults=defaults) == MagicCall(profile="local", timeout=1.0, show="quiet")


def test_when_help_is_asked_for_then_the_call_says_so() -> None:
    assert parse("--help", {}).help
    assert parse("fast -h", {}).help


# --- the prompt of `%victor ask` ---


@pytest.mark.parametrize(
    ("line", "head", "prompt"),
    [
        ("fast -- tell me", "fast ", "tell me"),
        ("-- who's there -- you?", "", "who's there -- you?"),
        ('system="a -- b" -- c', 'system="a -- b" ', "c"),
        ("fast tell me", "fast tell me", None),
        ("fast --", "fast ", ""),
    ],
)
def test_when_a_line_holds_its_prompt_then_it_is_split_at_the_dashes(line: str, head: str, prompt: str | None) -> None:
    assert split_prompt(line) == (head, prompt)


# --- what is refused ---


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("profle=fast", "Unknown key 'profle'. Did you mean profile=?"),
        ("Profile=fast", "Did you mean profile=?"),
        ("max_token=5", "Did you mean max_tokens=?"),
        ("max-tokens=5", "Did you mean max_tokens=?"),
        ("zzz=1", "Known: as, bg, budget"),
        ("--zzz", "Unknown key 'zzz'"),
        ("profile=fast profile=local", "profile= is given twice"),
        ("fast profile=local", "profile= is given twice"),
        ("--raw raw=true", "raw= is given twice"),
        ("profile=fast profiles=fast,local", "profile= and profiles= exclude each other"),
        ("fast profiles=fast,local", "profile= and profiles= exclude each other"),
        ("profile =fast", "spaces around '='"),
        ("profile = fast", "spaces around '='"),
        ("= fast", "spaces around '='"),
        ("profile=", "profile= needs a value right after the '=', such as profile=fast."),
        ("''", "The profile is empty"),
        ("system=don't", "left open"),
        ("fast \\", "left open"),
        ("Tell me a joke", "'me' is not key=value. Quote text with spaces; the prompt goes"),
        ("raw", "Write --raw"),
        ("fast dry", "Write --dry"),
        ("--", "A lone --"),
        ("-x 1", "only -o NAME is short"),
        ("-o", "-o needs a value, such as -o reply."),
        ("--timeout", "--timeout needs a value, such as --timeout 60."),
        ("--timeout --raw", "--timeout needs a value"),
        ("timeout=soon", "timeout= takes seconds above 0, not 'soon'. Write timeout=60."),
        ("timeout=30s", "timeout= takes seconds above 0, not '30s'."),
        ("timeout=0", "seconds above 0"),
        ("timeout=1e300", "seconds above 0, not so large a number"),
        ("timeout=inf", "seconds above 0, not inf"),
        ("budget=-1", "budget= takes an amount in USD, not -1. Write"),
        ("budget=nan", "budget= takes an amount in USD, not nan. Write"),
        ("profiles=fast,,local", "names, with commas between them, not 'fast,,local'. Write"),
        ("tags=a", "a mapping, such as name:value, not 'a'. Write"),
        ("timeout=-1", "seconds above 0"),
        ("timeout=nan", "seconds above 0"),
        ("timeout=1_0", "seconds above 0"),
        ("temperature=hot", "temperature= takes a number from 0 to 2, not 'hot'."),
        ("temperature=inf", "temperature= takes a number from 0 to 2, not inf."),
        ("temperature=-1", "temperature= takes a number from 0 to 2, not -1."),
        ("temperature=9", "temperature= takes a number from 0 to 2, not 9. Write temperature=0.2."),
        ("n=5000", "n= takes a whole number from 1 to 1000, not 5000."),
        ("max_tokens=1.5", "a whole number of 1 or more"),
        ("max_tokens=0", "a whole number of 1 or more"),
        ("max_tokens=1e3", "a whole number of 1 or more, not 1e3."),
        ("max_tokens=²", "a whole number of 1 or more"),
        ("retries=11", "a whole number from 0 to 10"),
        ("out=2x", "a variable name"),
        ("out=class", "a variable name"),
        ("out=a.b", "a variable name"),
        ("out=list", "a variable name that hides none of Python's, not 'list'"),
        ("out=_", "hides none of Python's"),
        ("out=In", "hides none of Python's"),
        ("as=markdwn", "as= takes text, md, json, code or table, not 'markdwn'. Write as=json."),
        ("as=jsn", "Did you mean as=json?"),
        ("show=everything", "show= takes answer, quiet or none, not 'everything'."),
        ("raw=maybe", "true or false"),
        ("cost=maybe", "on or off"),
        ("params={}", "a mapping with text as keys"),
        ("vars=row", "a mapping with text as keys"),
        ("schema=Model", "a pydantic model, a type or a JSON schema"),
        ("tags=draft", "name:value"),
        ("system=$nope", "'nope' is not defined. Run the cell that defines it first."),
        ("system=$", "is no reference"),
        ("timeout=$5", "is no reference"),
    ],
)
def test_when_a_line_is_wrong_then_it_is_told_what_to_type(line: str, told: str) -> None:
    assert told in refusal(line)


@pytest.mark.parametrize(
    "key", ["api_key", "api-key", "apikey", "key", "OPENAI_API_KEY", "--api-key", "token", "secret"]
)
def test_when_a_key_is_typed_on_the_line_then_it_is_refused_and_not_repeated(key: str) -> None:
    told = refusal(f"fast {key}=sk-canary-123456789")
    assert "does not belong in a notebook" in told
    assert ".env file beside profiles.yaml" in told
    assert "canary" not in told


def test_when_an_undefined_name_is_near_another_then_that_is_offered() -> None:
    assert "Did you mean $instructions?" in refusal("system=$instruction", instructions="x", _instruction="y")


def test_when_a_reference_has_no_such_part_then_it_says_so() -> None:
    assert "a dict has no 'b'" in refusal("params=$d.b", d={"a": 1})
    assert "starts with _" in refusal("params=$d.__class__", d={"a": 1})
    assert "a module cannot be reached" in refusal("params=$os.environ", os=pytest)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("max_tokens=$v", "many"),
        ("max_tokens=$v", True),
        ("max_tokens=$v", 2.5),
        ("max_tokens=$v", pd.NA),
        ("temperature=$v", pd.NaT),
        ("temperature=$v", np.float32("nan")),
        ("n=$v", np.array([3])),
        ("timeout=$v", True),
        ("timeout=$v", None),
        ("timeout=$v", 10**400),
        ("profile=$v", 5),
        ("profile=$v", " "),
        ("profile=$v", ["fast"]),
        ("system=$v", 5),
        ("params=$v", {1: 2}),
        ("params=$v", [1]),
        ("raw=$v", 1),
        ("out=$v", None),
        ("tags=$v", 3),
        ("as=$v", 3),
    ],
)
def test_when_an_object_is_of_the_wrong_type_then_it_is_refused(line: str, value: object) -> None:
    told = refusal(line, v=value)
    assert line.partition("=")[0] in told


def test_when_an_object_is_refused_then_its_content_is_not_shown() -> None:
    assert "canary" not in refusal("timeout=$v", v={"key": "canary"})


@pytest.mark.parametrize(
    "line",
    [
        "profile=a profiles=b,c",
        "strategy=funnel profiles=b,c",
        "strategy=funnel n=2",
        "n=2 chat=demo",
        "strategy=x as=json",
    ],
)
def test_when_two_keys_mean_nothing_together_then_both_are_named(line: str) -> None:
    told = refusal(line, Model=dict)
    assert "exclude each other" in told
    assert all(f"{pair.partition('=')[0]}=" in told for pair in line.split())


def test_when_several_are_asked_then_the_line_is_read() -> None:
    call = parse("profiles=fast,local n=3 budget=0.50 on_error=raise --bg", {})
    assert (call.profiles, call.n, call.budget, call.on_error, call.bg) == (
        ("fast", "local"),
        3,
        Decimal("0.50"),
        "raise",
        True,
    )
    assert parse("strategy=funnel", {}).strategy == "funnel"


def test_when_a_key_has_an_example_then_the_example_is_right() -> None:
    model = type("Model", (), {})
    names = {"instructions": "x", "Model": model, "row": {}, "settings": {}, "df": [1]}
    for key, row in KEYS.items():
        assert read(f"{key}={row.example}", names).keys() == {key}


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\n"), max_size=60))
def test_when_anything_is_typed_then_it_is_understood_or_refused_in_one_line(line: str) -> None:
    told = ""
    try:
        parse(line, {"x": 1})
    except VictorError as error:
        told = str(error)
    assert "\n" not in told


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\n"), min_size=1, max_size=40))
def test_when_a_text_is_quoted_as_a_shell_quotes_then_it_arrives_as_it_is(text: str) -> None:
    import shlex

    if text.startswith("$"):
        return
    assert parse("system=" + shlex.quote(text), {}).system == text
