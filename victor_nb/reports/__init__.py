"""Frames, tables and charts. pandas and matplotlib are imported when one is made."""
