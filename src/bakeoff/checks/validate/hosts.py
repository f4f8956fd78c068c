"""Addresses: which of them lie outside the sandbox."""

from __future__ import annotations

import ipaddress
import re

_URL = re.compile(
    r"(?:https?|ftp|ssh|git|wss?)://(?:[^/@\s]*@)?(\[[^\]\s]*\]|[^/:?#\s\"'<>]*)(?::(\d{1,5}))?", re.IGNORECASE
)
_OURS = re.compile(r".*\.(test|local|localhost|internal|invalid|example|home|lan|localdomain)")
_HOST = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{1,62}")
_SSH = re.compile(r"[\w.-]+@([\w.-]+):.*")


def outside(host: str) -> bool:
    """True for a host that surely is not this machine: a public address, or a name with a public ending.

    Names without a dot may be services of the task, and reserved endings are no one's: neither counts.
    """
    host = host.strip("[]").rstrip(".").lower()
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return bool(_HOST.fullmatch(host)) and not _OURS.fullmatch(host)


def outside_url(text: str) -> bool:
    """True where ``text`` is a URL whose host lies outside."""
    match = _URL.match(text.strip()[:2000])
    return match is not None and outside(match[1])


def outside_remote(text: str) -> bool:
    """True for what git, scp or rsync would reach over a network."""
    match = _SSH.fullmatch(text[:2000])
    return outside_url(text) or (match is not None and outside(match[1]))


def loopback_port(text: str) -> int | None:
    """The port of a URL on this machine that ``text`` begins with."""
    match = _URL.match(text.strip()[:2000])
    if match is None or not match[2] or not loopback(match[1]):
        return None
    return int(match[2])


def loopback(host: str) -> bool:
    """True for this machine by any of its usual names."""
    host = host.strip("[]").lower()
    if host in ("localhost", "0.0.0.0", "ip6-localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
