"""What secrets look like: keys that can be told by their form alone, whatever their value.

The table covers what the chosen plugins of detect-secrets find, and bounds how long a match can be, so that a pass over a stream holds
little back. Plugins that go by entropy or by the name of a variable are left out: prompts and code are full of what they take for
secrets.
"""

from __future__ import annotations

import base64
import functools
import importlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

import msgspec

from bakeoff.gateway.redaction import Rule, Rules

_ALONE = rb"(?:(?<![A-Za-z0-9])|(?<=\\[nrtbf]))"  # not inside a word; in JSON the n of a line's end is none
_ANY = rb"(?:(?>[\xc0-\xff][\x80-\xbf]{0,3}|[\x00-\x09\x0b-\xbf])){0,20}?"  # as many characters, of whatever size


_REPLACED = re.compile(rb"\[redacted:[A-Za-z0-9_.-]{1,200}\]")


def _folded(word: bytes) -> bytes:
    """A word in small letters, as readers of text find it where case does not count: two signs of no ASCII count as an s and a k."""
    return word.replace(b"s", rb"(?:s|\xc5\xbf)").replace(b"k", rb"(?:k|\xe2\x84\xaa)")


_BLOCK = rb"(?:[A-Z0-9]{1,16} ){0,4}PRIVATE KEY(?: BLOCK)?"


def _is_token(token: bytes) -> bool:
    """Whether the first part of a JSON web token is a JSON object, and the second too unless it was cut short."""
    parts = token.split(b".")
    return all(_is_object(part) for part in parts[: 1 if len(parts[1]) >= 6144 else 2])


def _is_object(part: bytes) -> bool:
    try:
        decoded = base64.urlsafe_b64decode(part.rstrip(b"=") + b"=" * (-len(part.rstrip(b"=")) % 4))
        msgspec.json.decode(decoded)
    except (ValueError, msgspec.DecodeError, RecursionError):
        return False
    return True


def _rule(kind: str, pattern: bytes, *hints: bytes, reach: int = 1200, runs: bool = True, group: int = 0) -> Rule:
    return Rule(
        kind=kind, pattern=re.compile(pattern), hints=hints, reach=reach, in_runs=runs, group=group,
        valid=_is_token if kind == "json-web-token" else None,
    )  # fmt: skip


_KINDS = (
    _rule("aws-access-key", rb"(?:A3T[A-Z0-9]|ABIA|ACCA|AKIA|ASIA)[0-9A-Z]{16}", b"A3T", b"ABIA", b"ACCA", b"AKIA", b"ASIA"),
    _rule(
        "aws-access-key",
        rb"(?i)(?<!\[redacted:)" + _folded(rb"aws") + _ANY + _folded(rb"(?:key|pwd|pw|password|pass|token)") + _ANY
        + rb"['\"]((?:[0-9a-z/+]|\xc5\xbf|\xe2\x84\xaa){40})\\{0,3}['\"]",
        b"aws", b"AWS", runs=False, group=1,
    ),
    _rule("azure-storage-key", rb"AccountKey=([a-zA-Z0-9+/=]{88})", b"AccountKey=", runs=False, group=1),
    _rule("github-token", rb"gh[pousr]_[A-Za-z0-9_]{36,251}", b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_"),
    _rule("github-token", rb"github_pat_[A-Za-z0-9_]{20,251}", b"github_pat_"),
    _rule(
        "gitlab-token",
        rb"gl(?:pat|dt|ft|soat|rt|cbt|imt|ptt|agent|oas)-[A-Za-z0-9_-]{20,1024}|GR1348941[A-Za-z0-9_-]{20,255}",
        b"glpat-", b"gldt-", b"glft-", b"glsoat-", b"glrt-", b"glcbt-", b"glimt-", b"glptt-", b"glagent-", b"gloas-", b"GR1348941",
    ),
    _rule(
        "json-web-token",
        rb"eyJ[A-Za-z0-9_=-]{1,1024}\.[A-Za-z0-9_=-]{1,6144}(?:\.[A-Za-z0-9_=-]{0,1024})?",
        b"eyJ", reach=8200,
    ),
    _rule(
        "private-key",
        rb"(?:-----)?BEGIN " + _BLOCK + rb"(?:-----(?:[A-Za-z0-9+/=\s\\:,.()-]{0,8000}?-----END " + _BLOCK + rb"-----"
        rb"|(?:[A-Za-z0-9+/=]{16,128}|\\{1,3}[nr]|\s){0,60}))?",
        b"PRIVATE KEY", reach=8400, runs=False,
    ),
    _rule(
        "private-key",
        rb"PuTTY-User-Key-File-[23](?:[^\0]{0,6000}?Private-MAC: ?[0-9a-f]{40,64})?",
        b"PuTTY-User-Key-File-", reach=8400, runs=False,
    ),
    _rule(
        "model-provider-key",
        _ALONE + rb"sk-(?=[A-Za-z_-]{0,64}[0-9])[A-Za-z0-9_-]{20,512}"
        rb"|sk-[A-Za-z0-9_-]{0,256}?[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20}",
        b"sk-",
    ),
    _rule("model-provider-key", rb"[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20}", b"T3BlbkFJ", runs=False),
    _rule("google-api-key", rb"AIza[0-9A-Za-z_-]{35}", b"AIza"),
    _rule("hugging-face-token", _ALONE + rb"hf_[A-Za-z0-9]{30,64}", b"hf_"),
    _rule(
        "slack-token",
        rb"(?i)xox(?:[abpor]|s|\xc5\xbf)-(?:[\d\x80-\xff]{1,96}-){1,16}[a-z0-9\x80-\xff]{1,255}",
        b"xox", b"XOX", reach=2000, runs=False,
    ),
    _rule(
        "slack-token",
        rb"(?i)" + _folded(rb"https://hooks") + rb"\." + _folded(rb"slack") + rb"\.com/" + _folded(rb"services")
        + rb"/(T[\w\x80-\xff]{1,64}/B[\w\x80-\xff]{1,64}/[\w\x80-\xff]{1,128})",
        b"hooks.slack.com/", runs=False, group=1,
    ),
    _rule("stripe-access-key", rb"[rs]k_live_[0-9a-zA-Z]{24,255}", b"k_live_"),
    _rule("sendgrid-api-key", rb"SG\.[a-zA-Z0-9_-]{22}\.[a-zA-Z0-9_-]{43}", b"SG.", runs=False),
    _rule("square-oauth-secret", rb"sq0csp-[0-9A-Za-z\\_-]{43}", b"sq0csp-"),
    _rule("npm-token", rb"npm_[A-Za-z0-9]{36}", b"npm_"),
    _rule("npm-token", rb":_authToken=\s{0,8}((?!\[redacted)[^\s\"'\\$]{8,255})", b":_authToken=", runs=False, group=1),
    _rule("pypi-token", rb"pypi-(?:AgEIcHlwaS5vcmc|AgENdGVzdC5weXBpLm9yZw)[A-Za-z0-9_-]{70,1024}", b"pypi-AgE"),
    _rule("mailchimp-key", rb"[0-9a-z]{32}-us[0-9]{1,2}", b"-us"),
    _rule("telegram-token", rb"(?<![0-9])\d{8,10}:AA[0-9A-Za-z_-]{33}", b":AA", runs=False),
    _rule(
        "password-in-url",
        rb"://[^\s:/@\"'\\<>\[\]{}]{1,128}:([^\s:/@\"'\\<>\[\]{}$*]{3,256})@",
        b"://", runs=False, group=1,
    ),
)  # fmt: skip

SHAPES = Rules(_KINDS)
"""All of them, as rules for bytes."""

PLUGINS: Mapping[str, str] = {
    "aws-access-key": "aws.AWSKeyDetector",
    "azure-storage-key": "azure_storage_key.AzureStorageKeyDetector",
    "github-token": "github_token.GitHubTokenDetector",
    "gitlab-token": "gitlab_token.GitLabTokenDetector",
    "json-web-token": "jwt.JwtTokenDetector",
    "mailchimp-key": "mailchimp.MailchimpDetector",
    "npm-token": "npm.NpmDetector",
    "model-provider-key": "openai.OpenAIDetector",
    "private-key": "private_key.PrivateKeyDetector",
    "pypi-token": "pypi_token.PypiTokenDetector",
    "sendgrid-api-key": "sendgrid.SendGridDetector",
    "slack-token": "slack.SlackDetector",
    "square-oauth-secret": "square_oauth.SquareOAuthDetector",
    "stripe-access-key": "stripe.StripeDetector",
}
"""The plugins of detect-secrets that have the last word on a kind."""


@functools.cache
def _plugin(name: str) -> Any:
    module, _, kind = name.partition(".")
    return getattr(importlib.import_module(f"detect_secrets.plugins.{module}"), kind)()


def still_there(data: bytes, rows: bytes | None = None) -> Iterator[str]:
    """The kinds of secrets that detect-secrets sees in ``data``. Loads no plugin that could not find anything.

    ``rows`` are the ``runs`` of the data, where they are known. The names that stand for what was replaced are no part of a secret.
    """
    names = {rule.kind: PLUGINS[rule.kind] for rule in SHAPES.hinted(data, rows) if rule.kind in PLUGINS}
    text = _REPLACED.sub(b"\n\0\n", data).decode("utf-8", "replace") if names else ""
    for kind, name in names.items():
        if any(True for _ in cast("Iterator[str]", _plugin(name).analyze_string(text))):
            yield kind
