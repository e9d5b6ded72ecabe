"""Programs for a task that no snippet answers: a small, complete piece in the language that was asked for.

`{name}` is a function's name, `{Name}` a type's, `{s}` the subject.
"""

from __future__ import annotations

from typing import Final

CLASS: Final = '''
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that was recorded."""

    name: str
    value: float


@dataclass
class {Name}:
    """A first cut at {s}: keeps entries and says what they add up to."""

    entries: list[Entry] = field(default_factory=list)

    def add(self, name: str, value: float) -> Entry:
        """Record one entry; a name is required."""
        if not name.strip():
            raise ValueError("an entry needs a name")
        entry = Entry(name.strip(), value)
        self.entries.append(entry)
        return entry

    def total(self) -> float:
        """Return the sum of all values."""
        return sum(entry.value for entry in self.entries)

    def by_name(self) -> dict[str, float]:
        """Return the sum for each name, the largest first."""
        sums: dict[str, float] = {{}}
        for entry in self.entries:
            sums[entry.name] = sums.get(entry.name, 0.0) + entry.value
        return dict(sorted(sums.items(), key=lambda pair: pair[1], reverse=True))

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)
'''
CLASS_TESTS: Final = """
def test_when_nothing_was_added_then_the_total_is_zero():
    assert {Name}().total() == 0


def test_when_a_name_repeats_then_its_values_are_added():
    kept = {Name}()
    kept.add("a", 1.0)
    kept.add("b", 5.0)
    kept.add("a", 2.0)
    assert kept.by_name() == {{"b": 5.0, "a": 3.0}}


def test_when_the_name_is_blank_then_it_is_refused():
    with pytest.raises(ValueError, match="name"):
        {Name}().add(" ", 1.0)
"""
FUNCTION: Final = '''
from collections.abc import Iterable


def {name}(items: Iterable[str]) -> list[str]:
    """Return the items, trimmed, without blanks and repeats: a first cut at {s}."""
    trimmed = (item.strip() for item in items)
    return list(dict.fromkeys(item for item in trimmed if item))
'''
FUNCTION_TESTS: Final = """
def test_when_items_repeat_then_the_first_order_is_kept():
    assert {name}(["b", "a", "b"]) == ["b", "a"]


def test_when_items_are_blank_then_they_are_left_out():
    assert {name}([" ", "", "x "]) == ["x"]


def test_when_there_are_no_items_then_the_result_is_empty():
    assert {name}([]) == []
"""
REFUSED_TEST: Final = """
def test_when_an_argument_is_unknown_then_it_is_refused():
    with pytest.raises(TypeError):
        {name}(no_such_argument=True)
"""
OFFERED_TEST: Final = """
def test_when_it_is_used_then_it_offers_{method}():
    assert callable({name}.{method})
"""
OTHERS: Final = {
    "typescript": """
/** A first cut at {s}: returns the items trimmed, without blanks and repeats. */
export function {camel}(items: readonly string[]): string[] {{
  const trimmed = items.map((item) => item.trim()).filter((item) => item.length > 0);
  return [...new Set(trimmed)];
}}
""",
    "javascript": """
/** A first cut at {s}: returns the items trimmed, without blanks and repeats. */
export function {camel}(items) {{
  const trimmed = items.map((item) => item.trim()).filter((item) => item.length > 0);
  return [...new Set(trimmed)];
}}
""",
    "go": """
package main

import "strings"

// {Name} is a first cut at {s}: it returns the items trimmed, without blanks and repeats.
func {Name}(items []string) []string {{
	seen := make(map[string]bool, len(items))
	var kept []string
	for _, item := range items {{
		item = strings.TrimSpace(item)
		if item == "" || seen[item] {{
			continue
		}}
		seen[item] = true
		kept = append(kept, item)
	}}
	return kept
}}
""",
    "rust": """
use std::collections::HashSet;

/// A first cut at {s}: returns the items trimmed, without blanks and repeats.
pub fn {name}(items: &[&str]) -> Vec<String> {{
    let mut seen = HashSet::new();
    items
        .iter()
        .map(|item| item.trim())
        .filter(|item| !item.is_empty() && seen.insert(item.to_string()))
        .map(String::from)
        .collect()
}}
""",
    "java": """
import java.util.List;

public final class {Name} {{
    /** A first cut at {s}: returns the items trimmed, without blanks and repeats. */
    public static List<String> clean(List<String> items) {{
        return items.stream().map(String::strip).filter(item -> !item.isEmpty()).distinct().toList();
    }}
}}
""",
    "sql": """
-- {s}: the groups that occur most, largest first
SELECT name, COUNT(*) AS entries, SUM(value) AS total
FROM {name}
WHERE created_at >= CURRENT_DATE - INTERVAL '30 days'
GROUP BY name
HAVING COUNT(*) > 1
ORDER BY total DESC
LIMIT 20;
""",
    "bash": """
#!/usr/bin/env bash
# {s}: prints the lines of a file, trimmed, without blanks and repeats
set -euo pipefail

file="${{1:?usage: {name}.sh FILE}}"
sed -e 's/^[[:space:]]*//' -e 's/[[:space:]]*$//' "$file" | awk 'NF && !seen[$0]++'
""",
    "c++": """
#include <string>
#include <unordered_set>
#include <vector>

// A first cut at {s}: returns the items without blanks and repeats, in their first order.
std::vector<std::string> {name}(const std::vector<std::string>& items) {{
    std::unordered_set<std::string> seen;
    std::vector<std::string> kept;
    for (const auto& item : items) {{
        if (!item.empty() && seen.insert(item).second) {{
            kept.push_back(item);
        }}
    }}
    return kept;
}}
""",
    "c#": """
using System.Collections.Generic;
using System.Linq;

public static class {Name}
{{
    /// <summary>A first cut at {s}: returns the items trimmed, without blanks and repeats.</summary>
    public static List<string> Clean(IEnumerable<string> items) =>
        items.Select(item => item.Trim()).Where(item => item.Length > 0).Distinct().ToList();
}}
""",
    "ruby": """
# A first cut at {s}: returns the items trimmed, without blanks and repeats.
def {name}(items)
  items.map(&:strip).reject(&:empty?).uniq
end
""",
    "html": """
<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <title>{S}</title>
  </head>
  <body>
    <main>
      <h1>{S}</h1>
      <p>The first thing a visitor should know stands here.</p>
    </main>
  </body>
</html>
""",
    "yaml": """
# {s}
name: {name}
on: [push]
jobs:
  check:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - run: make test
""",
}
# What a language is called on a fence, where that is not its name.
FENCES: Final = {"c++": "cpp", "c#": "csharp"}
