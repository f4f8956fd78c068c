"""Agents that others wrote, each described by a TOML file: how it is installed, how it is run, and what it needs."""
