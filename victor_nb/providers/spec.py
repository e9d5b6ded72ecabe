"""All that is known of each provider, in one value each.

To add one: a module with a `victor_nb.providers.base.Provider`, a `Dialect` for the simulator, and a `Spec` that names
both as "module:Class". A host that speaks OpenAI's protocol is a row of `catalog`; outside of this package it needs a
`Spec` alone: `replace(OPENAI, name="house", price_id=..., base_url=..., base_url_variable="", key_variables=...)`. What
is left out is OpenAI's: `output_names`, `refuses`, `keyless_locally` and the variable that sends requests elsewhere,
too. A package of its own offers its specs, or functions that return them, as entry points of the group
`victor_nb.providers`.
"""

from __future__ import annotations

import pkgutil
import re
import sys
import threading
import warnings
from dataclasses import dataclass, field, replace
from datetime import date
from typing import TYPE_CHECKING, Any, Final, cast

from victor_nb.errors import (
    STOPS,
    ConfigError,
    ConnectError,
    NotFoundError,
    ProviderError,
    VictorWarning,
    did_you_mean,
)
from victor_nb.fork import in_child
from victor_nb.media import Attachments
from victor_nb.providers.catalog import (
    ATTACHMENTS,
    OUTPUTS,
    PRESETS,
    RETIRES,
    WORDS,
    Words,
    is_local,
    ollama_address,
)
from victor_nb.providers.params import choices, longest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from importlib.metadata import EntryPoint

    from victor_nb.values import ChatRequest, Structured

GROUP: Final = "victor_nb.providers"
_SNAPSHOT: Final = re.compile(r"-(?:latest|\d{8})$")
"""What follows the name of a model where one version of it is meant: claude-sonnet-4-5-20250929."""
_importing = threading.Lock()


@dataclass(frozen=True, slots=True)
class Refusal:
    """Which models of a provider take no value of a request option.

    Attributes:
        models: A pattern that their names start with; the empty one is all of them.
        unless: The one value that they take all the same.
        api: The protocol in which they do not take it, where the provider has several; "" is any.
    """

    models: str = ""
    unless: object = None
    api: str = ""


@dataclass(frozen=True, slots=True)
class Api:
    """A further protocol of a provider, which `api:` in a profile names.

    Attributes:
        client: The class of its client, or where it is, as in `Spec`.
        dialect: The class by which the simulator speaks it, or where it is.
        models: A pattern that the names of models which have no other start with.
        output_names: How it names the limit of an answer's tokens, as in `Spec`.
    """

    client: str | type[Any]
    dialect: str | type[Any]
    models: str
    output_names: tuple[str, ...] = ("max_output_tokens",)


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What is known of one provider.

    Attributes:
        name: The word for it after `provider:` in a profile.
        client: The class of the client, or where it is ("module:Class"): it is imported when it is first needed.
        apis: Its further protocols, by the word for them after `api:` in a profile.
        price_id: The provider's id in genai-prices; None: it is not in the list, and what it costs is unknown.
        free: Whether it runs on one's own machine and costs nothing.
        base_url: Where requests go if neither the profile nor the environment names an address.
        base_url_variable: The environment variable that may name another address.
        read_address: Makes a URL of that variable or of a profile's `base_url`.
        key_variables: The environment variables that may hold a key, the first that is set winning; none: no key.
        keyless_locally: Whether a server on this network may be asked without a key.
        models_path: The path below the base URL that lists the models, free of charge; empty: there is no list.
        lists_all: Whether a model that is not in the list cannot be asked.
        concurrency: Calls at once of a profile that sets no limit; None is no limit.
        output_names: How its params name the limit of an answer's tokens, the name that is sent first.
        output_demanded: The limit that is sent where none is given, since the API demands one.
        options_in: The param whose entries are sent beside those outside of it, where the API looks for the limit.
        output_ours_first: Whether `max_tokens` beats what params say, instead of the other way round.
        caches_on_request: Whether nothing is written to its cache, at a price of its own, unless a request asks for it.
        one_answer: Whether a request asks for one answer only, whatever its params say.
        outputs: The most tokens that an answer of a model may have, by patterns that the names of models start with.
        structured: What of a JSON schema its API takes: the schema, a mode for any JSON, or nothing. In the latter two
            the schema stands in the prompt.
        states_cost: By whose rules its answers state what they cost; empty: that depends on the address.
        at_capacity: The HTTP status by which it says that it has no capacity, beside 503 and 529; 0 for none.
        fill_in: The part of `base_url` that stands for what only the user knows.
        resells: Whether it sells models of others, under names that others use too.
        words: What `effort`, `tier` and `prompt_cache` may be, by patterns that the names of models start with. No
            model takes an option that is not here.
        standard_tier: What it calls the tier that is served at list prices.
        refuses: The request options that it does not take, and from which models.
        attachments: What it takes in a prompt beside text; None: nothing.
        retires: The day on which a model is switched off, as the provider announced it.
        hints: The next step after an error of that class, if not the usual one; may hold `{model}`, `{profile}`,
            `{variables}` and `{mending}`: how the key is set right.
        starts_itself: Whether its server is a child process of this one, started at the first call.
        unreachable: What to do if the address does not answer; may hold `{base_url}` and `{model}`.
        dialect: The class by which the simulator speaks its protocol, or where it is.
        loggers: The loggers whose records may hold a key.
    """

    name: str
    client: str | type[Any]
    apis: Mapping[str, Api] = field(default_factory=dict[str, Api])
    price_id: str | None
    free: bool = False
    base_url: str
    base_url_variable: str = ""
    read_address: Callable[[str], str] = str
    key_variables: tuple[str, ...] = ()
    keyless_locally: bool = False
    models_path: str = "/models"
    lists_all: bool = True
    concurrency: int | None = None
    output_names: tuple[str, ...] = ("max_tokens",)
    output_demanded: int | None = None
    options_in: str = ""
    output_ours_first: bool = False
    caches_on_request: bool = False
    one_answer: bool = False
    outputs: Mapping[str, int] = field(default_factory=dict[str, int])
    structured: Structured = "schema"
    states_cost: str = ""
    at_capacity: int = 0
    fill_in: str = ""
    resells: bool = False
    words: Words = field(default_factory=dict[str, Any])
    standard_tier: str = "default"
    refuses: Mapping[str, Refusal] = field(default_factory=dict[str, Refusal])
    attachments: Attachments | None = None
    retires: Mapping[str, date] = field(default_factory=dict[str, date])
    hints: Mapping[type[ProviderError], str] = field(default_factory=dict[type[ProviderError], str])
    starts_itself: bool = False
    unreachable: str = "check {base_url}"
    dialect: str | type[Any] = "victor_nb.wire.dialects.openai:OpenAI"
    loggers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raise if the name is none that a profile could say.

        Raises:
            ConfigError: It is no text, or empty.
        """
        if not isinstance(self.name, str) or not self.name:  # pyright: ignore[reportUnnecessaryIsInstance] - a package may have no types
            raise ConfigError(f"The name of a provider is a word, not {self.name!r}. Give its Spec one.")

    def needs_key(self, base_url: str) -> bool:
        """Return whether a request to this address needs one of the key variables."""
        return bool(self.key_variables) and not (self.keyless_locally and is_local(base_url))

    def takes(self, option: str, value: object, *, model: str, api: str | None = None) -> bool:
        """Return whether a model takes this value of a request option, as far as it is known without asking it."""
        refusal = self.refuses.get(option)
        if refusal is None or (refusal.unless is not None and value == refusal.unless):
            return True
        if refusal.api and refusal.api != self.api_of(model, api):
            return True
        return not re.match(refusal.models, model)

    def words_for(self, option: str, model: str) -> tuple[str, ...]:
        """Return the words that a model takes for an option such as `effort`; none where it takes no such option."""
        found = self.words.get(option, {}).items()
        return next((words for models, words in found if re.match(models, model)), ())

    def retirement(self, model: str) -> date | None:
        """Return the day on which a model is switched off; None where none is announced."""
        return self.retires.get(_SNAPSHOT.sub("", model))

    def max_output(self, request: ChatRequest) -> int | None:
        """Return the tokens that one answer may have; None where nothing but the model limits it."""
        ours = request.max_tokens or self.output_demanded
        if self.output_ours_first and ours is not None:
            return ours
        api = self.apis.get(self.api_of(request.model, None))
        return longest(request.params, api.output_names if api else self.output_names, self.options_in, ours)

    def own_output(self, model: str) -> int | None:
        """Return the tokens that one answer of a model may have by itself; None where that is not known."""
        return next((count for models, count in self.outputs.items() if re.match(models, model)), None)

    def answers(self, request: ChatRequest) -> int:
        """Return how many answers the request asks for at once."""
        return 1 if self.one_answer else choices(request.params)

    def api_of(self, model: str, api: str | None) -> str:
        """Return the protocol in which a model is asked: the one that its profile names, else the one that it has."""
        if api is not None:
            return api
        return next((name for name, other in self.apis.items() if re.match(other.models, model)), "chat")

    def is_loaded(self, model: str = "", api: str | None = None) -> bool:
        """Return whether a model's client has been imported."""
        other = self.apis.get(self.api_of(model, api))
        client = other.client if other else self.client
        return not isinstance(client, str) or client.partition(":")[0] in sys.modules

    def load_client(self, model: str = "", api: str | None = None) -> type[Any]:
        """Import a model's client, one thread at a time: two that import one SDK may each see half of it.

        Raises:
            ConfigError: The provider has no such protocol.
        """
        other = self.apis.get(self.api_of(model, api))
        if other is None and api not in {None, "chat"}:
            raise ConfigError(f"{self.name} has no API called {api!r}. Leave api out of the profile.")
        with _importing:
            return load(other.client if other else self.client)

    def load_dialects(self) -> list[type[Any]]:
        """Import the simulator's side of its protocols."""
        return [load(self.dialect), *(load(api.dialect) for api in self.apis.values())]


def load(place: str | type[Any]) -> type[Any]:
    """Return a class that is given by itself or as "module:Class"."""
    return cast("type[Any]", pkgutil.resolve_name(place)) if isinstance(place, str) else place


ANTHROPIC: Final = Spec(
    name="anthropic",
    client="victor_nb.providers.anthropic:Anthropic",
    price_id="anthropic",
    base_url="https://api.anthropic.com",
    base_url_variable="ANTHROPIC_BASE_URL",
    key_variables=("ANTHROPIC_API_KEY",),
    models_path="/v1/models?limit=1000",
    output_demanded=8192,
    one_answer=True,
    caches_on_request=True,
    # No temperature since API version 2026-10-21, and never a seed.
    refuses={"temperature": Refusal(), "seed": Refusal()},
    words=WORDS["anthropic"],
    retires=RETIRES["anthropic"],
    attachments=ATTACHMENTS["anthropic"],
    dialect="victor_nb.wire.dialects.anthropic:Anthropic",
    loggers=("anthropic",),
)
OPENAI: Final = Spec(
    name="openai",
    client="victor_nb.providers.openai:OpenAI",
    # The models of the SDK's `ResponsesModel`, and of OpenAI's pages on its models, that have no Chat Completions.
    apis={
        "responses": Api(
            "victor_nb.providers.responses:Responses",
            "victor_nb.wire.dialects.responses:Responses",
            models=r"(gpt-[5-9][\w.]*|o[1-9])-pro\b|gpt-[5-9][\w.]*-(codex|cyber)\b|codex-|o[34](-mini)?-deep-research"
            r"|computer-use|gpt-(daybreak|rosalind|[\w.]+-rosalind)\b|gpt-6\.2-astra-law",
        )
    },
    price_id="openai",
    base_url="https://api.openai.com/v1",
    base_url_variable="OPENAI_BASE_URL",
    key_variables=("OPENAI_API_KEY",),
    keyless_locally=True,
    output_names=("max_completion_tokens", "max_tokens"),
    outputs=OUTPUTS["openai"],
    words=WORDS["openai"],
    # Reasoning models take no temperature but 1.
    refuses={"temperature": Refusal(models=r"(o\d|gpt-5)(?!.*chat)", unless=1), "seed": Refusal(api="responses")},
    retires=RETIRES["openai"],
    attachments=ATTACHMENTS["openai"],
    loggers=("openai",),
)
GOOGLE: Final = Spec(
    name="google",
    client="victor_nb.providers.google:Google",
    price_id="google",
    base_url="https://generativelanguage.googleapis.com",
    base_url_variable="GOOGLE_GEMINI_BASE_URL",
    key_variables=("GOOGLE_API_KEY", "GEMINI_API_KEY"),
    models_path="/v1beta/models?pageSize=1000",
    output_names=("maxOutputTokens", "max_output_tokens"),
    options_in="generationConfig",
    outputs=OUTPUTS["google"],
    words=WORDS["google"],
    attachments=ATTACHMENTS["google"],
    dialect="victor_nb.wire.dialects.google:Google",
)
OLLAMA: Final = Spec(
    name="ollama",
    client="victor_nb.providers.ollama:Ollama",
    price_id=None,
    free=True,
    base_url="http://127.0.0.1:11434",
    base_url_variable="OLLAMA_HOST",
    read_address=ollama_address,
    models_path="/api/tags",
    concurrency=4,  # it queues the rest itself, while our clock runs
    output_names=("num_predict",),
    options_in="options",
    output_ours_first=True,
    one_answer=True,
    words=WORDS["ollama"],
    attachments=Attachments(pdf=False),
    hints={
        ConnectError: "Start it with `ollama serve` (ollama.com has it), ask another profile, or see %victor local: "
        "a 135M model on your CPU.",
        NotFoundError: "Pull it: ollama pull {model}",
    },
    unreachable="start it: ollama serve, from ollama.com (and once: ollama pull {model})",
    dialect="victor_nb.wire.dialects.ollama:Ollama",
)
_COMPATIBLE: Final = replace(
    OPENAI,
    base_url_variable="",
    outputs={},
    refuses={"seed": OPENAI.refuses["seed"]},
    attachments=Attachments(pdf=False),
    retires={},
)
"""OpenAI's protocol without what holds for OpenAI's own models."""
EMBEDDED: Final = replace(
    _COMPATIBLE,
    name="embedded",
    client="victor_nb.providers.embedded:Embedded",
    apis={},
    price_id=None,
    free=True,
    base_url="http://localhost/v1",  # the port is chosen when it starts
    key_variables=(),
    concurrency=4,  # the slots of its server
    output_names=("max_tokens", "max_completion_tokens"),
    words={},
    attachments=None,
    hints={ConnectError: "Ask again: its server is started anew."},
    starts_itself=True,
)
BUILT_IN: Final = (
    ANTHROPIC,
    OPENAI,
    GOOGLE,
    OLLAMA,
    EMBEDDED,
    *(replace(_COMPATIBLE, name=name, words=WORDS.get(name, {}), **row) for name, row in PRESETS.items()),
)
"""In the order in which the seller of a model is looked for."""


SPECS: Final = {spec.name: spec for spec in BUILT_IN}
"""The specs that are read already, by name: the built-in ones first. Those of installed packages come when needed."""
_plugins_read: Final = threading.Event()
_under_way: Final = threading.Event()
_reading = threading.RLock()  # a plug-in may ask for a spec while it is imported


def _renew() -> None:
    """Begin anew in a forked child: another thread of its parent was perhaps importing one."""
    global _importing, _reading
    _importing, _reading = threading.Lock(), threading.RLock()
    _under_way.clear()


in_child(_renew)


def find_spec(name: str) -> Spec | None:
    """Return the spec of a provider; None if it is neither built in nor of an installed package."""
    return SPECS.get(name) or all_specs().get(name)


def spec_of(name: str) -> Spec:
    """Return the spec of a provider.

    Raises:
        ConfigError: There is none of that name.
    """
    found = SPECS.get(name) or find_spec(name)
    if found is None:
        raise ConfigError(f"U{unknown_provider(name)[1:]}")
    return found


def split_words(name: str) -> tuple[str, str] | None:
    """Return provider and model of `provider:model`, split at the first colon; None where it names none."""
    provider, _, model = name.partition(":")
    return (provider, model) if model and find_spec(provider) is not None else None


def all_specs() -> Mapping[str, Spec]:
    """Return every spec by name; the first call looks for those of installed packages, which takes 30 ms."""
    with _reading:
        if not (_plugins_read.is_set() or _under_way.is_set()):
            _under_way.set()
            try:
                faults = _read_plugins()
                _plugins_read.set()
            finally:
                _under_way.clear()
            for text in faults:  # last, since a warning may be an error
                warnings.warn(text, VictorWarning, stacklevel=2)
    return SPECS


def unknown_provider(name: object) -> str:
    """Return the sentence that no provider has this name, with the nearest one and all there are."""
    names = sorted(all_specs())
    close = did_you_mean(str(name), names)
    hint = f"Did you mean {close!r}? " if close else ""
    return f"unknown provider {name!r}. {hint}Known: {', '.join(names)} (any OpenAI-compatible server: openai)."


def register(spec: Spec) -> None:
    """Add a provider for this process, or replace one that was added.

    Raises:
        ConfigError: A built-in provider has that name.
    """
    if any(spec.name == built_in.name for built_in in BUILT_IN):
        raise ConfigError(f"The provider {spec.name!r} is built in. Give yours another name.")
    SPECS[spec.name] = spec


def unregister(name: str) -> None:
    """Remove a provider that was added by `register`."""
    SPECS.pop(name, None)


def _read_plugins() -> list[str]:
    """Add the specs of installed packages, and return a line about each that gives none."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - takes longer than all other imports of ours

    found: dict[str, Spec] = {}
    faults: list[str] = []
    for entry in entry_points(group=GROUP):
        spec = _read_plugin(entry)
        if isinstance(spec, Spec) and spec.name in SPECS | found:
            spec = f"there is a provider {spec.name!r} already"
        if isinstance(spec, Spec):
            found[spec.name] = spec
        else:
            package = entry.dist.name if entry.dist else entry.value
            faults.append(f"The package {package} adds no provider ({entry.name}): {spec}. Update or uninstall it.")
    SPECS.update(found)
    return faults


def _read_plugin(entry: EntryPoint) -> Spec | str:
    """Return the spec that an entry point gives, or why there is none."""
    try:
        given: object = entry.load()
        spec = given if isinstance(given, Spec) else cast("Callable[[], object]", given)()
    except BaseException as error:
        if isinstance(error, STOPS):
            raise
        return f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(".")
    return spec if isinstance(spec, Spec) else f"it gives a value of type {type(spec).__name__}, not a Spec"


def takes_temperature(provider: str, model: str, temperature: float, *, refused: bool) -> bool:
    """Return whether a model may be sent this temperature; one that nothing is known of may.

    Args:
        provider: Who serves the model.
        model: Its name.
        temperature: What would be sent.
        refused: Whether its host has refused one before.
    """
    return not refused and spec_of(provider).takes("temperature", temperature, model=model)
