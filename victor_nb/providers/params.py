"""What params ask for: how long an answer may be, how many there are, at which tier, however a server may spell it."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

STANDARD_TIERS: Final = frozenset(
    {"auto", "default", "standard", "standard_only", "on_demand", "global", "not_available"}
)
"""Names of what is served at list prices: tiers (`auto` unless an account is set up otherwise), and places."""
AUTO_TIER: Final = "auto"
"""The tier of a request that leaves it to how the account is set up."""
_TIER_NAMES: Final = ("service_tier", "serviceTier", "speed", "inference_geo")
_LIMIT_NAMES: Final = frozenset(
    (
        *("maxtokens", "maxcompletiontokens", "maxoutputtokens", "maxnewtokens", "maxtokenstosample", "maxtokencount"),
        *("numpredict", "npredict", "maxlength", "maxgenlen"),
    )
)
_CHOICE_NAMES: Final = frozenset(
    ("n", "candidatecount", "numcompletions", "bestof", "numreturnsequences", "numgenerations")
)


def tier_name(*stated: object) -> str | None:
    """Return the service tier as a provider names it, in one or several places; None where it names none."""
    names = [name.lower().removeprefix("service_tier_") for name in stated if isinstance(name, str) and name]
    return "+".join(name for name in names if name not in STANDARD_TIERS) or next(iter(names), None)


def asked_tier(params: Mapping[str, object], tier: str | None = None) -> str | None:
    """Return the tier that params, or else the option, ask for; None: the standard one, `auto`: the account's."""
    asked = [value for name, value in _flat(params) if name in _TIER_NAMES] or [tier]
    name = tier_name(*asked)
    return name if name not in STANDARD_TIERS else AUTO_TIER if AUTO_TIER in asked else None


def choices(params: Mapping[str, object]) -> int:
    """Return how many answers params ask for at once."""
    return max((1, *filter(None, map(_count, _named(params, _CHOICE_NAMES)))))


def longest(params: Mapping[str, object], names: Sequence[str], inside: str, ours: int | None) -> int | None:
    """Return the tokens that one answer may have; None where nothing but the model limits it.

    What stands in `params` goes out as it is, and so beats our limit of the same name. Of several limits the highest
    counts, as servers differ in which they obey; a name that the API does not have, or that stands where the API does
    not look, may raise the limit and is none by itself.

    Args:
        params: What is sent beside our limit.
        names: How the API names a limit, the name first under which ours is sent.
        inside: Where in params it looks for them, too.
        ours: Our limit.
    """
    deeper, said = params.get(inside), _named(params, _LIMIT_NAMES)
    options = {**cast("Mapping[str, object]", deeper if isinstance(deeper, dict) else {}), **params}
    obeyed = {name: value for name, value in options.items() if not isinstance(value, bool)}
    sent = {names[0]: ours, **obeyed}
    limits = [_count(sent[name]) for name in names if sent.get(name) is not None]
    others = [_count(value) for value in said]
    if not limits or not all(limits) or 0 in others:  # -1 is no limit, and what is no number may be ignored
        return None
    if ours is not None and None in said:  # null may take the place of ours
        return None
    return max(limit for limit in (*limits, *others) if limit)


def _flat(params: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Yield names and values of params, those inside others included."""
    for name, value in params.items():
        if isinstance(value, dict):
            yield from _flat(cast("Mapping[str, object]", value))
        else:
            yield name, value


def _named(params: Mapping[str, object], names: Collection[str]) -> list[object]:
    """Return the values but True and False that params give by these names in any spelling."""
    given = [value for name, value in _flat(params) if name.replace("_", "").replace("-", "").lower() in names]
    return [value for value in given if not isinstance(value, bool)]


def _count(value: object) -> int | None:
    """Return a number as a server may read it, also where it is text, rounded up; 0 if it is less, None if none."""
    try:
        return max(0, ceil(float(str(value).replace("_", ""))))
    except (ValueError, OverflowError):  # no number; without end
        return None
