"""Widgets, built from ipywidgets alone, each with static HTML as its fallback where no kernel runs."""
