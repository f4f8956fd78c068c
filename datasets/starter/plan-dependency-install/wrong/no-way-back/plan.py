"""Finds the best plan: packages are decided in the order of preference, best choice first, with all that follows from each choice."""

# Wrong: the first choice for a package that looks possible is never taken back.
from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path

from plan_index import Need, Version, needs_of, versions_of

Domains = dict[str, list["Version | None"]]  # what is still possible for each package, best first; None: left out
Asked = dict[str, frozenset[str]]  # features asked of packages


def main() -> int:
    index, request = (json.loads(Path(argument).read_text(encoding="utf-8")) for argument in sys.argv[1:3])
    wanted = needs_of(request["want"])
    domains: Domains = {
        name: [None, *versions_of(package, bool(request.get("prereleases")))]
        for name, package in index["packages"].items()
    }
    order = [need.name for need in wanted] + sorted(set(domains) - {need.name for need in wanted})
    sys.setrecursionlimit(10_000)
    found = solve(order, domains, wanted) if all(need.name in domains for need in wanted) else None
    sys.stdout.write(json.dumps({"plan": None if found is None else listed(found, wanted)}, indent=2) + "\n")
    return 1 if found is None else 0


def solve(order: list[str], domains: Domains, wanted: tuple[Need, ...]) -> dict[str, Version] | None:
    """The best valid choice within the domains."""
    narrowed = narrow(domains, wanted)
    if narrowed is None:
        return None
    for place, name in enumerate(order):
        if len(narrowed[name]) > 1:
            return solve(order[place:], {**narrowed, name: narrowed[name][:1]}, wanted)
    return {name: left[0] for name, left in narrowed.items() if left[0] is not None}


def narrow(domains: Domains, wanted: tuple[Need, ...]) -> Domains | None:
    """Take out what cannot be, until nothing changes; None where a package has nothing left."""
    domains = dict(domains)
    while True:
        before = sum(map(len, domains.values()))
        chosen = {name: left[0] for name, left in domains.items() if len(left) == 1 and left[0] is not None}
        asked, active = enabled(chosen, wanted)
        for need in active:
            if need.name not in domains:
                return None
            domains[need.name] = [version for version in domains[need.name] if fulfils(version, need)]
        for version in chosen.values():
            for conflict in version.conflicts:
                if conflict.name in domains:
                    domains[conflict.name] = [
                        other for other in domains[conflict.name] if other is None or not conflict.holds(other.key)
                    ]
        for name in domains:
            domains[name] = [
                version
                for version in domains[name]
                if version is None or possible(version, asked.get(name, frozenset()), domains, chosen)
            ]
        if not all(domains.values()):
            return None
        if sum(map(len, domains.values())) == before:
            return domains


def enabled(chosen: dict[str, Version], wanted: Iterable[Need]) -> tuple[Asked, list[Need]]:
    """The features that are asked of packages, and all needs, as far as they follow from what is chosen."""
    asked: dict[str, frozenset[str]] = {}
    active = list(wanted)
    for version in chosen.values():
        active += version.needs
    for need in active:  # grows as features bring more needs
        new = need.features - asked.get(need.name, frozenset())
        asked[need.name] = asked.get(need.name, frozenset()) | new
        if need.name in chosen:
            for feature in sorted(new):
                active += chosen[need.name].features.get(feature, ())
    return asked, active


def fulfils(version: Version | None, need: Need) -> bool:
    return version is not None and need.holds(version.key) and need.features <= set(version.features)


def possible(version: Version, asked: frozenset[str], domains: Domains, chosen: dict[str, Version]) -> bool:
    """Whether what a version needs, with the features asked of it so far, can still be had beside what is chosen."""
    needs = [*version.needs, *(need for feature in asked for need in version.features.get(feature, ()))]
    if any(not any(fulfils(other, need) for other in domains.get(need.name, ())) for need in needs):
        return False
    return not any(need.name in chosen and need.holds(chosen[need.name].key) for need in version.conflicts)


def listed(chosen: dict[str, Version], wanted: tuple[Need, ...]) -> list[dict[str, object]]:
    """The plan in the order of installation."""
    asked, _ = enabled(chosen, wanted)
    needs = {
        name: {need.name for need in version.needs}
        | {need.name for feature in asked.get(name, ()) for need in version.features[feature]}
        for name, version in chosen.items()
    }
    done: list[str] = []
    waiting = sorted(chosen)
    while waiting:
        ready = [name for name in waiting if needs[name] <= {*done, name}]
        done.append((ready or waiting)[0])
        waiting.remove(done[-1])
    return [{"name": name, "version": chosen[name].text, "features": sorted(asked.get(name, ()))} for name in done]


if __name__ == "__main__":
    sys.exit(main())
