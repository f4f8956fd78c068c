"""Sandboxes of each backend, for the suite that all of them are run against."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the suite is a module of its own that later backends import
pytest.register_assert_rewrite("attacking", "haunting")  # so that a failure there says what was compared
