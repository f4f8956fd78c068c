"""Traffic that other tools logged, made into fixtures."""
