"""Every error that victor_nb raises on purpose: a fact, then the next step, on one line.

VictorError
├── ConfigError (ValueError)             profiles.yaml, settings, a mode, an option
│   ├── ProfileNotFoundError
│   └── MagicError                       a `%%victor` or `%victor` line
├── PromptError (ValueError)             a prompt that cannot be sent as written
├── SecretError (RuntimeError)           a key that is missing, or about to leak
├── ProviderOpenError (RuntimeError)     a client that cannot be made
├── BudgetError (RuntimeError)           money that is not there
├── ClosedError (RuntimeError)           a pool, agent or session used after its end
├── FanOutError (RuntimeError)           too many of several calls failed
├── MapError (RuntimeError)              all rows of a map failed alike; `.partial` is the frame
├── TapeError                            a tape that cannot be read, written or used
├── NetworkBlockedError (ConnectionError)  another machine, in a notebook that is replayed for a check
└── ProviderError (RuntimeError)         the other side, or the way to it
    ├── BadRequestError                  400, 409, 422 and other refusals of the request
    │   ├── ContextLengthError           413, or a 400 about too many tokens
    │   └── NotFoundError                404: no such model or path
    ├── AuthenticationError              401, 403
    ├── RateLimitError                   429
    ├── QuotaError                       429, 402 and others: no credit is left, and waiting brings none
    ├── ServerError                      5xx
    │   └── OverloadedError              503, 529
    ├── RequestTimeoutError (TimeoutError)
    ├── ConnectError (ConnectionError)   nothing, or no answer, at the other end
    ├── ContentFilterError               an answer that the provider withheld
    ├── MalformedAnswerError             an answer that is not one
    │   └── InvalidAnswerError           an answer that does not fit its schema; `.reply` has it
    ├── TapeMissError (LookupError)      a replay whose tape does not hold this exchange
    ├── InternalError                    not the other side: a fault of ours, of an SDK, of an import
    └── PartialAnswerError               an answer that broke off; `.partial` has what came

VictorInterrupted (KeyboardInterrupt)    Stop was pressed; no `except Exception` swallows it
VictorWarning (UserWarning)
"""

from __future__ import annotations

import copyreg
import linecache
import os
import re
import traceback
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from decimal import Decimal
    from types import FrameType

_REASONS_SHOWN = 2
_LINES_SHOWN: Final = 3
_FAULT_SHOWN: Final = 160  # characters of what a function of the user's raises, which may quote a whole answer
_SOURCE_SHOWN: Final = 100  # characters of a line of code
_NOT_THE_USERS: Final = (f"{os.path.dirname(__file__)}{os.sep}", f"{os.path.dirname(os.__file__)}{os.sep}", "<frozen")  # noqa: PTH120
"""Where the code of this package and of Python is."""
_CALLED: Final = re.compile(r"get_ipython\(\)\.run_line_magic\('(?P<name>\w+)', (?P<mark>['\"])(?P<line>.*)(?P=mark)\)")
"""What IPython makes of a magic in a line of code."""
_SECRETIVE: Final = re.compile(r"(?i)key|token|secret|password|sk-")
"""Words of a line of code that is not shown, since a key may stand in it."""
UNLOADABLE: Final = (ImportError, AttributeError, OSError, TypeError, ValueError)
"""What importing a provider's SDK raises where something that it needs is missing, broken or half imported."""
STOPS: Final = (KeyboardInterrupt, GeneratorExit)
"""What code of others passes on; all else that an entry point or a function of the user's raises is its failure."""


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """Return the known word nearest to `word`, which may be the same in letters of another case; None: none is near."""
    names = list(known)
    alike = next((name for name in names if name.lower() == word.lower()), None)
    return alike or next(iter(get_close_matches(word, names, n=1, cutoff=0.6)), None)


def user_line(error: BaseException) -> str | None:
    """Return the deepest line of the user's own code that an error went through: `Cell In[2], line 3, in f(): ...`.

    None where there is none, or where it is the line that was just typed: a magic, or a cell of one line.
    """
    found: tuple[FrameType, int] | None = None
    for frame, number in traceback.walk_tb(error.__traceback__):
        if not frame.f_code.co_filename.startswith(_NOT_THE_USERS) and "-packages" not in frame.f_code.co_filename:
            found = frame, number
    if found is None:
        return None
    (frame, number), code = found, found[0].f_code
    source = linecache.getline(code.co_filename, number).strip()
    name = "a lambda" if code.co_name == "<lambda>" else f"{code.co_name}()"
    at_top = name.startswith("<")  # of a cell or a file, or in a comprehension
    alone = number == 1 and len(linecache.getlines(code.co_filename)) <= 1
    if at_top and (alone or source.startswith(("get_ipython().run_", "raise __import__("))):
        return None
    inside = "" if at_top else f", in {name}"
    source = _CALLED.sub(lambda call: f"%{call['name']} {call['line']}", source)
    hidden = not source or isinstance(error, SecretError) or _SECRETIVE.search(source)
    shown = "" if hidden else f": {source[:_SOURCE_SHOWN]}"
    return f"{_code_name(frame)}, line {number}{inside}{shown}"


def failed_at(error: BaseException) -> str:
    """Return what went wrong in a function of the user's, and in which line of it."""
    what = " ".join(f"{type(error).__name__}: {error}".split())
    what = what if len(what) <= _FAULT_SHOWN else f"{what[:_FAULT_SHOWN]}…"
    return "; ".join(filter(None, (what, user_line(error))))


def _code_name(frame: FrameType) -> str:
    """Return how IPython calls the code of a frame, else its file."""
    shell: Any = frame.f_globals.get("get_ipython")
    try:
        label, name = shell().compile.format_code_name(frame.f_code.co_filename)
    except (AttributeError, TypeError):  # no IPython, or no cell of it
        return os.path.basename(frame.f_code.co_filename)  # noqa: PTH119 - a cell's is no path
    return f"{label} {name}"


class Result(Protocol):
    """The result of a call, fan-out, strategy or comparison: `Reply`, `Replies`, `StrategyRun` or `Comparison`."""

    @property
    def cost(self) -> Decimal | None:
        """List price in USD; None when that of any part is unknown."""
        ...


class Answer(Result, Protocol):
    """The result of one call: a `Reply`."""

    @property
    def content(self) -> str:
        """The text."""
        ...

    @property
    def status(self) -> str:
        """How it ended."""
        ...


def suggest(word: object, known: Iterable[str], *, shape: str = "{!r}", otherwise: str = "") -> str:
    """Return the sentence after an unknown word: the nearest known one, or else all of them.

    Args:
        word: What was given.
        known: What would have been right.
        shape: How the nearest one is written, such as `{}=`.
        otherwise: The sentence where none is near, instead of the list.
    """
    names = list(known)
    close = did_you_mean(word, names) if isinstance(word, str) else None
    if close is not None:
        return f"Did you mean {shape.format(close)}?"
    return otherwise or f"Known: {', '.join(names) or 'none'}."


class _Portable(BaseException):
    """An exception that a pickle brings back whole, whatever arguments its class is made with.

    Python makes it anew from `args`, its message. Where the class takes more than that, this fails in the process that
    receives it, and `multiprocessing.Pool.map` waits for ever.
    """

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        # tblib, which dask brings, registers itself for all exceptions. It takes causes along, which it cannot restore
        # where they are an SDK's, and follows circles of them without end.
        copyreg.dispatch_table.pop(type(self), None)

    def __reduce__(self) -> tuple[object, ...]:
        """Return what `pickle` and `copy` make it from: class, message, and attributes, notes among them."""
        return _restore, (type(self), self.args), self.__dict__

    def __eq__(self, other: object) -> bool:
        """Compare by content, since a copy from another process is no other failure."""
        return isinstance(other, _Portable) and (type(self), self.args, self.__dict__) == (
            type(other),
            other.args,
            other.__dict__,
        )

    def __hash__(self) -> int:
        return hash((type(self), self.args))


def _restore(kind: type[BaseException], args: tuple[object, ...]) -> BaseException:
    built_in = kind
    while built_in.__module__ != "builtins":  # of several bases, the one that decides how memory is laid out
        built_in = cast("type[BaseException]", built_in.__base__)
    error = built_in.__new__(kind, *args)
    error.args = args
    return error


class VictorError(_Portable, Exception):
    """The root: `except VictorError` catches every failure of ours.

    Attributes:
        partial: What had come of the call, fan-out, strategy or map that failed; None where nothing had.
    """

    partial: Any = None

    def _render_traceback_(self) -> list[str]:
        """Return the lines, three at the most, that IPython prints instead of a traceback."""
        notes: list[str] = getattr(self, "__notes__", [])
        return [f"{type(self).__name__}: {self}", *filter(None, [user_line(self)]), *notes][:_LINES_SHOWN]


class ConfigError(VictorError, ValueError):
    """A setting that cannot be used as written."""


class ProfileNotFoundError(ConfigError):
    """The settings hold no profile of that name."""

    def __init__(
        self, name: str, known: Iterable[str], *, where: str = "profiles.yaml", providers: Iterable[str] = ()
    ) -> None:
        names, sellers = list(known), list(providers)
        provider, colon, model = name.partition("/" if "/" in name and ":" not in name else ":")
        close = did_you_mean(provider, sellers) if colon and model else None
        is_model = "-" in name and any(map(str.isdigit, name)) and not colon
        asked = f"write PROVIDER:{name} to ask a model" if is_model else f"add it to {where}"
        others = f"Known: {', '.join(names) or 'none'}; or {asked}."
        several = [part.strip() for part in re.split(r"[;+|&]", name)]
        hint = suggest(name, names, otherwise=f"Did you mean '{close}:{model}'?" if close else others)
        if provider in sellers and colon != "/":
            hint = f"To ask a model of {provider} without a profile, write {provider}:MODEL."
        elif len(several) > 1 and {*several} <= {*names}:
            hint = f"Several have commas between them: {','.join(several)}."
        super().__init__(f"Profile {name!r} not found. {hint}")
        self.name = name


class MagicError(ConfigError):
    """A magic line that cannot be understood."""


class PromptError(VictorError, ValueError):
    """A prompt that cannot be sent as written."""


class SecretError(VictorError, RuntimeError):
    """A key that is missing, or that was about to leave the machine in a prompt."""


class ProviderOpenError(VictorError, RuntimeError):
    """A provider's client cannot be made: its package is missing, or a setting is refused."""


class BudgetError(VictorError, RuntimeError):
    """The worst case of a call does not fit the budget; nothing was sent."""


class ClosedError(VictorError, RuntimeError):
    """A pool, agent or session was used after it was closed."""


class FanOutError(VictorError, RuntimeError):
    """All calls of a fan-out failed, or one did where none may.

    Attributes:
        replies: All entries, with the answers that came; `partial` is the same.
    """

    def __init__(self, replies: Result, failed: Sequence[tuple[str, object]], asked: int) -> None:
        shown = failed[:_REASONS_SHOWN]
        reasons = "; ".join(f"{type(error).__name__}: {error}" for _, error in shown)
        more = f"; and {len(failed) - len(shown)} more" if len(failed) > len(shown) else ""
        super().__init__(f"{len(failed)} of {asked} calls failed: {reasons}{more}")
        self.replies = self.partial = replies


class MapError(VictorError, RuntimeError):
    """All rows of a map failed for one reason; the others were not asked. `partial` is the frame so far."""


class TapeError(VictorError, RuntimeError):
    """A tape cannot be read, written or used."""


class NetworkBlockedError(VictorError, ConnectionError):
    """A notebook that is replayed for a check wanted to connect to another machine."""


class ProviderError(VictorError, RuntimeError):
    """A provider refused, failed, or could not be reached.

    Attributes:
        profile: The profile that asked.
        provider: Who was asked.
        model: The model that was asked for.
        http_status: The HTTP status, where there was one.
        request_id: The provider's id of the exchange, for its support desk.
        retryable: Whether the same request may succeed later.
        retry_after: Seconds that the provider asked us to wait.
        refused: Whether nothing was generated, and so nothing is paid: the request was never sent, did not arrive, or
            was answered with an error status. Of any other failure it is not known what the provider charges.
        reply: What had arrived of this call's answer; of a single call, `partial` is the same.
    """

    retryable = False
    refused = False

    def __init__(
        self,
        message: str,
        *,
        profile: str = "",
        provider: str = "",
        model: str = "",
        http_status: int | None = None,
        request_id: str | None = None,
        retryable: bool | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.profile = profile
        self.provider = provider
        self.model = model
        self.http_status = http_status
        self.request_id = request_id
        self.retryable = type(self).retryable if retryable is None else retryable
        self.retry_after = retry_after
        self.reply: Answer | None = None


class BadRequestError(ProviderError):
    """The provider does not take the request as it is."""


class ContextLengthError(BadRequestError):
    """The prompt, with the room asked for the answer, is longer than the model reads."""


class NotFoundError(BadRequestError):
    """The provider knows no such model or path."""


class AuthenticationError(ProviderError):
    """The provider does not accept the key."""


class RateLimitError(ProviderError):
    """The provider received too many requests."""

    retryable = True


class QuotaError(ProviderError):
    """The account has no credit left, or the quota of its plan is used up: waiting does not help."""


class ServerError(ProviderError):
    """The provider failed."""

    retryable = True


class OverloadedError(ServerError):
    """The provider is overloaded at the moment."""


class RequestTimeoutError(ProviderError, TimeoutError):
    """No answer, or no further piece of it, came in time."""

    retryable = True


class ConnectError(ProviderError, ConnectionError):
    """The provider could not be reached, or hung up before it answered."""

    retryable = True


class ContentFilterError(ProviderError):
    """The provider withheld the answer."""


class MalformedAnswerError(ProviderError):
    """What came back is not an answer of this provider's protocol."""


class InvalidAnswerError(MalformedAnswerError):
    """The answer does not fit the schema that was asked for, also when it was asked for again; `reply` is the answer.

    Attributes:
        faults: Where it does not fit, and what is wrong there.
    """

    faults: tuple[str, ...] = ()


class TapeMissError(ProviderError, LookupError):
    """A replay was asked for an exchange that its tape does not hold. No bulk work takes it for a failure of a part."""


class InternalError(ProviderError):
    """The client failed, not the answer: code of victor_nb or of an SDK, or a package that is only half imported."""


class PartialAnswerError(ProviderError):
    """The answer broke off; `reply` is what had arrived. Never retried: the text was already shown."""


class VictorInterrupted(_Portable, KeyboardInterrupt):
    """Stop was pressed. The calls were cancelled; what had come is `session().last`, and `partial` of this error.

    Attributes:
        partial: What had come of the call, fan-out, strategy or comparison; None where nothing had begun.
    """

    def __init__(self, message: str, partial: Any = None) -> None:  # noqa: ANN401 - the result, or the frame of a map
        super().__init__(message)
        self.partial = partial

    def _render_traceback_(self) -> list[str]:
        """Return the one line that IPython prints instead of a traceback."""
        return [f"{type(self).__name__}: {self}"]


class VictorWarning(UserWarning):
    """A problem that does not stop the call."""
