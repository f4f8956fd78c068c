"""The gate ``leak``: nothing that a task hides can be seen by its agent."""

from __future__ import annotations

from bakeoff.checks.leak.gate import leak as leak
