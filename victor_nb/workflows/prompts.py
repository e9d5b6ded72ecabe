"""The prompts of the strategies that come with victor_nb. `{task}` and the like are places; see `Stage`.

Stages that do the task begin with it, as a user's own prompt would; the others begin with what they are to do.
"""

from __future__ import annotations

from typing import Final

DIRECT: Final = "{task}"

EXPLORE: Final = """\
Suggest 1 idea for this task: {task}

In a few sentences: what it is, how it works, why it serves. Do not do the task yet. This is idea {sample} of {n}, \
each from another angle, so do not settle for the most obvious one."""

SELECT: Final = """\
Rank the ideas below for this task and choose the best {keep}: {task}

Begin with their numbers only, best first, on one line (such as: 4, 1, 7). Below it, give a short reason for each.

{items}"""

IMPLEMENT: Final = """\
{task}

Start from the first of the ideas below (they are ranked), and take from the others what makes it better. Give the \
complete result only, no account of how you came to it.

{items}"""

REVIEW: Final = """\
Review the result below of this task: {task}

If nothing needs to change, answer with the one word APPROVED. Else list what is wrong or missing, gravest first, each \
with the corrected passage. Do not repeat the rest.

{implement}"""

REVISE: Final = """\
Revise the result below of this task: {task}

Work in what the review asks for, where it is right, and change nothing else. Give the whole result, and no account of \
the changes.

{implement}

The review:

{review}"""

PROTOTYPE: Final = """\
{task}

A first, quick but complete version is enough."""

REFINE: Final = """\
Improve the first version below of this task: {task}

Fix what is wrong, add what is missing, make it clearer. Give the whole result, and no account of the changes.

{prototype}"""

POLISH: Final = """\
Polish the version below of this task until nothing is left to mend: {task}

Check every detail, cut every needless word. Give the whole result, and no account of the changes.

{refine}"""

RESEARCH: Final = """\
List the requirements, facts and pitfalls for this task: {task}

Give also the approach to take. Be brief and definite. Do not do the task yet."""

CODE: Final = """\
{task}

Use the findings below. Give the complete result only, no account of how you came to it.

{research}"""

TEST: Final = """\
Write tests for the result below of this task: {task}

Cover the ordinary cases, the edges, and what must not happen. Do not repeat the result.

{code}"""
