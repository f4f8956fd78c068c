"""The settings of both processes, from etc/stampd.ini, etc/limits.json and the environment."""

from __future__ import annotations

import configparser
import json
import os
from pathlib import Path
from typing import NamedTuple


class Refused(Exception):
    """The service cannot run like this; the message says why."""


class Settings(NamedTuple):
    bind: str
    port: int
    max_body: int
    spool: Path
    key: Path
    access_log: Path
    catalog_bind: str
    catalog_port: int
    catalog_url: str
    items: Path


def load() -> Settings:
    home = Path(os.environ["STAMPD_HOME"])
    ini = configparser.ConfigParser(interpolation=None)
    try:
        with open(home / "etc/stampd.ini", encoding="utf-8") as file:
            ini.read_file(file)
        catalog_port = _port("CATALOG_PORT", ini["catalog"]["port"])
        return Settings(
            bind=ini["server"]["bind"],
            port=_port("STAMPD_PORT", ini["server"]["port"]),
            max_body=_limit(home / ini["server"]["limits"], "max_body"),
            spool=home / ini["spool"]["folder"],
            key=home / ini["signing"]["key"],
            access_log=home / ini["log"]["access"],
            catalog_bind=ini["catalog"]["bind"],
            catalog_port=catalog_port,
            catalog_url=ini["catalog"]["url"].replace("{catalog_port}", str(catalog_port)),
            items=home / ini["catalog"]["items"],
        )
    except (OSError, configparser.Error) as error:
        raise Refused(f"etc/stampd.ini: {error}") from None
    except KeyError as error:
        raise Refused(f"etc/stampd.ini: {error} is missing") from None


def _port(variable: str, written: str) -> int:
    text = os.environ.get(variable) or written
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise Refused(f"not a port: {text!r}")
    return int(text)


def _limit(path: Path, name: str) -> int:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Refused(f"{path}: {error}") from None
    if not isinstance(found, dict) or not isinstance(found.get(name), int):
        raise Refused(f"{path}: {name} is not a number")
    return found[name]
