"""What usage costs: the list's figures, the order of the sources, and no price where none is known."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, localcontext
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from victor_nb.accounting.price_list import Listed
from victor_nb.accounting.pricing import PriceBook, Rates, Tariff
from victor_nb.money import EXACT, Total, add, at_least, column, exact_sum, from_nanos, quantise, to_nanos, usd
from victor_nb.providers.spec import ANTHROPIC
from victor_nb.values import Usage

BOOK = PriceBook()
MILLION = 1_000_000


@dataclass(frozen=True)
class Own:
    """Prices as a profile holds them."""

    input: Decimal
    output: Decimal
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None


OWN = Own(Decimal(1), Decimal(10))


@pytest.mark.parametrize(
    ("provider", "model", "usage", "cost"),
    [
        ("openai", "gpt-4o-mini", Usage(10_000, 1_000), "0.0021"),  # 0.15 and 0.60 per million
        ("openai", "gpt-4o-mini", Usage(10_000, 1_000, cache_read_tokens=4_000), "0.0018"),  # reads 0.075
        ("anthropic", "claude-sonnet-4-5", Usage(1_000, 1_000), "0.018"),  # 3 and 15
        ("anthropic", "claude-sonnet-4-5", Usage(1_000, 0, cache_read_tokens=1_000), "0.0003"),  # reads 0.30
        ("anthropic", "claude-sonnet-4-5", Usage(1_000, 0, cache_write_tokens=1_000), "0.00375"),  # writes 3.75
        ("anthropic", "claude-sonnet-4-5", Usage(1_000, 0, 0, 1_000, 0, 1_000), "0.006"),  # for an hour 6
        ("anthropic", "claude-sonnet-4-5", Usage(300_000, 1_000), "1.8225"),  # the tier of long prompts: 6 and 22.50
        ("google", "gemini-2.5-pro", Usage(1_000, 100, reasoning_tokens=60), "0.00225"),  # 1.25 and 10, thoughts inside
        ("google", "models/gemini-2.5-pro", Usage(1_000, 100), "0.00225"),
    ],
)
def test_when_the_list_knows_the_model_then_its_price_holds(provider: str, model: str, usage: Usage, cost: str) -> None:
    price = BOOK.price(usage, provider=provider, model=model)
    assert (price.cost, price.source) == (Decimal(cost), "computed")
    assert price.version.startswith("genai-prices ")


def test_when_another_model_served_then_it_is_the_one_that_is_paid() -> None:
    price = BOOK.price(Usage(MILLION), provider="openai", model="gpt-4o", model_served="gpt-4o-mini-2024-07-18")
    assert price.cost == Decimal("0.15")


def test_when_the_served_model_is_unknown_then_the_one_asked_for_is_priced() -> None:
    price = BOOK.price(Usage(MILLION), provider="openai", model="gpt-4o-mini", model_served="nobody-7b")
    assert price.cost == Decimal("0.15")


def test_when_a_price_is_computed_from_prices_of_tokens_then_it_is_the_list_s_to_the_digit() -> None:
    from genai_prices.data_snapshot import get_snapshot  # its module of data alone would take pyright a minute

    usages = [
        Usage(300_017, 1_003, 100_001, 77_777, 501, 33_333),  # in the tier of long prompts, where there is one
        Usage(128_000, 7, cache_read_tokens=127_999),
        Usage(1, 1, reasoning_tokens=1),
    ]
    seen = 0
    for seller in get_snapshot().providers:
        for model in seller.models[::40]:
            listed = Listed(seller.id, (model.id,))
            for tier in (None, "flex", "priority"):
                with localcontext(EXACT):
                    exact = [listed.cost(usage, tier) for usage in usages]
                priced = [BOOK.price(usage, provider=seller.id, model=model.id, tier=tier).cost for usage in usages]
                assert priced == [cost if cost is None else quantise(cost) for cost in exact], (seller.id, model.id)
                seen += 1
    assert seen > 150


@pytest.mark.parametrize("provider", ["openai", "anthropic", "google", "nobody"])
@pytest.mark.parametrize("model", ["nobody-7b", "", "\ud800"])
def test_when_the_model_is_unknown_then_the_cost_is_none(provider: str, model: str) -> None:
    price = BOOK.price(Usage(10, 10), provider=provider, model=model)
    assert (price.cost, price.source) == (None, "unknown")
    assert BOOK.rates(provider=provider, model=model) is None
    assert not BOOK.deprecated(provider, model)


@pytest.mark.parametrize("model", ["whisper-1", "tts-1"])
def test_when_a_model_is_not_sold_by_the_token_then_tokens_are_not_free(model: str) -> None:
    assert BOOK.price(Usage(10, 10), provider="openai", model=model).cost is None
    assert BOOK.rates(provider="openai", model=model) is None


def test_when_the_model_is_local_then_it_costs_nothing() -> None:
    price = BOOK.price(Usage(10, 10), provider="ollama", model="llama3.2")
    assert (price.cost, price.source) == (Decimal(0), "local")
    assert BOOK.rates(provider="ollama", model="llama3.2") == Rates(Decimal(0), Decimal(0), Decimal(0))
    assert not BOOK.deprecated("ollama", "llama3.2")


def test_when_a_profile_has_prices_then_they_beat_all_others() -> None:
    price = BOOK.price(Usage(1_000, 100), provider="openai", model="gpt-4o-mini", override=OWN, reported=Decimal("0.5"))
    assert (price.cost, price.source, price.version) == (Decimal("0.002"), "override", "profiles.yaml")
    assert BOOK.price(Usage(1_000), provider="ollama", model="llama3.2", override=OWN).cost == Decimal("0.001")


def test_when_a_profile_prices_its_cache_then_its_parts_cost_that() -> None:
    own = Own(Decimal(10), Decimal(0), cache_read=Decimal(1), cache_write=Decimal(100))
    usage = Usage(1_000, 0, cache_read_tokens=200, cache_write_tokens=100)
    assert BOOK.price(usage, provider="openai", model="x", override=own).cost == Decimal("0.0172")
    assert BOOK.rates(provider="openai", model="x", override=own) == Rates(Decimal(10), Decimal(0), Decimal(1))


def test_when_the_provider_reports_a_cost_then_it_beats_the_list() -> None:
    price = BOOK.price(Usage(1_000), provider="openai", model="gpt-4o-mini", reported=Decimal("0.0123"))
    assert (price.cost, price.source) == (Decimal("0.0123"), "reported")


@pytest.mark.parametrize("nonsense", ["-1", "NaN", "sNaN", "Infinity", "1e30"])
def test_when_the_reported_cost_is_nonsense_then_the_list_holds(nonsense: str) -> None:
    price = BOOK.price(Usage(MILLION), provider="openai", model="gpt-4o-mini", reported=Decimal(nonsense))
    assert (price.cost, price.source) == (Decimal("0.15"), "computed")


def test_when_the_url_is_known_then_its_provider_sets_the_price() -> None:
    groq = "https://api.groq.com/openai/v1"
    model = "llama-3.3-70b-versatile"
    assert BOOK.price(Usage(MILLION), provider="openai", model=model).cost is None
    assert BOOK.price(Usage(MILLION), provider="openai", model=model, base_url=groq).cost == Decimal("0.59")


def test_when_the_url_is_unknown_then_the_dialect_sets_the_price() -> None:
    here = "http://127.0.0.1:8080/v1"
    assert BOOK.price(Usage(MILLION), provider="openai", model="gpt-4o-mini", base_url=here).cost == Decimal("0.15")


@pytest.mark.parametrize(
    ("usage", "same_as"),
    [
        (Usage(100, cache_read_tokens=5_000), Usage(100, cache_read_tokens=100)),
        (Usage(100, 0, 80, 80), Usage(100, 0, 80, 20)),
        (Usage(100, 0, 0, 50, 0, 70), Usage(100, 0, 0, 50, 0, 50)),
        (Usage(100, 10, reasoning_tokens=99), Usage(100, 10, reasoning_tokens=10)),
        (Usage(100, 10, -5, -5, -5, -5), Usage(100, 10)),
    ],
)
@pytest.mark.parametrize("own", [None, OWN])
def test_when_parts_exceed_their_total_then_they_are_cut_to_it(usage: Usage, same_as: Usage, own: Own | None) -> None:
    cut, plain = (
        BOOK.price(tokens, provider="anthropic", model="claude-sonnet-4-5", override=own) for tokens in (usage, same_as)
    )
    assert cut == plain
    assert cut.cost is not None


@pytest.mark.parametrize("usage", [Usage(-1), Usage(0, -1), Usage(10**30)])
@pytest.mark.parametrize("own", [None, OWN])
def test_when_a_count_is_impossible_then_the_cost_is_none(usage: Usage, own: Own | None) -> None:
    price = BOOK.price(usage, provider="openai", model="gpt-4o-mini", override=own)
    assert (price.cost, price.source) == (None, "unknown")


def test_when_a_notebook_lowers_its_precision_then_prices_stay_exact() -> None:
    with localcontext() as context:
        context.prec = 2
        price = BOOK.price(Usage(123_456, 1), provider="openai", model="gpt-4o-mini")
    assert price.cost == Decimal("0.018519")


def test_when_a_model_has_tiers_then_its_rates_are_those_of_short_requests() -> None:
    rates = BOOK.rates(provider="anthropic", model="claude-sonnet-4-5")
    assert rates == Rates(Decimal(3), Decimal(15), Decimal("0.3"))


def test_when_a_provider_charges_for_the_request_too_then_rates_are_those_of_tokens_only() -> None:
    url = "https://api.perplexity.ai"
    rates = BOOK.rates(provider="openai", model="sonar", base_url=url)
    one = BOOK.price(Usage(1), provider="openai", model="sonar", base_url=url).cost
    assert rates is not None
    assert one is not None
    assert rates.input < 1_000 * one  # the fee is in the price of a request


# --- the most that a request may cost ---

DEEPSEEK = "https://api.deepseek.com/v1"
GROQ = "https://api.groq.com/openai/v1"


def most(
    model: str,
    usage: tuple[int, int],
    *,
    provider: str = "openai",
    url: str | None = None,
    own: Own | None = None,
    tier: str | None = None,
    cache_writes: bool = False,
    hourly_writes: bool = False,
) -> Decimal | None:
    """Return the worst case of a request."""
    tariff = Tariff("p", provider, model, BOOK, url, own)
    return tariff.worst(*usage, tier=tier, cache_writes=cache_writes, hourly_writes=hourly_writes)


def test_when_a_long_prompt_is_held_then_it_is_priced_at_its_own_length() -> None:
    assert most("gemini-2.5-pro", (240_000, 1_000), provider="google") == Decimal(
        "0.615"
    )  # 2.50 and 15, not 1.25 and 10
    assert most("gemini-2.5-pro", (200_000, 1_000), provider="google") == Decimal("0.26")
    assert most("claude-sonnet-4-5", (300_000, 1_000), provider="anthropic") == Decimal("1.8225")
    assert most("gemini-2.5-pro", (0, 0), provider="google") == 0


def test_when_a_request_may_write_to_a_cache_then_its_input_costs_that() -> None:
    plain, written, hourly = (
        most("claude-sonnet-4-5", (1_000, 0), provider="anthropic", cache_writes=five, hourly_writes=hour)
        for five, hour in ((False, False), (True, False), (False, True))
    )
    assert (plain, written, hourly) == (Decimal("0.003"), Decimal("0.00375"), Decimal("0.006"))
    assert most("gpt-5.6-sol", (1_000, 0)) == Decimal("0.005")  # 5 for what is written, which OpenAI does unasked
    own = Own(Decimal(1), Decimal(1), cache_write=Decimal(3))
    costs = [most("x", (1_000, 0), own=own, provider=provider) for provider in ("openai", "anthropic")]
    assert costs == [Decimal("0.003"), Decimal("0.001")]


def test_when_a_tier_is_asked_for_then_the_dearer_of_it_and_the_standard_one_counts() -> None:
    costs = [most("gpt-5.5", (1_000, 1_000), tier=tier) for tier in (None, "default", "flex", "priority", "auto")]
    # Flex may be served at the standard price, and what an account leaves to `auto` at the dearest.
    assert costs == [Decimal("0.035")] * 3 + [Decimal("0.0875")] * 2
    assert most("gpt-4o-mini", (1_000, 1_000), tier="auto") == Decimal("0.00125")  # 0.25 and 1 as priority
    assert most("claude-opus-5-5", (1_000, 1_000), provider="anthropic", tier="fast") == Decimal("0.048")


def test_when_the_list_does_not_know_a_tier_then_its_worst_case_is_unknown() -> None:
    assert most("gpt-4.1", (10, 10), tier="flex") is None
    assert most("gemini-2.5-pro", (10, 10), provider="google", tier="priority") is None
    assert most("nobody-7b", (10, 10)) is None
    groq = "llama-3.3-70b-versatile"
    assert most(groq, (1_000, 0), url=GROQ, tier="flex") == most(groq, (1_000, 0), url=GROQ) == Decimal("0.00059")
    assert most("llama3.2", (10, 10), provider="ollama", tier="flex") == 0


def test_when_a_price_changes_with_the_hour_then_the_dearest_hour_is_held() -> None:
    usage = Usage(1_000, 1_000)
    now = BOOK.price(usage, provider="openai", model="deepseek-v4-flash", base_url=DEEPSEEK).cost
    peak = most("deepseek-v4-flash", (1_000, 1_000), url=DEEPSEEK)
    assert now is not None
    assert peak in {now, 2 * now}
    assert peak == Decimal("0.0015")


LENGTHS = st.one_of(st.integers(0, 400_000), st.sampled_from([199_999, 200_000, 200_001, 272_000, 272_001]))


@given(
    asked=st.sampled_from(
        [
            ("openai", "gpt-5.6-sol", None),
            ("anthropic", "claude-sonnet-4-5", None),
            ("google", "gemini-2.5-pro", None),
            ("openai", "sonar", "https://api.perplexity.ai"),
            ("openai", "grok-4.20", "https://api.x.ai/v1"),
        ]
    ),
    limit=st.tuples(LENGTHS, LENGTHS),
    used=st.tuples(*[st.floats(0, 1)] * 5),
)
def test_when_a_request_stays_within_its_limits_then_it_never_costs_more_than_its_worst_case(
    asked: tuple[str, str, str | None], limit: tuple[int, int], used: tuple[float, ...]
) -> None:
    provider, model, url = asked
    given, made = round(limit[0] * used[0]), round(limit[1] * used[1])
    reads, writes = round(given * used[2]), round(given * used[3])
    usage = Usage(given, made, reads, writes, made, round(writes * used[4]))
    cost = BOOK.price(usage, provider=provider, model=model, base_url=url).cost
    worst = most(model, limit, provider=provider, url=url, cache_writes=True, hourly_writes=True)
    assert cost is not None
    assert worst is not None
    assert cost <= worst + Decimal("1e-9")  # both are rounded


@given(
    asked=st.sampled_from(
        [("openai", "gpt-5.6-sol"), ("anthropic", "claude-sonnet-4-5"), ("google", "gemini-2.5-pro")]
    ),
    given=LENGTHS,
    used=st.tuples(*[st.floats(0, 1)] * 3),
    own=st.sampled_from([None, OWN, Own(Decimal(2), Decimal(1), Decimal("0.5"), Decimal(3))]),
)
def test_when_a_cache_was_used_then_it_saved_the_difference_to_plain_input(
    asked: tuple[str, str], given: int, used: tuple[float, ...], own: Own | None
) -> None:
    reads = round(given * used[0])
    writes = round((given - reads) * used[1])
    usage = Usage(given, 100, reads, writes, 0, round(writes * used[2]))
    tariff = Tariff("p", *asked, BOOK, None, own)
    with_cache, without, saved = (
        tariff.price(usage).cost,
        tariff.price(Usage(given, 100)).cost,
        tariff.cache_saved(usage),
    )
    assert with_cache is not None
    assert without is not None
    assert saved is not None
    assert abs(without - with_cache - saved) <= Decimal("2e-9")  # all three are rounded


def test_when_only_a_model_is_named_then_its_maker_is_found() -> None:
    names = ("claude-sonnet-4-5", "gpt-4o-mini", "gemini-2.5-pro", "nobody-7b", "fast", "")
    assert [BOOK.find(name) for name in names] == ["anthropic", "openai", "google", None, None, None]


def test_when_the_list_marks_a_model_as_deprecated_then_so_do_we() -> None:
    avian = "https://api.avian.io"
    assert BOOK.deprecated("openai", "meta-llama-3.1-8b-instruct", base_url=avian)
    assert not BOOK.deprecated("openai", "gpt-4o-mini")


@pytest.mark.parametrize(
    ("model", "day"),
    [
        ("claude-sonnet-4-5", date(2026, 11, 30)),
        ("claude-sonnet-4-5-20250929", date(2026, 11, 30)),
        ("claude-opus-4-5-20251101", date(2027, 1, 22)),
        ("claude-sonnet-4", None),
        ("claude-sonnet-4-55", None),
        ("gpt-4o-mini", None),
        ("", None),
    ],
)
def test_when_a_models_end_is_announced_then_its_day_is_known(model: str, day: date | None) -> None:
    assert ANTHROPIC.retirement(model) == day


def test_when_eight_threads_ask_a_new_book_then_all_get_the_same_price() -> None:
    book = PriceBook()
    with ThreadPoolExecutor(8) as threads:
        prices = list(
            threads.map(lambda _: book.price(Usage(1_000, 10), provider="openai", model="gpt-4o-mini"), range(64))
        )
    assert len(set(prices)) == 1
    assert prices[0].cost == Decimal("0.000156")


COUNTS = st.integers(min_value=-1_000, max_value=10**12)
USAGES = st.builds(Usage, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS)


@given(a=USAGES, b=USAGES, c=USAGES)
def test_when_usages_are_added_then_order_and_grouping_do_not_matter(a: Usage, b: Usage, c: Usage) -> None:
    assert (a + b) + c == a + (b + c) == sum([c, a, b])
    assert a + Usage() == a
    assert (a + b).total_tokens == a.total_tokens + b.total_tokens


@given(
    usage=USAGES,
    asked=st.sampled_from(
        [("openai", "gpt-4o-mini"), ("anthropic", "claude-sonnet-4-5"), ("google", "gemini-2.5-pro")]
    ),
    own=st.sampled_from([None, OWN, Own(Decimal("0.0000001"), Decimal(0), Decimal(3), Decimal(0))]),
)
def test_when_anything_is_priced_then_the_cost_is_unknown_or_not_negative(
    usage: Usage, asked: tuple[str, str], own: Own | None
) -> None:
    price = BOOK.price(usage, provider=asked[0], model=asked[1], override=own)
    assert (price.cost is None) == (price.source == "unknown")
    assert price.cost is None or price.cost >= 0
    assert price.cost is None or from_nanos(to_nanos(price.cost) or 0) == price.cost


@given(st.decimals(min_value=-(10**9), max_value=10**9, allow_nan=False, places=12))
def test_when_money_goes_to_disk_and_back_then_it_is_the_nearest_nano_dollar(amount: Decimal) -> None:
    exact = quantise(amount)
    assert exact is not None
    assert abs(exact - amount) <= Decimal("5e-10")
    back = from_nanos(to_nanos(amount) or 0)
    assert (back, str(back)) == (exact, str(exact))


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0", "USD 0.0000"),
        ("0.00412", "USD 0.0041"),
        ("0.0000123", "USD 0.000012"),
        ("0.000099", "USD 0.000099"),
        ("1234.5", "USD 1234.5000"),
        ("-0.5", "USD -0.5000"),
    ],
)
def test_when_money_is_said_then_it_has_four_places_or_two_digits(amount: str, text: str) -> None:
    assert usd(Decimal(amount)) == text


@pytest.mark.parametrize(
    ("amount", "text"), [("0E-9", "0"), ("0.000750000", "0.00075"), ("1E+3", "1000"), ("20", "20")]
)
def test_when_money_is_quantised_then_it_has_no_idle_zeros(amount: str, text: str) -> None:
    assert str(quantise(Decimal(amount))) == text


# --- sums ---


@dataclass(frozen=True)
class Part:
    """What money was asked for."""

    cost: Decimal | None
    billed: Decimal | None
    free: bool = False


CENT: Final = Decimal("0.01")


def test_when_parts_are_unknown_then_the_total_counts_them_for_cost_and_bill_each() -> None:
    total = Total.of([Part(CENT, CENT), Part(None, Decimal(0)), Part(CENT, None), Part(None, None)])
    assert total == Total(Decimal("0.02"), CENT, unpriced=2, unbilled=2)
    assert (total.exact_cost, total.exact_billed) == (None, None)
    assert str(total) == ">= USD 0.0200 (2 unpriced)"
    simulated = Total.of([Part(None, Decimal(0)), Part(CENT, Decimal(0))])
    assert (simulated.exact_cost, simulated.exact_billed) == (None, 0)
    assert at_least(simulated.billed, simulated.unbilled) == "USD 0.0000"
    assert str(Total.of([])) == str(Total()) == "USD 0.0000"


def test_when_totals_are_added_then_they_are_as_of_all_their_parts() -> None:
    parts = [Part(CENT, Decimal(0)), Part(None, CENT), Part(CENT, None)]
    assert sum((Total.of([part]) for part in parts), Total()) == Total.of(parts)
    assert sum(Total.of([part]) for part in parts) == Total.of(parts)
    assert str(Total(CENT, unpriced=12_345)) == ">= USD 0.0100 (12,345 unpriced)"


def test_when_nothing_is_known_then_the_total_is_no_amount() -> None:
    assert [str(Total(unpriced=count)) for count in (1, 2_000)] == ["unpriced", "2,000 unpriced"]
    nothing = Part(Decimal(0), Decimal(0), free=True)
    assert str(Total.of([nothing])) == "free"
    assert str(Total.of([nothing, Part(None, None)])) == "unpriced"
    assert str(Total.of([nothing, Part(CENT, CENT)])) == "USD 0.0100"


@pytest.mark.parametrize(
    ("amounts", "texts"),
    [
        (["0.1", "0.02"], ["USD 0.1000", "USD 0.0200", "USD 0.1200"]),
        (["0.00004", "0.00004"], ["USD 0.000040", "USD 0.000040", "USD 0.000080"]),
        (["0.00125", "0.00145"], ["USD 0.00125", "USD 0.00145", "USD 0.00270"]),
        (["12.000000001", "0"], ["USD 12.0000", "USD 0.0000", "USD 12.0000"]),
        (["12", "0.0000123"], ["USD 12.000000", "USD 0.000012", "USD 12.000012"]),
        ([], ["USD 0.0000"]),
    ],
)
def test_when_totals_stand_below_each_other_then_they_add_up_as_they_are_written(
    amounts: list[str], texts: list[str]
) -> None:
    parts = [Total.of([Part(Decimal(amount), Decimal(0))]) for amount in amounts]
    with localcontext(prec=2):
        assert column([*parts, sum(parts, Total())]) == texts


def test_when_parts_of_a_column_are_unknown_or_free_then_it_says_so() -> None:
    parts = [
        Total.of([Part(CENT, CENT), Part(None, None)]),
        Total.of([Part(None, None)]),
        Total.of([Part(Decimal(0), Decimal(0), free=True)]),
        Total.of([]),
    ]
    last = ["unpriced", "free", "USD 0.0000", ">= USD 0.0100 (2 unpriced)"]
    assert column([*parts, sum(parts, Total())]) == [">= USD 0.0100 (1 unpriced)", *last]


@given(st.lists(st.decimals(min_value=0, max_value=10**6, places=9)))
def test_when_any_totals_stand_below_each_other_then_the_digits_add_up(amounts: list[Decimal]) -> None:
    parts = [Total.of([Part(amount, amount)]) for amount in amounts]
    *shown, whole = [Decimal(text.removeprefix("USD ")) for text in column([*parts, sum(parts, Total())])]
    with localcontext(EXACT):
        assert sum(shown) == whole
    assert all(bool(seen) == bool(amount) for seen, amount in zip(shown, amounts, strict=True))


def test_when_a_notebook_lowers_its_precision_then_sums_stay_exact() -> None:
    amounts = [Decimal("12345.678901234"), Decimal("0.000000001")]
    with localcontext(prec=3):
        total = Total.of(Part(amount, amount) for amount in amounts) + Total(CENT, CENT)
        assert exact_sum(amounts) == Decimal("12345.678901235")
    assert total == Total(Decimal("12345.688901235"), Decimal("12345.688901235"))


def test_when_any_amount_is_unknown_then_there_is_no_exact_sum() -> None:
    assert (exact_sum([CENT, None]), exact_sum([]), exact_sum([CENT, CENT])) == (None, 0, Decimal("0.02"))
    assert add([CENT, None, None]) == (CENT, 2)
    assert usd(None) == "unpriced"
