"""Secrets are replaced by value in every form and by shape, in whatever pieces they come; the rest stays."""

from __future__ import annotations

import base64
import json
import re
import time
from importlib import import_module
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from bakeoff.gateway.conversations import conversation_of
from bakeoff.gateway.redaction import Pass, Rule, Rules
from bakeoff.gateway.secret_shapes import PLUGINS, still_there
from bakeoff.gateway.secrets import Secrets, looks_secret, redact, secret_values

KEY = "sk-ant-api03" + "-abcDEF123_" * 3
ODD = 'p"w\\d/with spä ce&+=%\n'

SHAPED = {
    "aws-access-key": ["AKIA" + "ABCD2345" * 2, 'aws_secret_key = "' + "aB3/" * 10 + '"'],
    "azure-storage-key": ["AccountKey=" + "aB3/" * 21 + "ab=="],
    "github-token": ["ghp_" + "a1B2" * 9, "github_pat_" + "a1B2_" * 12],
    "gitlab-token": ["glpat-" + "a1B2-" * 4, "GR1348941" + "a1B2-" * 4],
    "json-web-token": [
        ".".join(
            base64.urlsafe_b64encode(part).decode().rstrip("=")
            for part in (b'{"alg":"HS256","typ":"JWT"}', b'{"sub":"1234567890","name":"x"}', b"0123456789abcdef0123456789")
        )
    ],
    "private-key": [
        "-----BEGIN RSA PRIVATE KEY-----\n" + "MIIEpAIBAAKCAQEA0Z3VS5JJcds3xfn/ygWyF0PbnGy5\n" * 12 + "-----END RSA PRIVATE KEY-----",
        "-----BEGIN OPENSSH PRIVATE KEY-----\\n" + "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9u\\n" * 5 + "-----END OPENSSH PRIVATE KEY-----",
    ],
    "model-provider-key": [KEY, "sk-proj-" + "a1B2" * 12, "sk-or-v1-" + "0123456789abcdef" * 4, "sk-" + "aB" * 10 + "T3BlbkFJ" + "cD" * 10],
    "google-api-key": ["AIza" + "a1B2-" * 7],
    "hugging-face-token": ["hf_" + "aBcD" * 9],
    "slack-token": ["xoxb-" + "1234567890-abcdefghijkl", "https://hooks.slack.com/services/" + "T0123/B0123/abcdefghijklmnopqrstuvwx"],
    "stripe-access-key": ["sk_live_" + "a1B2c3D4" * 3],
    "sendgrid-api-key": ["SG." + "a" * 22 + "." + "b" * 43],
    "square-oauth-secret": ["sq0csp-" + "a1B" * 14 + "_"],
    "npm-token": ["npm_" + "a1B2" * 9, "//registry.example/:_authToken=" + "0f0e0d0c-1111-2222-3333-444455556666"],
    "pypi-token": ["pypi-AgEIcHlwaS5vcmc" + "a1B2-" * 16],
    "mailchimp-key": ["0123456789abcdef" * 2 + "-us12"],
    "telegram-token": ["123456789:AA" + "a1B" * 11],
    "password-in-url": ["postgres://user:" + "s3cretpass@db.example/x"],
}  # fmt: skip


def in_every_form(value: str) -> dict[str, bytes]:
    raw = value.encode()
    return {
        "plain": raw,
        "json": json.dumps({"a": value}).encode(),
        "json in utf-8": json.dumps({"a": value}, ensure_ascii=False).encode(),
        "json in json": json.dumps({"arguments": json.dumps({"cmd": value})}).encode(),
        "url": ("https://x.example/?q=" + quote(value, safe="")).encode(),
        "url path": ("https://x.example/" + quote(value)).encode(),
        "form": ("q=" + quote_plus(value) + "&z=1").encode(),
        "hex": raw.hex().encode(),
        "HEX": raw.hex().upper().encode(),
        **{f"base64 after {before}": base64.b64encode(b"u" * before + raw + b"tail") for before in range(4)},
        **{f"base64 for URLs after {before}": base64.urlsafe_b64encode(b"u" * before + raw) for before in range(3)},
    }


def core(value: str, form: bytes) -> bytes:
    """What of the form must be gone: its middle, since the ends of base64 are mixed with what stands around."""
    return form[len(form) // 2 - 3 : len(form) // 2 + 3]


@pytest.mark.parametrize("value", [KEY, ODD, "hunter2-hunter2", "ünïcödé-pässwörd"])
@pytest.mark.parametrize("form", sorted(in_every_form(KEY)))
def test_a_known_value_is_replaced_in_every_form(value: str, form: str) -> None:
    text = in_every_form(value)[form]
    redacted, counts = Secrets({"MY_KEY": value}).redact(b"before " + text + b" after")
    assert b"[redacted:MY_KEY]" in redacted
    assert counts == {"MY_KEY": 1}
    assert redacted.startswith(b"before ") and redacted.endswith(b" after")
    assert len(redacted) <= len(text) + 40
    assert core(value, text) not in redacted.replace(b"[redacted:MY_KEY]", b"") or "base64" not in form


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in SHAPED.items() for text in texts])
@pytest.mark.parametrize("around", ["say {} now", '{{"content":"line\\n{}\\nmore"}}', "x={}\n"])
def test_what_looks_like_a_secret_is_replaced_by_its_kind(kind: str, text: str, around: str) -> None:
    data = around.format(text).encode()
    redacted, counts = redact(data)
    assert list(counts) == [kind], redacted
    assert f"[redacted:{kind}]".encode() in redacted
    assert list(still_there(redacted)) == []
    before, _, after = around.format("\0").partition("\0")
    assert redacted.startswith(before.encode()) and redacted.endswith(after.encode()[-2:])


@pytest.mark.parametrize(
    "text",
    [
        "the task-manager-with-a-long-kebab-name-of-many-words is fine, so is risk-assessment-of-everything",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "commit 2fd4e1c67a2d28fced849ee1bb76e7391b93eb12",
        "id 123e4567-e89b-12d3-a456-426614174000, call_abcdefghijklmnopqrstuvwx, msg_01XFDUDYJgAACzvnptvVoYEL",
        "data:image/png;base64," + "iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAAAHElEQVQI12P4" * 4,
        "postgres://user:$PASSWORD@db/x and https://user:{password}@host and git@github.com:org/repo",
        "[redacted:github-token] and postgres://user:[redacted:password-in-url]@db",
        "-----BEGIN CERTIFICATE-----\nMIIDdzCCAl+gAwIBAgIEAgAAuTANBgkqhkiG9w0BAQUFADBaMQswCQYDVQQGEwJJ\n-----END CERTIFICATE-----",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl user@host",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text.encode()) == (text.encode(), {})


def test_a_value_goes_before_a_shape_and_short_values_stay() -> None:
    secrets = Secrets({"MINE": KEY, "SHORT": "yes"})
    assert secrets.redact(f"yes {KEY}".encode()) == (b"yes [redacted:MINE]", {"MINE": 1})


def test_many_values_at_once() -> None:
    values = {f"KEY_{number}": f"value-number-{number:04}-with-some-length" for number in range(50)}
    text = " ".join(values.values()).encode()
    redacted, counts = Secrets(values).redact(text)
    assert counts == dict.fromkeys(values, 1)
    assert b"value-number" not in redacted


pieces = st.lists(
    st.sampled_from(
        [KEY.encode(), b"ghp_" + b"a1B2" * 9, b"eyJ",
         b"-----BEGIN RSA PRIVATE KEY-----", b"AKIA", b"sk-", b"a" * 9, b" ", b"\n", b"://u:" + b"p4ss@", b"."]
        + [text.encode() for texts in SHAPED.values() for text in texts]
    )
    | st.binary(max_size=12),
    max_size=14,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(pieces, st.lists(st.integers(0, 1200), max_size=8))
def test_pieces_give_what_the_whole_gives(made: list[bytes], cuts: list[int]) -> None:
    data = b"".join(made)
    secrets = Secrets({"KEY": KEY, "OTHER": "a" * 9})
    redactor = secrets.redactor()
    out, start = b"", 0
    for cut in sorted({min(cut, len(data)) for cut in cuts}):
        out += redactor.feed(data[start:cut])
        start = cut
    out += redactor.feed(data[start:]) + redactor.end()
    assert (out, redactor.counts) == secrets.redact(data)
    assert redactor.at(0) == 0 and redactor.at(len(data)) == len(out)
    places = [redactor.at(offset) for offset in range(len(data) + 1)]
    assert places == sorted(places)


@settings(max_examples=150, deadline=None)
@given(pieces)
def test_nothing_known_is_left_and_twice_is_once(made: list[bytes]) -> None:
    secrets = Secrets({"KEY": KEY})
    data = b" ".join(made)
    once, _ = secrets.redact(data)
    assert KEY.encode() not in once
    assert secrets.redact(once) == (once, {})
    assert list(secrets.left(once)) == []
    assert secrets.suspect(data) or once == data


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=5))
def test_rules_that_overlap_decide_the_same_in_pieces(data: bytes, cuts: list[int]) -> None:
    def rule(kind: str, pattern: bytes) -> Rule:
        return Rule(kind=kind, pattern=re.compile(pattern), hints=(b"",), reach=12, in_runs=False)

    data = bytes(code % 4 + 97 for code in data)
    rules = Rules([rule("ab", b"ab{1,9}"), rule("ba", b"(?<!c)ba[abc]{0,9}"), rule("dd", b"d{2}(?!d)")])
    passed = Pass(rules)
    out, start = b"", 0
    for cut in sorted({min(cut, len(data)) for cut in cuts}):
        out += passed.feed(data[start:cut])
        start = cut
    out += passed.feed(data[start:]) + passed.end()
    assert (out, passed.counts) == rules.whole(data)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(st.data())
@pytest.mark.parametrize("kind", sorted(set(PLUGINS) - {"npm-token", "slack-token"}))
def test_all_that_detect_secrets_finds_is_replaced(kind: str, data: st.DataObject) -> None:
    module, _, name = PLUGINS[kind].partition(".")
    plugin = getattr(import_module(f"detect_secrets.plugins.{module}"), name)()
    # those that ignore case take Hypothesis seconds, and stand in the table above
    patterns = [pattern for pattern in plugin.denylist if not pattern.flags & re.IGNORECASE]
    assume(patterns)
    text = data.draw(st.from_regex(data.draw(st.sampled_from(patterns)), fullmatch=True))
    assume(len(text) < 1000)
    redacted, _ = redact(f"before {text} after".encode())
    assert list(still_there(redacted)) == [], text
    assert kind == "square-oauth-secret" or not list(plugin.analyze_string(redacted.decode())), text


def test_secrets_are_told_by_the_names_of_variables() -> None:
    names = "OPENAI_API_KEY AWS_SECRET_ACCESS_KEY GITHUB_TOKEN DB_PASSWORD PGPASSWORD MY_SECRET npm_token DATABASE_DSN"
    for name in names.split():
        assert looks_secret(name), name
    for name in [
        "PATH",
        "HOME",
        "KEYBOARD_LAYOUT",
        "TOKENIZERS_PARALLELISM",
        "MONKEY",
        "PWD",
        "OLDPWD",
        "AUTHOR",
        "SSH_AUTH_SOCK",
    ]:
        assert not looks_secret(name), name
    env = {"A_KEY": "1", "PATH": "/bin", "NAMED": "x", "EMPTY_KEY": ""}
    assert secret_values(env, ["NAMED"]) == {"A_KEY": "1", "NAMED": "x"}


def test_a_thread_keeps_its_name_while_it_grows() -> None:
    def name(api: str, body: object) -> str:
        return conversation_of(api, json.dumps(body).encode())  # type: ignore[arg-type]  # a literal

    first = {"role": "user", "content": [{"type": "text", "text": "do it", "cache_control": {"type": "ephemeral"}}]}
    later = {"role": "user", "content": [{"type": "text", "text": "do it"}]}
    tools = [{"name": "Bash"}]
    one = name("anthropic-messages", {"messages": [first], "system": "today", "tools": tools})
    two = name(
        "anthropic-messages",
        {"messages": [later, {"role": "assistant", "content": "x"}], "system": "tomorrow", "tools": tools},
    )
    assert one == two and len(one) == 12
    assert one != name("anthropic-messages", {"messages": [first], "system": "title?"})
    assert one != name("anthropic-messages", {"messages": [{"role": "user", "content": "other"}], "tools": tools})
    items = [
        {"type": "message", "role": "developer", "content": "d"},
        {"role": "user", "content": [{"type": "input_text", "text": "do"}]},
    ]
    assert name("openai-responses", {"input": items}) == name("openai-responses", {"input": "do"}) != ""
    assert name("gemini", {"contents": [{"role": "user", "parts": [{"text": "do"}]}]}) != ""
    assert name("other", {"messages": [first]}) == conversation_of("openai-chat", b"\xff{") == ""


@pytest.mark.parametrize(
    "text",
    [
        "aws " + "é" * 15 + f"key = '{'A1b2C3d4E5' * 4}'",
        f"aws_\u212aey = '{'A1b2C3d4E5' * 4}'",
        f'{{"id":"AKIA{"A" * 16}","commit":"{"da39a3ee5e" * 4}"}}',
        f"sk-{'a' * 300}T3BlbkFJ{'b' * 20}",
        "xoxb-\u0661\u0662-\u0661\u0662-abc",
    ],
)
def test_no_text_makes_a_whole_recording_go(text: str) -> None:
    """What the last look takes for a secret has been replaced, in other scripts too, and the words that stand there are none."""
    redacted, _ = Secrets().redact(text.encode())
    assert list(Secrets().left(redacted)) == []


def test_letters_of_other_scripts_take_no_time() -> None:
    begun = time.perf_counter()
    Secrets().redact(("aws " + "é" * 5000 + "key").encode() * 20)
    assert time.perf_counter() - begun < 1
