"""Spans as OpenTelemetry's OTLP/JSON has them, one ``ExportTraceServiceRequest`` a line, and the names of GenAI attributes.

The names of fields are the format's own, in camel case. 64-bit numbers are text there; what others write as numbers is read too.
"""

from __future__ import annotations

from typing import Any, TypeVar

from msgspec import UNSET, Struct, UnsetType

T = TypeVar("T")

Json = dict[str, Any] | list[Any] | str | int | float | bool | None


class AnyValue(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """One of these is set."""

    string_value: str | UnsetType = UNSET
    bool_value: bool | UnsetType = UNSET
    int_value: str | int | UnsetType = UNSET
    double_value: float | str | UnsetType = UNSET
    array_value: ArrayValue | UnsetType = UNSET
    kvlist_value: KeyValueList | UnsetType = UNSET
    bytes_value: str | UnsetType = UNSET


class ArrayValue(Struct, frozen=True):
    values: tuple[AnyValue, ...] = ()


class KeyValue(Struct, frozen=True):
    key: str
    value: AnyValue = AnyValue()


class KeyValueList(Struct, frozen=True):
    values: tuple[KeyValue, ...] = ()


class SpanEvent(Struct, frozen=True, rename="camel", kw_only=True):
    time_unix_nano: str | int = "0"
    name: str = ""
    attributes: tuple[KeyValue, ...] = ()


class SpanStatus(Struct, frozen=True, omit_defaults=True):
    """``code`` is 0 (unset), 1 (ok) or 2 (error)."""

    message: str = ""
    code: int | str = 0


class Span(Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """A span. Ids are hexadecimal text, times nanoseconds since 1970; ``kind`` is 1 (internal), 2 (server) or 3 (client)."""

    trace_id: str = ""
    span_id: str = ""
    parent_span_id: str = ""
    name: str = ""
    kind: int | str = 0
    start_time_unix_nano: str | int = "0"
    end_time_unix_nano: str | int = "0"
    attributes: tuple[KeyValue, ...] = ()
    events: tuple[SpanEvent, ...] = ()
    status: SpanStatus = SpanStatus()


class Scope(Struct, frozen=True):
    name: str = ""
    version: str = ""


class ScopeSpans(Struct, frozen=True):
    scope: Scope = Scope()
    spans: tuple[Span, ...] = ()


class Resource(Struct, frozen=True):
    attributes: tuple[KeyValue, ...] = ()


class ResourceSpans(Struct, frozen=True, rename="camel"):
    resource: Resource = Resource()
    scope_spans: tuple[ScopeSpans, ...] = ()


class TraceRequest(Struct, frozen=True, rename="camel"):
    """A line: the spans of one trial."""

    resource_spans: tuple[ResourceSpans, ...] = ()


ERROR = 2
"""The status code of a span that failed."""

INTERNAL, CLIENT = 1, 3
"""Kinds of spans."""

EVALUATION = "gen_ai.evaluation.result"
"""The event that holds a trial's reward."""

DETAILS = "gen_ai.client.inference.operation.details"
"""The event in which some exporters put messages instead of on the span."""


def value(plain: Json) -> AnyValue:
    """A plain value as an attribute holds it; None is an empty value."""
    match plain:
        case None:
            return AnyValue()
        case bool():
            return AnyValue(bool_value=plain)
        case int():
            return AnyValue(int_value=str(plain))
        case float():
            return AnyValue(double_value=plain)
        case str():
            return AnyValue(string_value=plain)
        case list():
            return AnyValue(array_value=ArrayValue(tuple(value(each) for each in plain)))
        case _:
            return AnyValue(kvlist_value=KeyValueList(attributes(plain)))


def attributes(plain: dict[str, Any]) -> tuple[KeyValue, ...]:
    """Attributes of those names and values; what is None is left out."""
    return tuple(KeyValue(key, value(each)) for key, each in plain.items() if each is not None)


def plain(held: AnyValue) -> Json:
    """What an attribute holds, as a plain value. Numbers that are none are left as the text they are."""
    match held:
        case AnyValue(string_value=str(text)):
            return text
        case AnyValue(bool_value=bool(flag)):
            return flag
        case AnyValue(int_value=str() | int() as number):
            return whole(number, number)
        case AnyValue(double_value=float() | str() as number):
            return number
        case AnyValue(array_value=ArrayValue(values=values)):
            return [plain(each) for each in values]
        case AnyValue(kvlist_value=KeyValueList(values=pairs)):
            return {pair.key: plain(pair.value) for pair in pairs}
        case AnyValue(bytes_value=str(text)):
            return text
        case _:
            return None


def named(held: tuple[KeyValue, ...]) -> dict[str, Json]:
    """Attributes by name; of several with one name the last counts."""
    return {pair.key: plain(pair.value) for pair in held}


def whole(number: str | int, otherwise: T) -> int | T:
    """A 64-bit number that may stand as text; ``otherwise`` where it is none."""
    try:
        return int(number)
    except ValueError:
        return otherwise
