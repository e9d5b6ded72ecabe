"""Rows to put into a ledger."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

from victor_nb.accounting.rows import Row

NOON = datetime(2026, 11, 22, 12, 0, 0, 123_456, tzinfo=UTC)


def row(call_id: str = "call", **changes: object) -> Row:
    """Return the row of an attempt that went well."""
    plain = Row(
        ts=NOON,
        call_id=call_id,
        profile="fast",
        provider="openai",
        model="gpt-4o-mini",
        status="ok",
        input_tokens=100,
        output_tokens=20,
        usage_source="reported",
        cost=Decimal("0.000027"),
        billed=Decimal("0.000027"),
        cost_source="computed",
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def running(call_id: str = "call") -> Row:
    """Return the row of an attempt that has just begun."""
    return Row(ts=NOON, call_id=call_id, profile="fast", provider="openai", model="gpt-4o-mini")
