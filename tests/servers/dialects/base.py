"""What the protocols have in common, and the helps to write them down."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from servers.answers import Answer, Tokens
    from servers.exchange import Request

THOUGHT = "I had better count them."


class Event(NamedTuple):
    """A piece of a stream, and whether it has text that a reader sees."""

    data: bytes
    is_text: bool = False


class Asked(NamedTuple):
    """What a request asked for, read back into plain terms."""

    model: str
    system: str | None
    messages: list[tuple[str, str]]
    max_tokens: int | None
    temperature: float | None
    key: str | None
    seed: int | None = None


class Told(NamedTuple):
    """What an answer says, read back into plain terms."""

    text: str
    input_tokens: int
    output_tokens: int
    finish: str


class Dialect:
    """One provider's protocol: how to ask in it and read the answer, and how to read a request and tell an answer.

    Attributes:
        name: The provider, as profiles name it.
        model: A model of it that has a price and is not about to retire.
        words: How it says why an answer ended.
        takes_temperature: Whether its current API takes one.
        takes_seed: Whether it takes one.
        free: Whether it costs nothing.
        params: Params of its own, and what the body of a request with them holds.
        too_long: How it refuses a prompt for its length.
        key_variable: The environment variable that holds its key; empty where it needs none.
        url_variable: The environment variable that moves it elsewhere.
    """

    name: ClassVar[str]
    model: ClassVar[str]
    stream_type: ClassVar[str]
    words: ClassVar[Mapping[str, str]]
    takes_temperature: ClassVar[bool] = True
    takes_seed: ClassVar[bool] = True
    free: ClassVar[bool] = False
    params: ClassVar[tuple[Mapping[str, Any], Mapping[str, Any]]]
    too_long: ClassVar[str]
    key_variable: ClassVar[str]
    url_variable: ClassVar[str]

    def __repr__(self) -> str:
        return self.name

    def base_url(self, origin: str) -> str:
        """Return what a user writes as `base_url` for a server at this origin."""
        return origin

    def question(self, prompt: str, *, stream: bool = False, limit: int | None = None) -> tuple[str, dict[str, Any]]:
        """Return the path and the body of a question that asks for nothing more than that."""
        raise NotImplementedError

    def told(self, events: list[dict[str, Any]]) -> Told:
        """Read a plain answer, which is one event, or all events of a stream."""
        raise NotImplementedError

    def told_in(self, body: bytes, *, stream: bool) -> Told:
        """Read the bytes of an answer."""
        lines = body.splitlines() if stream else [body]
        if stream and "event-stream" in self.stream_type:
            lines = [line.removeprefix(b"data: ") for line in lines if line.startswith(b"data: {")]
        return self.told([json.loads(line) for line in lines])

    @property
    def has_ids(self) -> bool:
        """Whether its answers say by which id the provider knows the exchange."""
        return type(self).id_header is not Dialect.id_header or type(self).request_id is not Dialect.request_id

    def speaks(self, path: str) -> bool:
        """Say whether a POST to this path is of this protocol."""
        raise NotImplementedError

    def streamed(self, request: Request) -> bool:
        """Say whether the request wants a stream."""
        raise NotImplementedError

    def asked(self, request: Request) -> Asked:
        """Read a request."""
        raise NotImplementedError

    def id_header(self, answer: Answer) -> dict[str, str]:
        """Return the header with the id of the exchange."""
        return {}

    def request_id(self, answer: Answer) -> str | None:
        """Return the id by which the provider's support desk would find the exchange."""
        return next(iter(self.id_header(answer).values()), None)

    def known(self, tokens: Tokens) -> Tokens:
        """Keep the counts that this protocol can tell."""
        raise NotImplementedError

    def plain(self, answer: Answer, request: Request) -> bytes:
        """Return the body of a plain answer."""
        raise NotImplementedError

    def events(self, answer: Answer, request: Request) -> Iterator[Event]:
        """Return the pieces of a streamed answer."""
        raise NotImplementedError

    def error(self, status: int, message: str) -> bytes:
        """Return the body of an answer that is an error."""
        raise NotImplementedError

    def error_event(self, message: str) -> bytes:
        """Return the piece of a stream by which the provider gives up in the middle."""
        raise NotImplementedError

    def finish_word(self, answer: Answer) -> str:
        """Return the provider's own word for why the answer ended."""
        return answer.word or self.words[answer.finish]


def dump(value: object) -> bytes:
    """Return JSON in UTF-8, as servers write it; in ASCII where a text has half a surrogate pair."""
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value).encode()


def sse(value: object, name: str = "") -> bytes:
    """Return one server-sent event."""
    return (f"event: {name}\n" if name else "").encode() + b"data: " + dump(value) + b"\n\n"


def without(mapping: Mapping[str, Any], **unwanted: object) -> dict[str, Any]:
    """Leave out the entries that equal what is unwanted for them: `thoughts=0` and the like."""
    return {key: value for key, value in mapping.items() if key not in unwanted or unwanted[key] != value}


def turns(prompt: str) -> list[dict[str, str]]:
    """Return the conversation of one question, as most protocols write it."""
    return [{"role": "user", "content": prompt}]


def only(tokens: Tokens, *names: str) -> Tokens:
    """Keep the counts of these names."""
    return type(tokens)(**{name: getattr(tokens, name) for name in names})


def blocks(content: str | list[dict[str, Any]]) -> str:
    """Return the text of a message, which may be a string or a list of blocks."""
    return content if isinstance(content, str) else "".join(block.get("text", "") for block in content)
