from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import recorded_traffic as traffic
from bakeoff.errors import InputError
from bakeoff.gateway.replay import asked as module
from bakeoff.gateway.replay.asked import Reader
from bakeoff.gateway.replay.declared import NOTHING, Order, Pattern, Volatile, parse_volatile, read_volatile
from bakeoff.gateway.replay.roots import joined, replacer, slug

PLAIN = Reader(NOTHING, {})
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
MESSAGES = st.lists(st.dictionaries(st.sampled_from(["role", "content", "id", "x"]), JSON, max_size=3), max_size=4)


def key(body: Any, reader: Reader = PLAIN, api: Any = "openai-chat", path: str = "") -> bytes:
    return reader.read(api, "POST", path, traffic.as_bytes(body)).key


def volatile(**fields: Any) -> Reader:
    return Reader(Volatile(**fields), {})


@given(MESSAGES, JSON)
def test_order_of_keys_and_blanks_do_not_count(messages: Any, more: Any) -> None:
    body = {"model": "m", "tools": more, "messages": messages}
    other = json.dumps(dict(reversed(body.items())), indent=3, ensure_ascii=True)
    assert key(body) == key(other.encode())


@given(MESSAGES, MESSAGES)
def test_different_messages_have_different_keys(one: Any, other: Any) -> None:
    assume(json.dumps(one, sort_keys=True) != json.dumps(other, sort_keys=True))
    assert key({"messages": one}) != key({"messages": other})


@given(
    st.binary(max_size=60) | MESSAGES.map(lambda said: json.dumps({"messages": said}).encode()), st.integers(0, 10**6)
)
def test_any_bytes_have_a_key_and_the_same_again(body: bytes, where: int) -> None:
    damaged = body[: where % (len(body) + 1)]
    for one in (body, damaged):
        assert PLAIN.read("openai-chat", "POST", "/x", one) == Reader(NOTHING, {}).read(
            "openai-chat", "POST", "/x", one
        )
        PLAIN.readable("openai-chat", one)


@given(MESSAGES, st.integers(0, 3))
def test_messages_that_are_shared_have_equal_digests_whatever_follows(messages: Any, cut: int) -> None:
    whole = PLAIN.read("openai-chat", "POST", "", traffic.as_bytes({"messages": messages}))
    begun = PLAIN.read("openai-chat", "POST", "", traffic.as_bytes({"messages": messages[:cut]}))
    assert whole.messages[:cut] == begun.messages


@given(st.text(max_size=30), st.text(max_size=30))
def test_texts_that_differ_never_fall_together_through_roots_that_are_not_in_them(one: str, other: str) -> None:
    assume(one != other)
    replace = replacer({"workdir": ("/data/w",), "run_id": ("run-77",)})
    assert replace(one) != replace(other)


def test_how_an_answer_is_wanted_does_not_count_and_all_else_does() -> None:
    plain = key({"model": "m", "messages": []})
    assert plain == key({"model": "m", "messages": [], "stream": True, "stream_options": {"include_usage": True}})
    for field in ({"model": "n"}, {"temperature": 0}, {"tools": [{"name": "a"}]}, {"max_tokens": 9}, {"stream2": True}):
        assert plain != key({"model": "m", "messages": []} | field)


def test_marks_for_a_cache_do_not_count_where_they_are_marks() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}

    def body(mark: dict[str, Any]) -> dict[str, Any]:
        block = {"type": "tool_result", "content": [{"type": "text", "text": "x", **mark}], **mark}
        return {"system": [{"text": "s", **mark}], "tools": [{"name": "t", **mark}], "messages": [{"content": [block]}]}

    assert key(body({}), api="anthropic-messages") == key(body(mark), api="anthropic-messages")
    argument = {"messages": [{"content": [{"type": "tool_use", "input": mark}]}]}
    assert key(argument, api="anthropic-messages") != key(
        {"messages": [{"content": [{"type": "tool_use", "input": {}}]}]}
    )


def test_a_gemini_path_tells_the_model_and_not_the_form_of_the_answer() -> None:
    def path(model: str, action: str) -> bytes:
        return key({"contents": []}, api="gemini", path=f"/v1beta/models/{model}:{action}?alt=sse&key=abc")

    assert path("a", "generateContent") == path("a", "streamGenerateContent")
    assert path("a", "generateContent") != path("b", "generateContent")
    streamed = PLAIN.read("gemini", "POST", "/v1beta/models/a:streamGenerateContent", b"{}")
    assert (streamed.stream, PLAIN.read("gemini", "POST", "/v1beta/models/a:generateContent", b"{}").stream) == (
        True,
        False,
    )


def test_other_paths_count_with_their_query_but_for_a_key_in_it() -> None:
    def get(path: str, method: str = "GET") -> bytes:
        return PLAIN.read("other", method, path, b"").key

    assert get("/v1/files?a=1&key=secret") == get("/v1/files?a=1&key=other")
    assert len({get("/v1/files"), get("/v1/files?a=1"), get("/v1/file"), get("/v1/files", "DELETE")}) == 4


def test_an_api_prefix_does_not_count() -> None:
    body = {"messages": []}
    assert key(body, path="/v1/chat/completions") == key(body, path="/openai/v1/chat/completions")


def test_ids_are_numbered_so_that_who_is_who_still_counts() -> None:
    reader = volatile(ids=("input[].id",))

    def body(*ids: str) -> dict[str, Any]:
        return {"input": [{"id": one} for one in ids]}

    assert key(body("a", "b", "a"), reader, "openai-responses") == key(body("x", "y", "x"), reader, "openai-responses")
    assert key(body("a", "b", "a"), reader, "openai-responses") != key(body("x", "y", "y"), reader, "openai-responses")


def test_ids_inside_text_are_numbered_with_those_in_fields() -> None:
    reader = volatile(ids=("messages[].id",), pattern=(Pattern(at=("messages[].content",), find=r"^job (?P<id>\d+)$"),))

    def body(first: str, second: str, text: str) -> dict[str, Any]:
        return {"messages": [{"id": first}, {"id": second}, {"content": text}]}

    assert key(body("1", "2", "job 1"), reader) == key(body("3", "4", "job 3"), reader)
    assert key(body("1", "2", "job 1"), reader) != key(body("3", "4", "job 4"), reader)
    assert key(body("1", "2", "my job 1"), reader) != key(body("1", "2", "my job 3"), reader)


def test_a_pattern_leaves_out_its_groups_alone_and_only_at_its_place() -> None:
    reader = volatile(
        pattern=(Pattern(at=("messages[].content",), find=r"\Aat (?P<hour>\d+):(?P<minute>\d+) in (?:\w+)"),)
    )

    def said(text: str, field: str = "content") -> bytes:
        return key({"messages": [{field: text}]}, reader)

    assert said("at 10:30 in Rome, 5") == said("at 7:05 in Rome, 5")
    assert said("at 10:30 in Rome, 5") != said("at 10:30 in Oslo, 5")
    assert said("at 10:30 in Rome, 5") != said("at 10:30 in Rome, 6")
    assert said("at 10:30 in Rome", "reasoning") != said("at 7:05 in Rome", "reasoning")


def test_results_that_came_in_another_order_are_equal_where_that_is_declared() -> None:
    def body(*ids: str) -> dict[str, Any]:
        results = [{"type": "tool_result", "tool_use_id": one, "content": f"of {one}"} for one in ids]
        return {"messages": [{"role": "user", "content": [*results, {"type": "text", "text": "go on"}]}]}

    sorting = volatile(order=(Order(at="messages[].content", by="tool_use_id"),))
    assert key(body("a", "b"), sorting) == key(body("b", "a"), sorting)
    assert key(body("a", "b"), sorting) != key(body("a", "c"), sorting)
    assert key(body("a", "b")) != key(body("b", "a"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("/app", "<w>"),
        ("cd /app; ls", "cd <w>; ls"),
        ("/app/x.py:3", "<w>/x.py:3"),
        ('{"output": "a\\n/app\\n/app/x"}', '{"output": "a\\n<w>\\n<w>/x"}'),
        ("It is in /app.", "It is in <w>."),
        ("file:///app/x", "file://<w>/x"),
        ("~/.claude/projects/-app/memory", "~/.claude/projects/<w slug>/memory"),
        ("~/.claude/projects/-app-src/memory", "~/.claude/projects/<w slug>-src/memory"),
        ("/application /usr/app ./app /app.py /app-2 my-app", "/application /usr/app ./app /app.py /app-2 my-app"),
        ("run-7 run-77 run-7.", "<r> run-77 <r>."),
    ],
)
def test_roots_are_found_where_they_stand_alone(text: str, found: str) -> None:
    replaced = replacer({"w": ("/app",), "r": ("run-7",)})(text)
    assert replaced.replace("\ue000", "<").replace("\ue001", ">") == found


def test_the_longest_root_names_a_path_and_the_root_folder_is_none() -> None:
    replace = replacer({"all": ("/",), "home": ("/root",), "workdir": ("/root/work",), "none": ("",)})
    assert replace("/root/work/x /root/y /etc") == "\ue000workdir\ue001/x \ue000home\ue001/y /etc"
    assert slug("/a_b/c.d") == "-a-b-c-d"


def test_both_trials_roots_hold_on_both_sides_so_equal_texts_stay_equal() -> None:
    roots = joined({"workdir": "/data/one", "run_id": "a-1"}, {"workdir": "/srv/two", "run_id": "b-2", "home": "/h"})
    assert roots == {"workdir": ("/data/one", "/srv/two"), "run_id": ("a-1", "b-2"), "home": ("/h",)}
    reader = Reader(NOTHING, roots)
    assert key(traffic.chat("in /data/one of a-1"), reader) == key(traffic.chat("in /srv/two of b-2"), reader)
    assert key(traffic.chat("in /data/one of a-1"), reader) != key(traffic.chat("in /data/three of a-1"), reader)


def test_text_that_scripts_cut_inside_a_character_is_read_like_any_other() -> None:
    reader = Reader(NOTHING, {"workdir": ("/one", "/two")})
    assert key(b'{"messages":[{"content":"/one \\ud83d"}]}', reader) == key(
        b'{"messages":[{"content":"/two \\ud83d"}]}', reader
    )
    assert key(b'{"messages":[{"content":"/one \\ud83d"}]}', reader) != key(
        b'{"messages":[{"content":"/one \\ud83c"}]}', reader
    )


def test_what_is_remembered_is_bounded_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 1000)
    reader = Reader(NOTHING, {})
    bodies = [traffic.chat("x" * size) for size in range(100, 400, 7)]
    first = [key(body, reader) for body in bodies]
    assert first == [key(body, reader) for body in bodies] == [key(body) for body in bodies]
    assert sum(len(raw) for _, raw in reader._known) <= 1000


def test_a_deep_body_is_compared_as_it_is() -> None:
    deep = b'{"messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    assert key(deep) == key(deep)
    assert key(deep) != key(deep + b" ")
    within = b'{"messages":[' + b"[" * 2000 + b"]" * 2000 + b"]}"
    assert key(within) == key(within) != key(b'{"messages":[' + b"[" * 2001 + b"]" * 2001 + b"]}")


def test_parts_are_redacted_before_they_are_compared() -> None:
    hiding = PLAIN.redacting(lambda raw: raw.replace(b"hunter2", b"[redacted:PW]"))
    assert key(traffic.chat("it is hunter2"), hiding) == key(traffic.chat("it is [redacted:PW]"))


PIECES = st.sampled_from(
    ["[[pattern]]", "at = ", "find = ", "drop = ", "['a.b[]']", "'(?P<x>.)'", "'('", "\n", "=", "''", "[["]
)


@given(
    st.lists(PIECES | st.text(max_size=3), max_size=8).map(lambda parts: "".join(parts).encode())
    | st.binary(max_size=20)
)
def test_volatile_data_is_read_or_refused_with_its_file_named(text: bytes) -> None:
    try:
        Reader(parse_volatile(text, "mine.toml"), {}).read("openai-chat", "POST", "", b'{"a": {"b": ["x"]}}')
    except InputError as error:
        assert "mine.toml" in str(error)


@pytest.mark.parametrize(
    "text",
    [
        'drop = ["a..b"]',
        'dropp = ["a"]',
        'drop = "a"',
        "[[pattern]]\nat = ['a']\nfind = '('",
        "[[pattern]]\nat = ['a']\nfind = 'no group'",
        "[[order]]\nat = '[a]'\nby = 'x'",
        "\xff",
    ],
)
def test_volatile_data_that_would_do_something_else_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"mine\.toml"):
        read_volatile(path)


def test_volatile_data_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match=r"gone\.toml"):
        read_volatile(Path("/nonexistent/gone.toml"))
