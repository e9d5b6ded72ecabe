"""The schema of `profiles.yaml`, and a line of explanation for what does not fit it."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import fields
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from victor_nb.config.document import Document
from victor_nb.config.request_options import RETRIES, REUSE, SECONDS, TEXT, Params, RequestOptions, shown, whole, word
from victor_nb.config.secret import Address
from victor_nb.config.strategies import Stage, fault
from victor_nb.errors import ConfigError, suggest
from victor_nb.providers.spec import BUILT_IN, SPECS, find_spec, split_words, unknown_provider

if TYPE_CHECKING:
    from collections.abc import Callable


_KEY_NAME: Final = re.compile(r"(KEY|TOKEN)$", re.IGNORECASE)
_OTHER_KEYS: Final = re.compile(r"SECRET|PRIVATE|PASSW|SESSION|SSH|GPG|SIGNING|^AWS_|^JUPYTER|^JPY_", re.IGNORECASE)
"""What is in the names of keys to more than a model: an account in a cloud, this very kernel."""


def _exact(value: object) -> object:
    """Turn a YAML number into the Decimal that was typed, not into the nearest float."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return Decimal(str(value))
    return value


def _provider(name: str) -> str:
    if find_spec(name) is None:
        raise PydanticCustomError("unknown_provider", "no such provider")
    return name


def _web_address(value: str) -> str:
    value = value.strip()
    if not value.startswith(("http://", "https://")):
        msg = "must start with http:// or https://"
        raise ValueError(msg)
    if not value.isprintable() or "\\" in value:
        msg = "holds a line break or another character that no address has"
        raise ValueError(msg)
    return Address(value)


def _key_variable(name: str) -> str:
    """Refuse the name of a variable that holds no key of a provider: a file must not send what else there is."""
    if any(name in spec.key_variables for spec in list(SPECS.values())):
        return name
    if _KEY_NAME.search(name) is None or _OTHER_KEYS.search(name) is not None:
        msg = "must name a variable of a provider's key, which ends in KEY or TOKEN, such as HOUSE_API_KEY"
        raise ValueError(msg)
    return name


_BUILT_IN: Final[list[JsonValue]] = [*sorted(spec.name for spec in BUILT_IN)]
Usd = Annotated[Decimal, BeforeValidator(_exact), Field(ge=0, allow_inf_nan=False)]
Name = Annotated[str, Field(pattern=r"^[\w.\-:/]+$")]
Seconds = Annotated[float, SECONDS]
Provider = Annotated[str, AfterValidator(_provider), Field(json_schema_extra={"enum": _BUILT_IN})]


_UNKNOWN_KEY: Final = {"extra_forbidden", "unexpected_keyword_argument"}  # of a model, of a dataclass


class Strict(BaseModel):
    """A mapping of a YAML file, in which no key is unknown and no value is of another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    of_number: ClassVar[str] = ""
    """The key that a number stands for where the mapping is expected; "" for none."""

    @model_validator(mode="before")
    @classmethod
    def _from_number(cls, value: object) -> object:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return {cls.of_number: value} if cls.of_number and is_number else value


# In the place of a deprecated method of pydantic's, which would hide the default of a field of that name.
setattr(Strict, "schema", None)  # noqa: B010 - pyright knows it as the method


class Timeouts(Strict):
    """Seconds to wait: to connect, between two pieces of an answer, and for a whole call with its retries."""

    of_number = "total"  # `timeout: 30`

    connect: Seconds = 10.0
    read: Seconds = 120.0
    total: Seconds = 600.0


class Prices(Strict):
    """Prices that a profile sets itself, in USD per million tokens."""

    input: Usd
    output: Usd
    cache_read: Usd | None = None
    cache_write: Usd | None = None


class PricedAs(Strict):
    """The model whose list prices a profile pays, such as that of a deployment; its provider is the profile's own."""

    provider: Provider | None = None
    model: Annotated[str, Field(min_length=1)]


class Budgets(Strict):
    """Limits in USD: for one cell, for one kernel's notebook, for a day of all kernels, midnight to midnight here.

    Where no `max_tokens` is set, the model's own limit is sent; `shrink: true` sends a lower one if that does not fit.
    """

    of_number = "notebook"  # `budget: 0.50`

    cell: Usd | None = None
    notebook: Usd | None = None
    day: Usd | None = None
    shrink: bool = False


class ProfileSpec(Strict, RequestOptions):  # pyright: ignore[reportGeneralTypeIssues] - it is frozen by its config
    """A provider, a model, and what to send with every prompt. Nothing is sent that is not given here."""

    provider: Provider
    model: Annotated[str, Field(min_length=1)]
    base_url: Annotated[str, AfterValidator(_web_address)] | None = None
    api: Annotated[str | None, word("chat", "responses")] = None
    api_key_env: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$"), AfterValidator(_key_variable)] | None = None
    timeout: Timeouts = Timeouts()
    retries: Annotated[int, RETRIES] = 2
    concurrency: Annotated[int | None, whole(1)] = None
    params: Params = Field(default_factory=dict[str, object])  # a model does not inherit a dataclass's default factory
    prices: Prices | None = None
    priced_as: PricedAs | None = None
    fallback: Annotated[tuple[str, ...], Field(strict=False)] = ()  # YAML has lists only
    allow_unpriced: bool = False
    cache: Annotated[str | None, REUSE] = None


class Profile(ProfileSpec):
    """A profile with the name it goes by."""

    name: str


class ProfilesFile(Strict):
    """A whole `profiles.yaml`."""

    profiles: Annotated[dict[Name, ProfileSpec], Field(min_length=1)]
    default: str | None = None
    budget: Budgets = Budgets()
    ledger: str | None = None
    log_text: bool = False
    simulate: Annotated[str, Field(min_length=1)] | None = None
    strategies: dict[Name, list[Stage]] = Field(default_factory=dict[Name, list[Stage]])


def read_profiles(path: Path) -> ProfilesFile:
    """Read and check a `profiles.yaml`.

    Raises:
        ConfigError: One line that names the file, the line, the key, and the nearest right word.
    """
    document = Document.read(path)
    try:
        file = ProfilesFile.model_validate(document.content)
    except ValidationError as error:
        raise ConfigError(explain(document, error, _known_words)) from None
    _check_names(document, file)
    _check_strategies(document, file)
    return file


def _check_names(document: Document, file: ProfilesFile) -> None:
    """Raise if a name is that of no profile, and no `provider:model` either."""
    named: list[tuple[tuple[int | str, ...], str]] = [(("default",), file.default)] if file.default is not None else []
    for name, spec in file.profiles.items():
        named += [(("profiles", name, "fallback"), other) for other in spec.fallback]
    for name, stages in file.strategies.items():
        named += [(("strategies", name, number, "profile"), stage.profile) for number, stage in enumerate(stages)]
    for place, name in named:
        if name not in file.profiles and split_words(name) is None:
            raise ConfigError(document.at(place, f"no profile is called {name!r}. {suggest(name, file.profiles)}"))


def _check_strategies(document: Document, file: ProfilesFile) -> None:
    """Raise if the stages of a strategy do not fit together."""
    for name, stages in file.strategies.items():
        wrong = fault(stages)
        if wrong is not None:
            place = (name,) if wrong.stage is None else (name, wrong.stage, wrong.field)
            raise ConfigError(document.at(("strategies", *place), wrong.fact))


def make_profile(name: str, spec: dict[str, Any]) -> Profile:
    """Check a profile that was made in Python.

    Raises:
        ConfigError: One line that names the key and the nearest right word.
    """
    try:
        return Profile.model_validate({"name": name, **spec})
    except ValidationError as error:
        document = Document(Path("Agent.create"), spec, None)
        raise ConfigError(explain(document, error, lambda place: _known_words(("profiles", name, *place)))) from None


def _known_words(place: tuple[int | str, ...]) -> list[str]:
    """Return the keys that are allowed in the mapping that holds a place."""
    models: dict[str, type[BaseModel]] = {
        "timeout": Timeouts,
        "prices": Prices,
        "priced_as": PricedAs,
        "budget": Budgets,
    }
    parents = place[:-1]
    if parents[:1] == ("strategies",):
        return [each.name for each in fields(Stage)]
    model = models.get(str(parents[-1]), ProfileSpec) if parents else ProfilesFile
    return list(model.model_fields)


_FACTS: Final = {
    "missing": "is missing",
    "missing_argument": "is missing",  # of a dataclass
    "too_short": "holds nothing. Add a profile: a name, and below it provider and model",
}


def explain(document: Document, error: ValidationError, known: Callable[[tuple[int | str, ...]], list[str]]) -> str:
    """Return the most telling of what pydantic found, in one line: a misspelt key explains a missing one.

    Args:
        document: What was checked.
        error: What is wrong with it.
        known: Returns the keys that may stand beside the last part of a place.
    """
    details = error.errors(include_url=False)
    detail = next((each for each in details if each["type"] in _UNKNOWN_KEY), details[0])
    place, given, found = detail["loc"], cast("object", detail["input"]), detail["type"]
    if place[-1:] == ("provider",) and found in {"string_type", "unknown_provider"}:
        return document.at(place, unknown_provider(given))
    match found:
        case "extra_forbidden" | "unexpected_keyword_argument":
            fact = f"unknown key. {suggest(place[-1], known(place))}"
        case "option":
            fact = detail["msg"]
            if fact.startswith(f"takes {TEXT.words},") and isinstance(given, (int, float)):
                fact += f'; write it in quotes: "{given}"'
        case "string_type" if isinstance(given, (int, float)):
            fact = f'{given!r} is not text; write it in quotes: "{given}"'
        case "model_type" | "dict_type" | "dataclass_type":
            either = "a number or a mapping" if place[-1:] in {("timeout",), ("budget",)} else "a mapping (key: value)"
            fact = f"expected {either}, not {shown(given)}"
        case "string_pattern_mismatch":
            fact = f"{given!r} has a character that a name cannot have; use letters, digits, and . _ - : /"
        case _:
            fact = _FACTS.get(found) or f"{_sentence(detail['msg'])}, not {shown(given)}"
    return document.at(place, fact)


def _sentence(message: str) -> str:
    """Put pydantic's message into the middle of a sentence."""
    message = message.removeprefix("Value error, ").removeprefix("Input ")
    return message[:1].lower() + message[1:]


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of `profiles.yaml`, for editors."""
    schema = ProfilesFile.model_json_schema()
    for part in schema["$defs"].values():
        part["description"] = part.get("description", "").partition("\n\n")[0]  # the docstring's first line
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "victor_nb profiles.yaml"}


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(json_schema(), indent=2) + "\n", encoding="utf-8")
