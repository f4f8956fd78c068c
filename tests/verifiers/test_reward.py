"""Reward files: one finite number or a flat object of them; anything else is a fault and says why."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakeoff.verifiers.reward import SIZE_LIMIT, Nonsense, parse_json, parse_text, read_reward

FINITE = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1.0),
        ("0\n", 0.0),
        (" \t-0.5\r\n", -0.5),
        ("1e-3", 0.001),
        (".5", 0.5),
        ("1.", 1.0),
        ("+2", 2.0),
        ("007", 7.0),
    ],
)
def test_one_decimal_number_is_a_reward(text: str, value: float) -> None:
    assert parse_text(text.encode()) == value


@pytest.mark.parametrize(
    "data",
    [
        *(
            b"",
            b" \n",
            b"yes",
            b"nan",
            b"inf",
            b"-inf",
            b"Infinity",
            b"1e400",
            b"-1e999",
            b"1_0",
            b"0x1",
            b"1 0",
            b"0.5\n0.7",
        ),
        *(
            b"1,5",
            b"true",
            b"1.0.0",
            b"1e",
            b"--1",
            b".",
            b"1\x00",
            b"\xff",
            b"\xef\xbb\xbf1",
            "\uff11".encode(),
            "\u0661".encode(),
        ),
        *(b"\xa01", b"1j", b"1/2", b"9" * 400),
    ],
)
def test_anything_but_one_finite_decimal_number_is_nonsense(data: bytes) -> None:
    with pytest.raises(Nonsense):
        parse_text(data)


@settings(deadline=None)
@given(FINITE)
def test_every_finite_number_survives(value: float) -> None:
    assert parse_text(f"{value!r}\n".encode()) == value
    assert parse_json(json.dumps({"a": value}).encode()) == {"a": value}


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_text_of_any_bytes_is_a_finite_number_or_nonsense(data: bytes) -> None:
    try:
        value = parse_text(data)
    except Nonsense:
        return
    assert math.isfinite(value)
    assert value == float(data)


@settings(deadline=None)
@given(
    st.dictionaries(
        st.text(min_size=1).filter(lambda t: t.isprintable()), FINITE | st.integers(-(10**9), 10**9), min_size=1
    )
)
def test_a_flat_object_of_finite_numbers_is_a_reward(values: dict[str, float]) -> None:
    assert parse_json(json.dumps(values).encode()) == values


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(JSON)
def test_json_of_any_shape_is_finite_numbers_or_nonsense(value: object) -> None:
    try:
        rewards = parse_json(json.dumps(value).encode())
    except Nonsense:
        return
    assert isinstance(value, dict)
    assert rewards
    assert all(math.isfinite(number) for number in rewards.values())
    assert not any(isinstance(item, bool) for item in value.values())


@settings(deadline=None)
@given(st.binary(max_size=80))
def test_json_of_any_bytes_is_finite_numbers_or_nonsense(data: bytes) -> None:
    try:
        rewards = parse_json(data)
    except Nonsense:
        return
    assert all(math.isfinite(number) for number in rewards.values())


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"{}", "empty object"),
        (b"", "not JSON"),
        (b"1", "not an object"),
        (b"[1]", "not an object"),
        (b'{"a": true}', "not a number"),
        (b'{"a": "1"}', "not a number"),
        (b'{"a": null}', "not a number"),
        (b'{"a": {"b": 1}}', "not a number"),
        (b'{"a": [1]}', "not a number"),
        (b'{"a": NaN}', "not a finite number"),
        (b'{"a": -Infinity}', "not a finite number"),
        (b'{"a": 1e400}', "not a finite number"),
        (b'{"a": 1' + b"0" * 400 + b"}", "not a finite number"),
        (b'{"a": 1' + b"0" * 5000 + b"}", "not JSON"),
        (b'{"a": 0, "a": 1}', "twice"),
        (b'{"a": 1} {"a": 2}', "not JSON"),
        (b'{"a": 1, "b": "\xff"}', "not UTF-8"),
        (b'\xef\xbb\xbf{"a": 1}', "not JSON"),
        (b'{"\\ud800": 1}', "not text"),
        (b"[" * 60_000, "nested too deep"),
        (b'{"a":' * 10_000, "nested too deep"),
    ],
)
def test_nonsense_in_json_says_what_is_wrong(data: bytes, why: str) -> None:
    with pytest.raises(Nonsense, match=why):
        parse_json(data)


def test_json_counts_before_text(tmp_path: Path) -> None:
    (tmp_path / "reward.txt").write_text("0.25")
    assert read_reward(tmp_path, None).rewards == {"reward": 0.25}
    (tmp_path / "reward.json").write_text('{"reward": 0.25, "speed": 3}')
    verdict = read_reward(tmp_path, None)
    assert (verdict.reward, verdict.rewards, verdict.fault) == (0.25, {"reward": 0.25, "speed": 3.0}, "")


def test_two_rewards_that_disagree_are_none(tmp_path: Path) -> None:
    (tmp_path / "reward.txt").write_text("0")
    (tmp_path / "reward.json").write_text('{"reward": 1}')
    verdict = read_reward(tmp_path, None)
    assert (verdict.reward, verdict.fault) == (None, "error")
    assert "disagree" in verdict.detail


def test_a_metric_among_several_rewards_may_differ_from_the_one_in_text(tmp_path: Path) -> None:
    (tmp_path / "reward.txt").write_text("1")
    (tmp_path / "reward.json").write_text('{"speed": 0.5, "size": 0.25}')
    verdict = read_reward(tmp_path, "speed")
    assert (verdict.reward, verdict.fault) == (0.5, "")


def test_malformed_json_is_a_fault_beside_good_text(tmp_path: Path) -> None:
    (tmp_path / "reward.txt").write_text("1")
    (tmp_path / "reward.json").write_text('{"reward": 1')
    verdict = read_reward(tmp_path, None)
    assert (verdict.reward, verdict.fault) == (None, "error")
    assert "reward.json: not JSON" in verdict.detail


def test_no_file_is_a_fault_and_never_zero(tmp_path: Path) -> None:
    verdict = read_reward(tmp_path, None)
    assert (verdict.reward, verdict.fault) == (None, "error")
    assert "no reward" in verdict.detail


@pytest.mark.parametrize(
    ("text", "metric", "reward"),
    [
        ('{"accuracy": 0.5}', None, 0.5),
        ('{"accuracy": 0.5}', "speed", 0.5),
        ('{"accuracy": 0.5, "reward": 1}', "accuracy", 1.0),
        ('{"accuracy": 0.5, "speed": 2}', "speed", 2.0),
        ('{"accuracy": 0.5, "speed": 2}', None, None),
        ('{"accuracy": 0.5, "speed": 2}', "taste", None),
    ],
)
def test_which_of_several_rewards_counts(tmp_path: Path, text: str, metric: str | None, reward: float | None) -> None:
    (tmp_path / "reward.json").write_text(text)
    verdict = read_reward(tmp_path, metric)
    assert verdict.reward == reward
    assert verdict.rewards == {name: float(value) for name, value in json.loads(text).items()}
    if reward is None:
        assert verdict.fault == "error"
        assert "accuracy, speed" in verdict.detail


@pytest.mark.parametrize("name", ["reward.txt", "reward.json"])
@pytest.mark.parametrize("kind", ["link", "dangling", "fifo", "folder", "huge"])
def test_what_is_not_a_small_regular_file_is_never_opened(tmp_path: Path, name: str, kind: str) -> None:
    (tmp_path / "good").write_text("1" if name.endswith("txt") else '{"reward": 1}')
    path = tmp_path / name
    match kind:
        case "link":
            path.symlink_to("good")
        case "dangling":
            path.symlink_to("nowhere")
        case "fifo":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case _:
            path.write_bytes(b" " * SIZE_LIMIT + b"1")
    verdict = read_reward(tmp_path, None)
    assert (verdict.reward, verdict.fault) == (None, "error")
    assert verdict.detail.startswith(f"{name}: ")
