"""Port a folder of INI files to JSON: ``port.py FOLDER``."""

from __future__ import annotations

import json
import os
import re
import sys
from typing import Any, NamedTuple

TIMES = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}
SIZES = {"KB": 1024, "MB": 1024**2, "GB": 1024**3}
WORDS = {"yes": True, "on": True, "true": True, "no": False, "off": False, "false": False}
OWN = ("name", "extends", "abstract")  # keys of [service] that are not handed on
Sections = dict[str, dict[str, str]]


class Trouble(Exception):
    """The file concerned, and why."""


class Service(NamedTuple):
    file: str
    name: str
    extends: list[str]
    abstract: bool
    sections: Sections


def parse(file: str, text: str) -> Sections:
    sections: Sections = {}
    section, key = None, None
    for line in text.split("\n"):
        line = line.rstrip("\r")
        bare = line.strip(" \t")
        if not bare or bare[0] in "#;":
            continue
        if line[0] in " \t":
            if section is None or key is None:
                raise Trouble(file, "a continuation of nothing")
            section[key] = f"{section[key]} {bare}".strip(" \t")
        elif bare[0] == "[" and bare[-1] == "]":
            if bare[1:-1] in sections:
                raise Trouble(file, "a section twice")
            section, key = sections.setdefault(bare[1:-1], {}), None
        else:
            key, equals, value = (part.strip(" \t") for part in bare.partition("="))
            key = key.lower()
            if not equals or section is None or key in section:
                raise Trouble(file, f"no key of a section, or one that was there: {bare}")
            section[key] = value
    return sections


def load(folder: str) -> dict[str, Service]:
    services: dict[str, Service] = {}
    names = [one for one in os.listdir(folder) if one.endswith(".ini") and not one.startswith(".")]
    for file in sorted(names, key=os.fsencode):
        with open(os.path.join(folder, file), encoding="utf-8", newline="") as stream:
            sections = parse(file, stream.read())
        own = sections.get("service", {})
        if not own.get("name"):
            raise Trouble(file, "a service without a name")
        if own["name"] in services:
            raise Trouble(file, "a name twice")
        extends = [one.strip(" \t") for one in own.get("extends", "").split(",") if one.strip(" \t")]
        services[own["name"]] = Service(file, own["name"], extends, own.get("abstract") == "yes", sections)
    return services


def inherit(service: Service, services: dict[str, Service], above: tuple[str, ...] = ()) -> Sections:
    """All sections of a service, with what it inherits."""
    if service.name in above:
        raise Trouble(service.file, "a service that extends itself")
    merged: Sections = {}
    for name in service.extends:
        if name not in services:
            raise Trouble(service.file, f"extends {name}, which is not there")
        for section, keys in inherit(services[name], services, (*above, service.name)).items():
            merged.setdefault(section, {}).update(keys)
    for section, keys in service.sections.items():
        for key, value in keys.items():
            if section == "service" and key in OWN:
                continue
            if value == "!unset":
                merged.get(section, {}).pop(key, None)
            else:
                merged.setdefault(section, {})[key] = value
    return merged


def fill(service: Service, sections: Sections, section: str, key: str, above: tuple[tuple[str, str], ...] = ()) -> str:
    """A value with its references replaced."""
    if section == "service" and key == "name":
        return service.name
    here = (section, key)
    if here in above or key not in sections.get(section, {}):
        raise Trouble(service.file, f"no value for {section}:{key}")

    def replace(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        if found[1] is None:
            raise Trouble(service.file, f"a stray $ in {section}:{key}")
        other, colon, name = found[1].rpartition(":")
        return fill(service, sections, other if colon else section, name.lower(), (*above, here))

    return re.sub(r"\$\$|\$\{([^${}]*)\}|\$", replace, sections[section][key])


def typed(value: str, *, in_list: bool = False) -> Any:
    if value.lower() in WORDS:
        return WORDS[value.lower()]
    if re.fullmatch(r"-?(0|[1-9][0-9]*)", value):
        return int(value)
    if re.fullmatch(r"-?[0-9]+\.[0-9]+", value):
        return float(value)
    found = re.fullmatch(r"([0-9]+)(ms|s|m|h|KB|MB|GB)", value)
    if found:
        return int(found[1]) * {**TIMES, **SIZES}[found[2]]
    if len(value) >= 2 and value[0] == value[-1] == '"':
        return value[1:-1]
    if not in_list and len(value) >= 2 and value[0] == "[" and value[-1] == "]":
        inner = value[1:-1].strip(" \t")
        return [typed(one.strip(" \t"), in_list=True) for one in inner.split(",")] if inner else []
    return value or None


def port(services: dict[str, Service]) -> dict[str, Any]:
    ported: dict[str, Any] = {}
    for service in services.values():
        sections = inherit(service, services)
        if not service.abstract:
            ported[service.name] = {
                section: {key: typed(fill(service, sections, section, key)) for key in keys}
                for section, keys in sections.items()
                if keys
            }
    return ported


def main() -> int:
    try:
        text = json.dumps(port(load(sys.argv[1])), indent=2)
    except Trouble as trouble:
        print(": ".join(trouble.args), file=sys.stderr)
        return 1
    print(text)
    return 0


sys.exit(main())
