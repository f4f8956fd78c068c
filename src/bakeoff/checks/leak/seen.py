"""What an agent can see: texts and bytes, each with its place."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from bakeoff.checks.leak.archives import Budget, inside
from bakeoff.checks.leak.lines import lines_of, text_of
from bakeoff.checks.leak.secrets import digests_of


class Place(Struct, frozen=True):
    """Where something visible is. ``file`` is relative to the task's folder, ``path`` in the sandbox; one of them may be empty.

    ``inner`` leads on from there: the name of an archive's member, a commit.
    """

    file: str = ""
    path: str = ""
    inner: str = ""

    @property
    def name(self) -> str:
        """The innermost name."""
        return (self.inner.rpartition("!")[2] or self.path or self.file).rstrip("/").rpartition("/")[2]

    def within(self, name: str) -> Place:
        """The place of something that is inside what is here."""
        return Place(self.file, self.path, f"{self.inner}!{name}" if self.inner else name)

    def __str__(self) -> str:
        return "!".join(part for part in (self.path or self.file, self.inner) if part)


class Seen(Struct, frozen=True):
    """One visible thing. ``prose``: it is written for people, so what it quotes stands among other text.

    ``step`` is the number of the step from which on it is seen. ``text`` is what can be compared by lines, see ``text_of``;
    ``digests`` are of all of it.
    """

    place: Place
    text: str | None
    digests: frozenset[str]
    prose: bool = False
    step: int = 0


def lines_in(seen: Seen) -> list[str]:
    """The lines of a visible text that say something."""
    return [line.text for line in lines_of(seen.text or "")]


def look(
    place: Place, data: bytes, budget: Budget, *, prose: bool = False, step: int = 0, digest: str = ""
) -> Iterator[Seen]:
    """A visible thing and all that is inside it. ``digest`` is of all its bytes where ``data`` is not."""
    if not budget.take(len(data)):
        return
    text = text_of(data)
    digests = digests_of(data, text)
    yield Seen(place, text, digests | {digest} if digest else digests, prose, step)
    for inner in inside(data, budget):
        text = text_of(inner.data)
        yield Seen(place.within(inner.name), text, digests_of(inner.data, text), False, step)
