"""What is volatile, by place in a request's body: the declared data as a tree that is walked beside the body."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from bakeoff.gateway.replay.declared import Volatile, output_patterns

NOT_ASKED = (
    "stream",
    "stream_options",
    "cache_control",
    "system[].cache_control",
    "tools[].cache_control",
    "messages[].cache_control",
    "messages[].content[].cache_control",
    "messages[].content[].content[].cache_control",
)
"""How an answer is wanted and what a provider should keep: neither changes what is asked."""


@dataclass(eq=False)
class Rule:
    """What holds at one place of a body, and below it."""

    drop: bool = False
    number: bool = False
    patterns: list[re.Pattern[str]] = field(default_factory=list[re.Pattern[str]])
    order: str = ""
    fields: dict[str, Rule] = field(default_factory=dict[str, "Rule"])
    items: Rule | None = None

    def at(self, place: str) -> Rule:
        """The rule for a place below this one, made where it is missing."""
        rule = self
        for part in place.replace("[]", ".[]").split("."):
            if part == "[]":
                rule.items = rule.items or Rule()
                rule = rule.items
            else:
                rule = rule.fields.setdefault(part, Rule())
        return rule


def rules_for(volatile: Volatile) -> Rule:
    """The tree for an agent's data and for what no request counts."""
    top = Rule()
    for place in (*NOT_ASKED, *volatile.drop):
        top.at(place).drop = True
    for place in volatile.ids:
        top.at(place).number = True
    for pattern in volatile.pattern:
        compiled = re.compile(pattern.find)
        for place in pattern.at:
            top.at(place).patterns.append(compiled)
    for place in volatile.outputs:
        top.at(place).patterns.extend(output_patterns())
    for order in volatile.order:
        top.at(order.at).order = order.by
    return top
