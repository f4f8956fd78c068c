"""How programs in a sandbox find the proxy."""

from __future__ import annotations

PORT = 61080
"""Where the proxy listens inside a sandbox: always there, since agents show their environment to models and a replay compares what
they say; above the ports that systems hand out by themselves."""

_LOCAL = "localhost,127.0.0.1,::1"  # no brackets: some HTTP libraries end with an error on them


def proxy_env() -> dict[str, str]:
    """The variables by which apt, curl, git, npm, pip and most libraries use the proxy, and go straight to the sandbox's own services."""
    address = f"http://127.0.0.1:{PORT}"
    lower = {"http_proxy": address, "https_proxy": address, "no_proxy": _LOCAL}
    return {**lower, **{name.upper(): value for name, value in lower.items()}}
