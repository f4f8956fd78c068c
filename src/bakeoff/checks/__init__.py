"""Gates that a task must pass before its numbers are trusted."""
