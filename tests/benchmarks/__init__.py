"""Figures to be read, not passed: run by hand."""
