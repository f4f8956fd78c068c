"""The network of a sandbox that has none: a forward proxy at a local address, which passes on what the task's network allows."""
