from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

import recorded_traffic as traffic
from bakeoff.gateway.replay.asked import Reader
from bakeoff.gateway.replay.declared import NOTHING, Volatile
from bakeoff.gateway.replay.difference import LINES, WIDTH, describe

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=10,
)


def test_one_changed_byte_in_a_long_tool_output_is_shown_with_its_place() -> None:
    lines = [f"line {number}" for number in range(1000)]
    changed = [*lines[:500], "line 50O", *lines[501:]]
    recorded, live = traffic.chat("do", "ok", "\n".join(lines)), traffic.chat("do", "ok", "\n".join(changed))
    assert describe(recorded, live, "messages").splitlines() == [
        "messages[2] (user).content:",
        "   line 499",
        "  -line 500",
        "  +line 50O",
        "   line 501",
    ]


def test_a_byte_in_the_middle_of_a_long_line_is_within_what_is_shown() -> None:
    line = "x" * 5000
    shown = describe(line + "A" + line, line + "B" + line)
    removed, added = (next(one for one in shown.splitlines() if one.startswith(f"  {sign}")) for sign in "-+")
    assert "xA" in removed
    assert "xB" in added
    assert len(removed) < WIDTH + 10


def test_only_the_first_message_that_differs_is_shown_and_what_is_not_a_message_before_it() -> None:
    recorded, live = traffic.chat("a", "b", "c", model="one"), traffic.chat("a", "B", "C", model="two")
    assert [line for line in describe(recorded, live, "messages").splitlines() if line.endswith(":")] == [
        "model:",
        "messages[1] (assistant).content:",
    ]


def test_what_is_missing_or_new_is_shown_whole() -> None:
    assert describe({"a": 1}, {"b": {"c": [2]}}).splitlines() == [
        "a:",
        "  -1",
        "b:",
        "  +{",
        '  +  "c": [',
        "  +    2",
        "  +  ]",
        "  +}",
    ]
    assert "messages[1] (user)" in describe(
        {"messages": [{"role": "user"}]}, {"messages": [{"role": "user"}] * 2}, "messages"
    )


def test_what_a_terminal_would_obey_is_written_out() -> None:
    shown = describe("a", "\x1b[2Jb\r\u202e")
    assert "\\x1b[2Jb\\r\\u202e" in shown
    assert "\x1b" not in shown


def test_tokens_and_ids_are_readable() -> None:
    reader = Reader(Volatile(ids=("messages[].id",), drop=("secret",)), {"workdir": ("/app",)})
    body = {"messages": [{"id": "x1", "content": "in /app"}, {"id": "x2"}, {"id": "x1"}], "secret": 1}
    assert reader.readable("openai-chat", traffic.as_bytes(body)) == {
        "messages": [{"content": "in <workdir>", "id": "<id 1>"}, {"id": "<id 2>"}, {"id": "<id 1>"}]
    }
    assert Reader(NOTHING, {}).readable("other", b"\xff plain") == "\ufffd plain"


@given(JSON, JSON)
def test_a_difference_is_bounded_and_empty_only_for_what_is_equal(one: Any, other: Any) -> None:
    shown = describe(one, other)
    assert len(shown.splitlines()) <= LINES
    assert (shown == "") == (repr(_sorted(one)) == repr(_sorted(other)))
    assert describe(one, one) == ""


@given(st.lists(st.text(alphabet="ab\n", max_size=300), max_size=5), st.lists(st.text(max_size=300), max_size=5))
def test_a_difference_of_long_texts_is_bounded(one: list[str], other: list[str]) -> None:
    shown = describe(traffic.chat(*one), traffic.chat(*other), "messages")
    assert len(shown.split("\n")) <= LINES
    assert all(len(line) <= 20 * WIDTH for line in shown.split("\n"))


def test_a_difference_of_two_huge_texts_is_quick_and_bounded() -> None:
    one = "\n".join(f"{number * 7919 % 10007}" for number in range(50_000))
    other = "\n".join(f"{number * 104729 % 10009}" for number in range(50_000))
    shown = describe(one, other)
    assert len(shown.splitlines()) <= LINES
    assert "more lines" in shown


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


def test_names_of_members_cannot_move_the_cursor() -> None:
    shown = describe({"\x1b[2J": "a\x1b[0m"}, {"\x1b[2J": "b"})
    assert "\x1b" not in shown
    assert "\\x1b[2J" in shown
