"""Notebooks that are run again from their tapes: the run, the comparison of outputs, the report of costs."""
