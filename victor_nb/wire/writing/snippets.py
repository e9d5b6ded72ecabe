"""Small Python programs for the tasks that are asked most, each with tests that it passes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Snippet:
    """A function, the task that it answers (`cue`, a regular expression), and its tests without their imports."""

    cue: str
    name: str
    code: str
    tests: str
    note: str


SNIPPETS: Final = (
    Snippet(
        cue=r"fibonacci",
        name="fibonacci",
        code='''
def fibonacci(n: int) -> int:
    """Return the n-th Fibonacci number, counted from 0."""
    if n < 0:
        raise ValueError("n must not be negative")
    current, following = 0, 1
    for _ in range(n):
        current, following = following, current + following
    return current
''',
        tests="""
def test_when_n_is_small_then_the_numbers_are_the_known_ones():
    assert [fibonacci(n) for n in range(8)] == [0, 1, 1, 2, 3, 5, 8, 13]


def test_when_n_is_negative_then_it_is_refused():
    with pytest.raises(ValueError, match="negative"):
        fibonacci(-1)
""",
        note="It runs in linear time and constant memory; recursion without a cache would take exponential time.",
    ),
    Snippet(
        cue=r"palindrom",
        name="is_palindrome",
        code='''
def is_palindrome(text: str) -> bool:
    """Return whether a text reads the same backwards, ignoring case, blanks and signs."""
    letters = [letter.casefold() for letter in text if letter.isalnum()]
    return letters == letters[::-1]
''',
        tests="""
@pytest.mark.parametrize("text", ["", "a", "Never odd or even", "A man, a plan, a canal: Panama"])
def test_when_text_reads_both_ways_then_it_is_a_palindrome(text):
    assert is_palindrome(text)


def test_when_it_does_not_then_it_is_none():
    assert not is_palindrome("notebook")
""",
        note="An empty text counts as a palindrome; say so where that matters.",
    ),
    Snippet(
        cue=r"revers\w*\s+(?:a\s+|the\s+|an?\s+input\s+)?(?:string|text|word)",
        name="reverse",
        code='''
def reverse(text: str) -> str:
    """Return a text with its characters in the opposite order."""
    return text[::-1]
''',
        tests="""
@pytest.mark.parametrize(("text", "expected"), [("", ""), ("a", "a"), ("abc", "cba")])
def test_when_text_is_reversed_then_the_last_character_is_first(text, expected):
    assert reverse(text) == expected
""",
        note="It works on code points: letters with separate accents need to be normalised first.",
    ),
    Snippet(
        cue=r"\bprimes?\b",
        name="is_prime",
        code='''
def is_prime(n: int) -> bool:
    """Return whether n is a prime number."""
    if n < 4:
        return n > 1
    if n % 2 == 0:
        return False
    return all(n % divisor for divisor in range(3, int(n**0.5) + 1, 2))
''',
        tests="""
def test_when_numbers_are_below_twenty_then_the_primes_are_the_known_ones():
    assert [n for n in range(20) if is_prime(n)] == [2, 3, 5, 7, 11, 13, 17, 19]


def test_when_n_is_a_square_of_a_prime_then_it_is_not_prime():
    assert not is_prime(49)
""",
        note="Trial division is enough up to about 10^12; beyond that, use Miller-Rabin.",
    ),
    Snippet(
        cue=r"fizz\s?buzz",
        name="fizzbuzz",
        code='''
def fizzbuzz(n: int) -> list[str]:
    """Return the lines of FizzBuzz from 1 to n."""
    return [("Fizz" * (i % 3 == 0) + "Buzz" * (i % 5 == 0)) or str(i) for i in range(1, n + 1)]
''',
        tests="""
def test_when_n_is_five_then_three_and_five_are_replaced():
    assert fizzbuzz(5) == ["1", "2", "Fizz", "4", "Buzz"]


def test_when_a_number_divides_by_both_then_both_words_are_said():
    assert fizzbuzz(15)[-1] == "FizzBuzz"
""",
        note="The words are joined before the number is considered, so 15 needs no case of its own.",
    ),
    Snippet(
        cue=r"slug",
        name="slugify",
        code='''
import re
import unicodedata


def slugify(title: str) -> str:
    """Return a title as it may stand in a URL: lower case, letters and digits, hyphens between."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")
''',
        tests="""
@pytest.mark.parametrize(
    ("title", "expected"), [("Hello, World!", "hello-world"), ("  Crème brûlée ", "creme-brulee"), ("???", "")]
)
def test_when_title_is_given_then_slug_is_plain(title, expected):
    assert slugify(title) == expected
""",
        note="Two titles can give one slug: add a number where they must be unique.",
    ),
    Snippet(
        cue=r"word\s+(?:count|frequenc)|count\w*\s+(?:the\s+)?words|frequenc\w+\s+of\s+(?:the\s+)?words",
        name="count_words",
        code='''
import re
from collections import Counter


def count_words(text: str) -> Counter[str]:
    """Return how often each word occurs, in lower case."""
    return Counter(re.findall(r"[\\w']+", text.lower()))
''',
        tests="""
def test_when_words_repeat_then_they_are_counted_whatever_their_case():
    assert count_words("The cat and the hat")["the"] == 2


def test_when_text_is_empty_then_nothing_is_counted():
    assert count_words("") == {}
""",
        note="`count_words(text).most_common(10)` gives the ten most frequent words.",
    ),
    Snippet(
        cue=r"retr(?:y|ies)|backoff",
        name="retry",
        code='''
import random
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def retry(call: Callable[[], T], *, attempts: int = 4, wait: float = 0.5, most: float = 8.0) -> T:
    """Call until it succeeds; wait in between, twice as long each time, with jitter. Seconds."""
    for attempt in range(attempts):
        try:
            return call()
        except (ConnectionError, TimeoutError):
            if attempt == attempts - 1:
                raise
            time.sleep(min(most, wait * 2**attempt) * random.uniform(0.5, 1.0))
    raise ValueError("attempts must be at least 1")
''',
        tests="""
def test_when_the_second_call_works_then_its_value_is_returned():
    answers = iter([ConnectionError(), 42])

    def call():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert retry(call, wait=0) == 42


def test_when_no_call_works_then_the_last_error_is_raised():
    def call():
        raise TimeoutError("no answer")

    with pytest.raises(TimeoutError):
        retry(call, attempts=2, wait=0)
""",
        note="Only errors that may pass are retried. Retry nothing that is not safe to do twice.",
    ),
    Snippet(
        cue=r"\blru\b|\bcache\b",
        name="LRUCache",
        code='''
from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class LRUCache(Generic[K, V]):
    """Holds the values that were used last, up to a number of them."""

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError("capacity must be at least 1")
        self._capacity = capacity
        self._values: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K, default: V | None = None) -> V | None:
        """Return a value and mark it as used."""
        if key not in self._values:
            return default
        self._values.move_to_end(key)
        return self._values[key]

    def put(self, key: K, value: V) -> None:
        """Keep a value; the one unused for longest goes when there is no room."""
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._capacity:
            self._values.popitem(last=False)
''',
        tests="""
def test_when_it_is_full_then_the_value_unused_for_longest_goes():
    cache = LRUCache(2)
    cache.put("a", 1)
    cache.put("b", 2)
    cache.get("a")
    cache.put("c", 3)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (1, None, 3)


def test_when_capacity_is_zero_then_it_is_refused():
    with pytest.raises(ValueError, match="capacity"):
        LRUCache(0)
""",
        note="Both operations take constant time. It is not safe for threads; put a lock around it if it must be.",
    ),
    Snippet(
        cue=r"(?:check|expression|match|regex|valid).{0,60}\be-?mails?\b|\be-?mails?\b.{0,40}(?:regex|valid)",
        name="is_email",
        code='''
import re

EMAIL = re.compile(r"[\\w.+-]+@[\\w-]+(?:\\.[\\w-]+)+")


def is_email(text: str) -> bool:
    """Return whether a text has the form of an e-mail address."""
    return EMAIL.fullmatch(text) is not None
''',
        tests="""
@pytest.mark.parametrize("text", ["ada@example.com", "a.b+c@mail.example.org"])
def test_when_an_address_is_well_formed_then_it_is_taken(text):
    assert is_email(text)


@pytest.mark.parametrize("text", ["", "ada", "ada@", "@example.com", "ada@example", "a b@example.com"])
def test_when_it_is_not_then_it_is_refused(text):
    assert not is_email(text)
""",
        note="It checks the form only; whether mail arrives is known after a message was sent.",
    ),
)


def snippet_for(task: str) -> Snippet | None:
    """Return the program for a task, or None where there is none."""
    return next((snippet for snippet in SNIPPETS if re.search(snippet.cue, task, re.IGNORECASE)), None)


def snippet_in(code: str) -> Snippet | None:
    """Return the program that some code contains."""
    return next((snippet for snippet in SNIPPETS if re.search(rf"(?:def|class) {snippet.name}\b", code)), None)
