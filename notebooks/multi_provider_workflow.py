"""Brainstorm -> implement -> review -> test, each stage on the profile that suits it, with what every stage cost.

Free, with simulated answers:   VICTOR_MODE=simulate python notebooks/multi_provider_workflow.py
With your keys, and your bill:  python notebooks/multi_provider_workflow.py
"""

from __future__ import annotations

import asyncio
from decimal import Decimal

from victor_nb import OrchestratorPool, Reply, Settings

TASK = "a command line tool that renames photos by the date on which they were taken"


async def workflow(pool: OrchestratorPool) -> dict[str, Reply]:
    """Run the four stages; each is told what the one before it wrote."""
    local, fast, premium, default = (pool.get_orchestrator(name) for name in ("local", "fast", "premium", "default"))
    ideas = await local.run(f"Brainstorm 5 ideas for {TASK}. One line each.")
    code = await default.run(f"Implement the most useful of these ideas in Python:\n\n{ideas}", max_tokens=900)
    # The review and the tests need the code, not each other.
    review, tests = await asyncio.gather(
        premium.run(f"Review this code. Name the three gravest faults:\n\n{code}", max_tokens=600),
        fast.run(f"Write pytest tests for this code:\n\n{code}", max_tokens=600),
    )
    return {"brainstorm": ideas, "implement": code, "review": review, "test": tests}


def summary(replies: dict[str, Reply]) -> str:
    """Return one line a stage, and the bill."""
    lines = [f"{'stage':<11}{'profile':<9}{'model':<19}{'in':>6}{'out':>6}{'USD':>10}{'seconds':>9}"]
    for stage, reply in replies.items():
        cost = "unknown" if reply.cost is None else f"{reply.cost:.6f}"
        lines.append(
            f"{stage:<11}{reply.profile:<9}{reply.model:<19}{reply.usage.input_tokens:>6}"
            f"{reply.usage.output_tokens:>6}{cost:>10}{reply.latency:>9.2f}"
        )
    priced = [reply.cost for reply in replies.values() if reply.cost is not None]
    paid = sum((reply.billed or Decimal(0) for reply in replies.values()), Decimal(0))
    lines.append(f"list price USD {sum(priced, Decimal(0)):.6f}, billed USD {paid:.6f}")
    if len(priced) < len(replies):
        lines.append(f"(not counted: {len(replies) - len(priced)} of {len(replies)} stages have no known price)")
    return "\n".join(lines)


async def main() -> None:
    """Run the workflow and print the ideas, the review and the bill."""
    async with OrchestratorPool(Settings()) as pool:
        replies = await workflow(pool)
    print(f"Ideas:\n{replies['brainstorm']}\n\nReview:\n{replies['review']}\n\n{summary(replies)}")


if __name__ == "__main__":
    asyncio.run(main())
