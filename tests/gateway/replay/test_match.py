from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff.gateway.replay.asked import Asked
from bakeoff.gateway.replay.match import Diverged, Exhausted, Matcher, Recorded
from bakeoff.records.exchanges import Api
from bakeoff.records.replays import Match


def asked(*messages: str, head: str = "h") -> Asked:
    said = tuple(message.encode() for message in messages)
    return Asked(key=b"|".join((head.encode(), *said)), head=head.encode(), messages=said, tools=True)


def recording(*conversations: tuple[str, ...], api: Api = "openai-chat") -> list[Recorded]:
    """Each text is a request's messages, one letter each; its conversation is its first letter."""
    texts = [text for texts in conversations for text in texts]
    return [Recorded(number, number + 1, api, text[0], asked(*text)) for number, text in enumerate(texts)]


def take(matcher: Matcher, text: str, head: str = "h", api: Api = "openai-chat") -> int | Diverged | Exhausted:
    found = matcher.take(api, asked(*text, head=head))
    return found.seq if isinstance(found, Recorded) else found


def test_conversations_interleave_in_any_order() -> None:
    matcher = Matcher(recording(("a", "ab", "abc"), ("x", "xy")))
    assert [take(matcher, text) for text in ("x", "a", "ab", "xy", "abc")] == [4, 1, 2, 5, 3]
    assert matcher.unused() == ()


def test_equal_requests_are_served_in_recorded_order() -> None:
    matcher = Matcher(recording(("a", "a", "ab", "a")))
    assert [take(matcher, text) for text in ("a", "ab", "a", "a")] == [1, 3, 2, 4]


def test_the_request_after_the_last_one_is_exhausted_and_nothing_is_repeated() -> None:
    matcher = Matcher(recording(("a", "ab")))
    for text in ("a", "ab"):
        take(matcher, text)
    for text in ("abc", "ab", "a", "zzz"):
        assert isinstance(take(matcher, text), Exhausted)


def test_a_conversation_that_goes_on_after_its_end_is_exhausted_while_others_are_open() -> None:
    matcher = Matcher(recording(("a", "ab"), ("x", "xy")))
    take(matcher, "a")
    assert isinstance(take(matcher, "abc"), Diverged)
    take(matcher, "ab")
    found = take(matcher, "abc")
    assert isinstance(found, Exhausted)
    assert found.last.seq == 2
    assert take(matcher, "x") == 3


def test_a_repeat_of_what_was_answered_is_no_answer_while_others_are_open() -> None:
    matcher = Matcher(recording(("a", "ab")))
    take(matcher, "a")
    found = take(matcher, "a")
    assert isinstance(found, Diverged)
    assert (found.repeat, found.nearest and found.nearest.seq) == (True, 1)


def test_a_changed_request_is_compared_with_the_one_that_shares_most_and_is_still_open() -> None:
    matcher = Matcher(recording(("a", "ab", "abc", "abcd")))
    take(matcher, "a")
    take(matcher, "ab")
    found = take(matcher, "abX")
    assert isinstance(found, Diverged)
    assert (found.nearest and found.nearest.seq, found.shared, found.repeat) == (3, 2, False)


def test_a_changed_first_message_is_compared_with_the_first_request_of_its_size() -> None:
    found = take(Matcher(recording(("a", "ab", "abc"))), "Z")
    assert isinstance(found, Diverged)
    assert (found.nearest and found.nearest.seq, found.shared) == (1, 0)


def test_another_model_or_tool_diverges_from_the_request_with_the_same_messages() -> None:
    found = take(Matcher(recording(("a", "ab"))), "ab", head="other")
    assert isinstance(found, Diverged)
    assert (found.nearest and found.nearest.seq, found.shared) == (2, 2)


def test_an_api_that_was_not_recorded_has_nothing_near() -> None:
    found = take(Matcher(recording(("a",))), "a", api="gemini")
    assert found == Diverged(nearest=None)


def test_lists_of_models_and_counts_may_be_asked_again() -> None:
    matcher = Matcher(recording(("a", "b"), api="models"))
    assert [take(matcher, text, api="models") for text in ("b", "b", "a", "b")] == [2, 2, 1, 2]
    assert matcher.misses == 0


def test_a_client_that_tries_the_same_again_has_missed_once() -> None:
    matcher = Matcher(recording(("a", "ab", "abc")))
    for text in ("z", "z", "z", "y", "z", "a", "z"):
        take(matcher, text)
    assert matcher.misses == 4


def test_in_sequence_the_content_does_not_count_and_the_end_still_does() -> None:
    matcher = Matcher([*recording(("a", "b")), Recorded(2, 3, "gemini", "g", asked("g"))], "sequential")
    assert take(matcher, "z") == 1
    assert take(matcher, "y", api="gemini") == 3
    assert take(matcher, "z") == 2
    assert isinstance(take(matcher, "z"), Exhausted)
    assert isinstance(take(matcher, "z", api="models"), Diverged)


REQUESTS = st.text(alphabet="ab", min_size=1, max_size=3)


@given(
    st.lists(REQUESTS, min_size=1, max_size=12),
    st.randoms(use_true_random=False),
    st.sampled_from(["strict", "normalised"]),
)
def test_any_order_of_what_was_recorded_is_served_whole_and_each_once(
    texts: list[str], random: object, mode: Match
) -> None:
    matcher = Matcher(recording(tuple(texts)), mode)
    shuffled = list(texts)
    random.shuffle(shuffled)  # pyright: ignore[reportAttributeAccessIssue] - a random.Random
    served = [take(matcher, text) for text in shuffled]
    assert sorted(seq for seq in served if isinstance(seq, int)) == list(range(1, len(texts) + 1))
    for seq, text in zip(served, shuffled, strict=True):
        assert isinstance(seq, int)
        assert texts[seq - 1] == text
    for text in set(texts):
        order = [seq for seq, one in zip(served, shuffled, strict=True) if one == text]
        assert order == sorted(order)  # pyright: ignore[reportArgumentType] - numbers, as asserted above
    assert matcher.unused() == ()
    assert isinstance(take(matcher, texts[0]), Exhausted)


@given(st.lists(REQUESTS, max_size=8), st.lists(REQUESTS, max_size=12))
def test_whatever_is_asked_only_what_was_recorded_is_served_and_the_rest_is_unused(
    texts: list[str], asks: list[str]
) -> None:
    matcher = Matcher(recording(tuple(texts)))
    served = [(text, found) for text in asks if isinstance(found := take(matcher, text), int)]
    assert Counter(text for text, _ in served) == Counter(texts) & Counter(asks)
    assert {one.seq for one in matcher.unused()} == set(range(1, len(texts) + 1)) - {seq for _, seq in served}
    assert all(texts[seq - 1] == text for text, seq in served)


@pytest.mark.parametrize("mode", ["strict", "normalised", "sequential"])
def test_an_empty_recording_answers_nothing(mode: Match) -> None:
    assert take(Matcher([], mode), "a") == Diverged(nearest=None)
