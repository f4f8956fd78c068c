"""``dataset.toml``: what makes a folder of tasks a dataset with a name, a version and a licence of its own."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import cast

from msgspec import Struct

from bakeoff.errors import InputError, InputErrors
from bakeoff.files.streams import read_whole
from bakeoff.tasks.decode import decode, sound
from bakeoff.tasks.harbor_toml import Text

MANIFEST = "dataset.toml"
_LONGEST = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Manifest(Struct, frozen=True):
    """Everything but the name may be left out."""

    name: Text
    version: str = ""
    description: str = ""
    license: str = ""
    provenance: str = ""


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a dataset's folder, None where it has none. Raises InputErrors where it is wrong."""
    file = folder / MANIFEST
    where = str(file)
    try:
        raw = tomllib.loads(read_whole(file, _LONGEST).decode("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InputError("cannot be read", where=where, found=error.strerror or "") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"not TOML: {error}", where=where) from None
    findings: list[InputError] = []
    manifest, wrong = decode(Manifest, cast("dict[str, object]", sound(raw, where, "", findings)), where)
    findings += wrong
    if manifest is not None and not _NAME.fullmatch(manifest.name):
        wanted = "letters, digits, dots, hyphens and underscores"
        findings.append(InputError("not a name", where=where, field="name", found=repr(manifest.name), wanted=wanted))
    if findings or manifest is None:
        raise InputErrors(findings)
    return manifest
