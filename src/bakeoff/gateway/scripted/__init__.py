"""A model that plays a script: its turns come from a TOML file or a Python function, through every API."""
