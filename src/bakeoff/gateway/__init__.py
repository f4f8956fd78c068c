"""What stands between agents and models: it forwards, records, replays and limits, and holds the only real key."""
