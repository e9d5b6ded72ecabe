"""What axe-core has against a part of a page: the rules by which screen readers and keyboards get along with it."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

GRAVE = ("serious", "critical")
RUN = """
async part => (await axe.run(part, {resultTypes: ["violations"]})).violations.flatMap(violation =>
    violation.nodes.map(node => [node.impact ?? violation.impact, violation.id, node.html.slice(0, 200)]))
"""


def violations(page: Page, part: Locator) -> list[str]:
    """Return the serious and critical violations inside a part of a page, each as `rule: HTML`."""
    if not page.evaluate("() => typeof axe === 'object'"):
        page.add_script_tag(content=resources.files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8"))
    return [f"{rule}: {html}" for impact, rule, html in part.evaluate(RUN) if impact in GRAVE]
