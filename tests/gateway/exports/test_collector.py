"""Spans reach a collector whole, or the user is told why not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from bakeoff.errors import InputError
from bakeoff.gateway.exports.collector import Collector
from bakeoff.gateway.exports.sources import Source
from bakeoff.gateway.exports.write import otel_collector
from recorded import FACTS

KEY = "-".join(("made", "up", "key"))


class Place:
    """A collector of this machine: answers what it is told to, then 200, and keeps what came."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str], bytes]] = []
        self.came: list[tuple[str, dict[str, str], bytes]] = []
        self.pauses: list[float] = []
        self.url = ""

    def collector(self, path: str = "", **environment: str) -> Collector:
        return Collector(self.url + path, environment, pause=self.pauses.append)


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    made = Place()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            made.came.append((self.path, dict(self.headers.items()), body))
            status, headers, answer = made.answers.pop(0) if made.answers else (200, {}, b"{}")
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_trial_reaches_the_usual_path_as_json(place: Place) -> None:
    told = otel_collector([Source("one", FACTS, None)], place.collector())
    assert told.trials == 1
    ((path, headers, body),) = place.came
    assert path == "/v1/traces"
    assert headers["Content-Type"] == "application/json"
    (span,) = json.loads(body)["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert span["name"] == "invoke_agent walker"


def test_a_path_that_is_given_is_used_as_it_is(place: Place) -> None:
    place.collector("/tenant/traces?x=1").post(b"{}")
    assert place.came[0][0] == "/tenant/traces?x=1"


def test_headers_come_from_the_environment(place: Place) -> None:
    place.collector(OTEL_EXPORTER_OTLP_HEADERS=f"x-key={KEY}, x-team=a%20b").post(b"{}")
    headers = {name.lower(): value for name, value in place.came[0][1].items()}
    assert (headers["x-key"], headers["x-team"]) == (KEY, "a b")


def test_a_busy_collector_is_asked_again_after_the_pause_it_wants(place: Place) -> None:
    place.answers = [(429, {"Retry-After": "7"}, b""), (503, {}, b"")]
    place.collector().post(b"{}")
    assert len(place.came) == 3
    assert place.pauses == [7.0, 2.0]


def test_a_collector_that_stays_busy_is_an_error(place: Place) -> None:
    place.answers = [(503, {}, b"full")] * 9
    with pytest.raises(InputError, match="answered 503: full"):
        place.collector().post(b"{}")
    assert len(place.came) == 4


def test_a_refusal_says_why_and_never_the_key(place: Place) -> None:
    place.answers = [(401, {}, b"who are you?")]
    with pytest.raises(InputError, match=r"answered 401: who are you\?") as raised:
        place.collector("/?token=hidden", OTEL_EXPORTER_OTLP_HEADERS=f"x-key={KEY}").post(b"{}")
    assert KEY not in str(raised.value)
    assert "hidden" not in str(raised.value)
    assert len(place.came) == 1


def test_spans_that_were_refused_are_an_error_though_the_answer_is_200(place: Place) -> None:
    place.answers = [(200, {}, b'{"partialSuccess": {"rejectedSpans": "3", "errorMessage": "too old"}}')]
    with pytest.raises(InputError, match="refused 3 spans: too old"):
        place.collector().post(b"{}")


def test_redirects_are_not_followed(place: Place) -> None:
    place.answers = [(302, {"Location": f"{place.url}/elsewhere"}, b"")]
    with pytest.raises(InputError, match="answered 302"):
        place.collector().post(b"{}")
    assert len(place.came) == 1


def test_nobody_there_is_an_error_that_names_the_place(place: Place) -> None:
    with pytest.raises(InputError, match="cannot be reached"):
        Collector("http://127.0.0.1:9", {}).post(b"{}")


@pytest.mark.parametrize("endpoint", ["", "localhost:4318", "ftp://host/", "http:///x", "http://user:word@host/"])
def test_what_is_no_address_is_refused(endpoint: str) -> None:
    with pytest.raises(InputError, match="not an address") as raised:
        Collector(endpoint, {})
    assert "word" not in str(raised.value)


def test_headers_that_are_none_are_refused_without_being_shown() -> None:
    with pytest.raises(InputError, match="OTEL_EXPORTER_OTLP_HEADERS: not headers") as raised:
        Collector("http://host", {"OTEL_EXPORTER_OTLP_HEADERS": f"x-key={KEY}%0d%0ax: y"})
    assert KEY not in str(raised.value)
