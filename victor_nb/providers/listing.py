"""The list of models that a host gives for free: by it one learns whether it answers, takes the key, has the model."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Literal, cast

import httpx2

from victor_nb import errors
from victor_nb.config.secret import masked
from victor_nb.providers.base import KEYLESS
from victor_nb.providers.refusals import judge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from victor_nb.providers.base import Provider
    from victor_nb.providers.spec import Spec

PATIENCE: Final = 4.0  # seconds; a server that takes longer to list its models is no help in a notebook
_NO_LIST: Final = frozenset({404, 405, 501})
_LATER_VERSION: Final = re.compile(r"-(\d{8}|\d{4}-\d\d-\d\d|\d\d-\d{4}|latest)")
"""What follows the name of a model in the name of one version of it."""
_MAY_NOT_LIST: Final = re.compile(r"scope|permission", re.IGNORECASE)
"""What a refusal speaks of where a key may ask models, but not list them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What a host said when it was asked for its models.

    Attributes:
        reachable: `yes`, or why not.
        answered: Whether it speaks the protocol that it should.
        key: What it says of the key: `wanted` where none was sent and it asks for one, `set` where it gives its list
            to all, or does not say; "" for none.
        names: The models; None where it lists none.
        advice: What to do about it; "" for nothing.
    """

    reachable: str = "yes"
    answered: bool = True
    key: Literal["right", "wrong", "wanted", "set", ""] = ""
    names: frozenset[str] | None = None
    advice: str = ""

    def serves(self, spec: Spec, model: str) -> bool | None:
        """Return whether a model can be asked; None where the list does not say."""
        if not self.names:
            return None
        model = model.removeprefix("models/")
        found = {model, f"{model}:latest", model.removesuffix("-latest")}
        if spec.resells:
            found.add(model.partition(":")[0])  # `:nitro` and the like: another way to the same model
        if found & self.names or any(
            name.startswith(each) and _LATER_VERSION.fullmatch(name.removeprefix(each))
            for name in self.names
            for each in found
        ):
            return True
        return False if spec.lists_all and not any("*" in name for name in self.names) else None

    def nearest(self, model: str) -> str | None:
        """Return the listed model whose name is nearest to that of another."""
        return errors.did_you_mean(model.removeprefix("models/"), sorted(self.names or ()))


async def look_up(provider: Provider) -> Listing:
    """Return what a provider's host says of its models and the key. It never raises, and no tokens are spent."""
    endpoint, spec = provider.endpoint, provider.endpoint.spec
    shown, url = masked(endpoint.base_url), endpoint.base_url + (spec.models_path or "/models")
    keyless = {KEYLESS: True}
    if spec.starts_itself:  # what cannot be served is an error when the client is made; nothing is started
        return Listing(names=frozenset({endpoint.model}))
    try:
        async with asyncio.timeout(PATIENCE):
            if not spec.models_path:
                await provider.http.get(url, extensions=keyless)
                return Listing(key="set" if endpoint.key else "")
            found = _read(await provider.http.get(url), provider)
            if found.key == "right" and (await provider.http.get(url, extensions=keyless)).is_success:
                return Listing(key="set", names=found.names)
            return found
    except TimeoutError:
        return Listing(reachable=f"no: silent for {PATIENCE:g} s", answered=False, advice=f"check {shown}")
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
        failure = provider.translate(error)
        advice = str(failure).removeprefix(f"{endpoint.profile}: ").rstrip(".")
        if type(failure) is errors.ConnectError and isinstance(error, httpx2.ConnectError):
            advice = spec.unreachable.format(base_url=shown, model=endpoint.model)
        return Listing(reachable="no", answered=False, advice=advice)


def _read(answer: httpx2.Response, provider: Provider) -> Listing:
    """Read what a request for the list was answered with."""
    endpoint = provider.endpoint
    sent: Literal["right", ""] = "right" if endpoint.key else ""
    if answer.is_success:
        if (names := _names(answer.content)) is not None:
            return Listing(key=sent, names=names)
        other = f"yes, but it is not {endpoint.spec.name}"
        return Listing(reachable=other, answered=False, key="set" if sent else "", advice="check base_url")
    fault = judge(answer.status_code, answer.content, at_capacity=endpoint.spec.at_capacity)
    words = endpoint.redactor.clean(fault.words).rstrip(".")
    said = f"it answered {answer.status_code}{f': {words}' if words else ''}"
    unsure = "set" if sent else ""
    if fault.moved:
        return Listing(answered=False, key=unsure, advice="check base_url: what it names has moved")
    if fault.kind is errors.AuthenticationError:
        return _refused(answer.status_code, words, said, keyed=bool(sent))
    if fault.kind is errors.QuotaError:
        return Listing(key=sent, answered=False, advice=f"no credit is left: {said}")
    if answer.status_code in _NO_LIST or fault.kind is errors.BadRequestError:  # it may have no list, or no such one
        return Listing(key=unsure)
    return Listing(answered=False, key=unsure, advice=f"try again later: {said}")


def _refused(status: int, words: str, said: str, *, keyed: bool) -> Listing:
    if not keyed:
        return Listing(answered=False, key="wanted")
    if status == HTTPStatus.FORBIDDEN and _MAY_NOT_LIST.search(words):
        return Listing(key="set")
    return Listing(answered=False, key="wrong", advice=said)


def _names(body: bytes) -> frozenset[str] | None:
    """Return the names in a list of models, whichever provider wrote it; None where it is none."""
    try:
        listed = cast("object", json.loads(body))
    except (ValueError, RecursionError):
        return None
    if isinstance(listed, dict):
        outer = cast("dict[str, object]", listed)
        listed = outer.get("data", outer.get("models"))
    return frozenset(_each(cast("list[object]", listed))) if isinstance(listed, list) else None


def _each(listed: list[object]) -> Iterator[str]:
    for each in listed:
        if isinstance(each, str):
            yield each
        entry = cast("dict[str, object]", each) if isinstance(each, dict) else {}
        for key in ("id", "name", "model"):
            if isinstance(name := entry.get(key), str) and name:
                yield name.removeprefix("models/")
                break
