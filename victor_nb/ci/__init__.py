"""Notebooks that are run again from their tapes: the run, the comparison of outputs, the report of costs."""

from typing import Final

TIMEOUT: Final = 300  # seconds a cell may take
