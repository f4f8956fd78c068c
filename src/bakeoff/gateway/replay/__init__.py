"""Recorded answers to an agent's requests: each request is looked up by what it says, and never answered by a guess."""
