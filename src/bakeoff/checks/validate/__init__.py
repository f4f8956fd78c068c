"""What reading a task tells: checks that cannot fail or are never reached, tests that need a network, names nobody is told."""

from bakeoff.checks.validate.gate import validate

__all__ = ["validate"]
