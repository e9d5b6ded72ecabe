"""Widgets: built from ipywidgets alone, each with a still twin for wherever no widget can live."""
