"""Models whose answers state what they are worth, and a judge who likes what stands first: the truth is known."""

from __future__ import annotations

import json
import random
import re
from typing import TYPE_CHECKING

from victor_nb.workflows.strategies import Single, Tiered

if TYPE_CHECKING:
    from ensemble import Asked

ANSWER = re.compile(r'<answer id="(?P<label>\w)">\n(?P<text>.*?)\n</answer>', re.DOTALL)
QUALITY = {"single local": 2, "single fast": 3, "single default": 5, "tiered": 6}
"""What the models of these tests are worth, of 10."""


def shown(prompt: str) -> list[tuple[str, int]]:
    """Return what a judge sees: letters with the quality that each answer states."""
    found = ANSWER.findall(prompt)
    return [(label, int(re.findall(r"worth (\d+)", text)[-1])) for label, text in found]


def planted(asked: Asked, *, bias: float = 3.0, noise: float = 0.0) -> str:
    """Play models of stated quality, and a judge who adds points for standing first, and chance."""
    if "<answer" in asked.prompt:
        chance = random.Random(asked.prompt)
        seen = shown(asked.prompt)
        points = {
            label: quality + (bias if place == 0 else 0) + chance.gauss(0, noise)
            for place, (label, quality) in enumerate(seen)
        }
        return f"Here you are:\n```json\n{json.dumps(points)}\n```"
    if "Polish the version" in asked.prompt:
        return f"worth {QUALITY['tiered']}"
    return f"worth { {'qwen2.5-coder:7b': 2, 'gpt-4o-mini': 3, 'gpt-4o': 5}.get(asked.model, 0) }"


CONTEST = [Single("local"), Single("fast"), Single("default"), Tiered()]
