"""Build copies of the tree with sources of our own, edit them, build again, and look at what was made and what was not."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable

sys.path.insert(0, "/tests")

from judging import Apart, Wrong
from reference import pages_of, site_of
from sources import SMALL, TREE
from workshop import Workshop, read_plain

DEADLINE = time.monotonic() + 100  # seconds for everything; it takes about two
NEW_LIST = "ant Ants, all of them\nzebra Zebras & co\nbat The bat\nmole-2 Moles\ncrow The crow, again\n"


def expect(good: bool, message: str) -> None:
    if not good:
        raise Wrong(message)


def right(shop: Workshop, when: str) -> None:
    """Site and tar are what the sources say."""
    want = site_of(shop.tree)
    site = shop.built()
    expect(set(site) == set(want), f"{when}: other files in build/site than there should be")
    for name, text in want.items():
        expect(site[name] == text, f"{when}: {name} is wrong")
    expect(shop.packed() == {f"site/{name}": text for name, text in want.items()}, f"{when}: the tar is wrong")


def idle(shop: Workshop, when: str) -> None:
    """Nothing is left to do."""
    expect(shop.make("-q") == 0, f"{when}: make -q finds something to do")
    before = shop.times()
    shop.build()
    expect(shop.times() == before, f"{when}: a second make writes files")


class Judge:
    """The aspects, in order. ``first`` and ``second`` are two trees of the same sources."""

    def __init__(self, folder: str) -> None:
        self.folder, self.apart = folder, Apart(file_bytes=16 << 20, memory=None)

    def shop(self, name: str, *, tree: dict[str, str] = TREE, backwards: bool = False, zone: str = "UTC") -> Workshop:
        path = os.path.join(self.folder, name)
        os.mkdir(path)
        return Workshop(path, tree, self.apart, backwards=backwards, zone=zone, deadline=DEADLINE)

    def sources_are_left_alone(self) -> None:
        with open("/tests/sources.json", encoding="utf-8") as file:
            for path, digest in json.load(file).items():
                if not os.path.lexists(f"/app/{path}"):
                    raise Wrong(f"/app/{path} is gone")
                expect(hashlib.sha256(read_plain(f"/app/{path}")).hexdigest() == digest, f"/app/{path} was changed")

    def builds_anew_and_then_idles(self) -> None:
        self.first = self.shop("first")
        self.first.build()
        right(self.first, "first build")
        idle(self.first, "after the first build")

    def builds_in_parallel(self) -> None:
        self.second = self.shop("a-second-tree", backwards=True, zone="XYZ-13")
        self.second.build("-j4", "bundle")
        right(self.second, "make -j4 bundle")

    def builds_the_same_bytes(self) -> None:
        self.first.age(200_000)
        os.remove(os.path.join(self.first.folder, "build", "handbook.tar"))
        self.first.build("bundle")
        expect(self.first.tar() == self.second.tar(), "two builds of the same sources give different tars")

    def rebuilds_what_an_edit_concerns(self) -> None:
        shop = self.first

        def after(what: str, concerned: set[str], *arguments: str, quiet: bool = False) -> None:
            before = shop.times()
            shop.build(*arguments)
            right(shop, what)
            now = shop.times()
            kept = set(site_of(shop.tree)) - concerned
            expect(
                all(before.get(f"site/{name}") == now[f"site/{name}"] for name in kept), f"{what}: rebuilds too much"
            )
            if quiet:
                expect(shop.make("-q") == 0, f"{what}: make -q finds something to do after the build")
            shop.age()

        shop.age()
        pages = {f"{name}.html" for name in pages_of(shop.tree)}
        shop.write("parts/deeper.txt", "Deeper is lava.\n@include stones\n")
        shop.write("style/k.css", "k { color: brown; }\n")
        expect(shop.make("-q") == 1, "a part and a style sheet edited: make -q finds nothing to do")
        after("a part in a part and a style sheet edited", {"mole-2.html", "zebra.html", "style.css"})
        shop.write("data/stones.csv", "stone,weight\nbasalt,8\n")
        shop.remove("style/m.css")
        shop.write("parts/unused.txt", "Still no page has this.\n")
        after("a table edited, a style sheet removed", {"mole-2.html", "zebra.html", "style.css"}, "-j4")
        shop.write("parts/wings.txt", "Wings!\n@include spans\n")
        shop.write("data/spans.csv", "wing,span\nleft,1\n")
        shop.write("pages/crow.txt", "Crows fly.\n@include wings\n@include above\n")
        after("a page with new includes", {"crow.html"}, "-j4")
        shop.write("data/spans.csv", "wing,span\nleft,1\nright,1\n")
        shop.write("style/d.css", "d { color: gold; }\n")
        after("a new table edited, a style sheet added", {"crow.html", "style.css"})
        shop.write("pages/crow.txt", "Crows count to [[ant]].\n")
        shop.remove("parts/wings.txt")
        shop.remove("data/spans.csv")
        after("includes and their parts removed", {"crow.html"}, quiet=True)
        shop.write("VERSION", "1.0\n")
        shop.build("build/site/ant.html")
        expect(shop.built()["ant.html"] == site_of(shop.tree)["ant.html"], "another VERSION: a page is wrong")
        shop.age()
        shop.write("pages/bat.txt", "@include above\nBats hang.\n@include sizes\n")
        shop.write("pages.list", NEW_LIST)
        after("another list of pages", pages | {"bat.html"}, "-j4", quiet=True)
        shop.write("parts/above.txt", "Above are clouds.\n")
        after("a part edited that a new page includes", {"bat.html"})

    def errors_last_until_mended(self) -> None:
        shop = self.second
        shop.age()
        good = shop.tree["pages/ant.txt"]
        shop.write("pages/ant.txt", "Ants walk.\n@include nowhere\n")
        expect(shop.make() != 0, "a missing part is no error")
        expect(shop.make("-j4") != 0, "a missing part is no error the second time")
        shop.write("pages/ant.txt", good)
        shop.build("-j4")
        right(shop, "after an error was mended")
        shop.age()
        shop.write("parts/deeper.txt", "@include lowest\n")
        expect(shop.make() != 0 and shop.make() != 0, "a missing part of a part is no error")
        shop.write("parts/lowest.txt", "At last.\n")
        shop.build()
        right(shop, "after a missing part was written")

    def cleans_no_sources(self) -> None:
        shop = self.second
        shop.build("clean")
        expect(not os.path.lexists(os.path.join(shop.folder, "build")), "make clean leaves build")
        for path, text in shop.tree.items():
            full = os.path.join(shop.folder, path)
            expect(
                os.path.lexists(full) and read_plain(full) == text.encode(),
                f"after build and clean: {path} is not as it was",
            )
        top = {"Makefile", "README.md", "tools", "VERSION", "pages.list", "pages", "parts", "data", "style", "check"}
        own = {name for name in os.listdir("/app") if name != "build"}
        expect(set(os.listdir(shop.folder)) <= top | own, "things are made outside of build")

    def makes_each_thing_alone(self) -> None:
        shop = self.small = self.shop("small", tree=SMALL)
        want = site_of(shop.tree)
        for name in want:
            shop.clear()
            shop.build("-j4", f"build/site/{name}")
            expect(shop.built().get(name) == want[name], f"make build/site/{name} in a clean tree: it is wrong")
        shop.clear()
        shop.build("build/handbook.tar")
        right(shop, "make build/handbook.tar in a clean tree")
        shop.clear()
        shop.build("-j4", "site")
        expect(shop.built() == want, "make site in a clean tree: other files in build/site than there should be")

    def checks_every_time(self) -> None:
        shop = self.small
        shop.clear()
        shop.build("-j4", "check")
        expect(shop.built() == site_of(shop.tree), "make check in a clean tree builds another site")
        shop.age()
        shop.write("pages/hen.txt", "See [[gnu]].\n")
        expect(shop.make("check") != 0, "make check passes a link that leads nowhere")
        expect(shop.make("check") != 0, "make check passes a link that leads nowhere when run again")
        shop.age()
        shop.write("pages/hen.txt", "See [[hen]].\n")
        shop.write("check/links.sh", "#!/bin/sh\necho seen >>build/seen\n")
        shop.build("check")
        shop.build("check")
        path = os.path.join(shop.folder, "build", "seen")
        expect(
            os.path.lexists(path) and read_plain(path) == b"seen\nseen\n", "make check does not run the check each time"
        )

    def aspects(self) -> list[Callable[[], None]]:
        return [
            self.sources_are_left_alone,
            self.builds_anew_and_then_idles,
            self.builds_in_parallel,
            self.builds_the_same_bytes,
            self.rebuilds_what_an_edit_concerns,
            self.errors_last_until_mended,
            self.cleans_no_sources,
            self.makes_each_thing_alone,
            self.checks_every_time,
        ]


def main() -> int:
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        for aspect in Judge(os.path.realpath(folder)).aspects():
            try:
                aspect()
            except (Wrong, OSError, RuntimeError, tarfile.TarError, AttributeError) as error:
                # An aspect that needs the tree of one that failed finds no such attribute.
                print(f"{aspect.__name__}: {error}")
                failed += 1
    print(f"{failed} aspects failed" if failed else "all right")
    return 1 if failed else 0


sys.exit(main())
