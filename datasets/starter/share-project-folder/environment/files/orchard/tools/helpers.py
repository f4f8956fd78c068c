"""Imported by the tools, never run."""

ROWS = 14
