"""A service that makes shipping labels."""
