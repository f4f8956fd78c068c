"""What tests look at on the agent's side: paths that they read, and ports that they connect to."""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Sequence
from itertools import pairwise

from bakeoff.checks.validate.hosts import loopback, loopback_port
from bakeoff.checks.validate.python_code import called
from bakeoff.checks.validate.python_starts import started
from bakeoff.checks.validate.shell import Command
from bakeoff.checks.validate.shell_values import program
from bakeoff.checks.validate.sources import Source
from bakeoff.checks.validate.texts import ANY, words

_PATH = re.compile(r"/[\w.@+-]+(?:/[\w.@+ -]+)*/?")
_RELATIVE = re.compile(r"[\w-]+(?:/[\w.-]+)*\.[A-Za-z]\w{0,5}")
_READING = words(
    "cat head tail cmp diff sha256sum sha1sum md5sum cksum stat wc sort uniq file tar unzip zcat gunzip less comm cut tac od xxd "
    "readlink realpath du sqlite3 git source . cp mv ls"
)
_USING = words("cat head tail cmp diff wc sort tar unzip zcat gunzip comm cut source .")
_ASKING = words("exists isfile isdir islink is_file is_dir is_symlink access")
_AFTER_PATTERN = words("grep egrep fgrep zgrep sed awk gawk mawk jq perl")
_MAKING = words("mkdir touch tee rm rmdir mktemp truncate chown chmod install ln dd useradd")
_INTERPRETERS = re.compile(r"(python|pypy)[\d.]*|(ba|da|a|z)?sh|node|ruby|perl|\.|source")
_TESTS = words("-f -e -d -s -x -r -L -h -nt -ot")
_OPENS = words(
    "open exists isfile isdir getsize listdir scandir islink readlink lstat stat walk getmtime connect load_workbook read_csv "
    "read_json read_parquet read_excel loadtxt is_zipfile ZipFile is_tarfile spec_from_file_location run_path copy copyfile copytree"
)
_METHODS = words(
    "exists is_file is_dir read_text read_bytes open stat lstat iterdir glob rglob is_symlink readlink owner group samefile"
)
_MAKES = words(
    "mkdir makedirs remove unlink rmtree write_text write_bytes touch symlink symlink_to rename replace chmod"
)
_SAYING = words(
    "print fail append add join Path PurePath PosixPath PurePosixPath startswith endswith replace split index find count get "
    "relative_to is_relative_to match fullmatch search sub findall compile dumps loads format skip"
)
_LISTENING = re.compile(
    r"\bbind\s*\(|HTTPServer\b|TCPServer|http\.server|\bnc -\w*l|socat|runserver|create_server|start_server|uvicorn|serve_forever"
)


class Looks:
    """``paths`` and ``ports`` with the file and line that looks at each; ``given``: paths that the tests make, or tell a program.

    ``needed`` holds those of the paths that are used, and not only asked for.
    """

    def __init__(self, workdir: str) -> None:
        self.workdir = workdir.rstrip("/") or "/"
        self.paths: dict[str, tuple[str, int]] = {}
        self.needed: set[str] = set()
        self.given: set[str] = set()
        self.ports: dict[int, tuple[str, int]] = {}
        self.own_ports: set[int] = set()
        self.listens = False

    def add(self, source: Source) -> None:
        """Read one more file that is run."""
        self.listens = self.listens or bool(_LISTENING.search(source.text))
        self._commands(source, source.commands)
        for node in source.python.nodes:
            if isinstance(node, ast.Call):
                self._call(source, node)

    def _look(self, text: str, source: Source, line: int, *, needed: bool = True) -> None:
        if _PATH.fullmatch(text):
            path = posixpath.normpath(text)
            self.paths.setdefault(path, (source.path, line))
            if needed:
                self.needed.add(path)

    def _give(self, text: str) -> None:
        if text.startswith("/"):
            self.given.add(posixpath.normpath(text.partition("*")[0] or "/"))

    # ---- shell ----

    def _commands(self, source: Source, commands: Sequence[Command]) -> None:
        folder = ""
        for command in commands:
            for target in command.reads:
                self._look(target, source, command.line)
            for target in command.writes:
                self._give(_absolute(target, folder))
            if command.words[:1] == ("cd",):
                into = command.words[1] if len(command.words) > 1 and command.always else ""
                folder = into if into.startswith(self.workdir) else ""
            for name, value in command.assigns:
                if "PORT" in name and value.isdigit() and command.words and len(value) < 6:
                    self.own_ports.add(int(value))
            if ran := program(command.words):
                self._words(ran, source, command.line, folder)

    def _words(self, ran: Sequence[str], source: Source, line: int, folder: str) -> None:
        name = ran[0].rpartition("/")[2]
        rest = list(ran[1:])
        self._ports(rest, source, line, fetcher=name in ("curl", "wget", "nc", "ncat"))
        if name in ("[", "test", "[["):
            rest = [word for before, word in pairwise(rest) if before in _TESTS]
        elif name in _AFTER_PATTERN:
            plain = [word for word in rest if not word.startswith("-")]
            rest = plain[1:]
        elif name in _MAKING:
            for word in rest:
                self._give(_absolute(word, folder))
            return
        elif name in ("cd", "pushd", "export", "echo", "printf"):
            return
        elif name not in _READING:
            self._started(ran, source, line, folder)
            return
        if name in ("cp", "mv") and rest:
            self._give(_absolute(rest.pop(), folder))
        for word in rest:
            self._look(_absolute(word, folder), source, line, needed=name in _USING or name in _AFTER_PATTERN)

    def _started(self, ran: Sequence[str], source: Source, line: int, folder: str) -> None:
        """A program of the agent's, or one that runs it: it is looked at, and the rest of the words are what it is told."""
        name = ran[0].rpartition("/")[2]
        self._look(ran[0], source, line)
        rest = list(ran[1:])
        if _INTERPRETERS.fullmatch(name):
            while rest and rest[0].startswith("-") and rest[0] not in ("-c", "-m"):
                rest.pop(0)
            if rest and not rest[0].startswith("-"):
                self._look(_absolute(rest.pop(0), folder), source, line)
        for word in rest:
            self._give(_absolute(word.rpartition("=")[2], folder))

    def _ports(self, rest: Sequence[str], source: Source, line: int, *, fetcher: bool) -> None:
        for before, word in zip(["", *rest], rest, strict=False):
            port = loopback_port(word)
            if port is None and fetcher and (match := re.match(r"(?:localhost|127\.0\.0\.1):(\d{2,5})(?!\d)", word)):
                port = int(match[1])
            if port is None and fetcher and loopback(before) and re.fullmatch(r"\d{2,5}", word):
                port = int(word)
            if port is not None:
                self.ports.setdefault(port, (source.path, line))
            elif not fetcher:
                self.own_ports.update(int(number) for number in re.findall(r"(?<!\d)\d{2,5}(?!\d)", word[:200]))

    # ---- Python ----

    def _call(self, source: Source, node: ast.Call) -> None:
        name = called(node).rpartition(".")[2]
        value = source.python.value
        receiver = value(node.func.value) if isinstance(node.func, ast.Attribute) else ANY
        if commands := started(source.python, node):
            self._commands(source, commands)
            return
        if name in _MAKES or (name == "open" and _writes(node)):
            self._give(receiver)
            for argument in node.args:
                self._give(value(argument))
            return
        if name in _METHODS and receiver.startswith("/"):
            self._look(receiver, source, node.lineno, needed=name not in _ASKING)
        elif name in _OPENS and node.args:
            self._look(value(node.args[0]), source, node.lineno, needed=name not in _ASKING)
            if name.startswith("copy"):
                for argument in node.args[1:]:
                    self._give(value(argument))
        for text in map(value, node.args):
            if (port := loopback_port(text)) is not None:
                self.ports.setdefault(port, (source.path, node.lineno))
            said = name in _SAYING or name.startswith("assert") or " " in text or text.endswith(".")
            if text.startswith(self.workdir + "/") and not said:
                self._look(text, source, node.lineno, needed=False)
        self._connection(source, node, name)

    def _connection(self, source: Source, node: ast.Call, name: str) -> None:
        value = source.python.value
        pair: list[ast.expr] = []
        if name in ("create_connection", "connect", "connect_ex") and node.args and isinstance(node.args[0], ast.Tuple):
            pair = node.args[0].elts
        elif name == "HTTPConnection":
            pair = [*node.args[:2], *(keyword.value for keyword in node.keywords if keyword.arg == "port")]
        if len(pair) >= 2 and loopback(value(pair[0])):
            number = value(pair[1])
            if re.fullmatch(r"\d{2,5}", number):
                self.ports.setdefault(int(number), (source.path, node.lineno))


def _writes(node: ast.Call) -> bool:
    modes = [*node.args[:2], *(keyword.value for keyword in node.keywords if keyword.arg == "mode")]
    return any(
        isinstance(mode, ast.Constant) and isinstance(mode.value, str) and re.fullmatch(r"[wax][bt+]*", mode.value)
        for mode in modes
    )


def _absolute(word: str, folder: str) -> str:
    """A name relative to ``folder``, where it surely is a file's."""
    return f"{folder.rstrip('/')}/{word}" if folder and _RELATIVE.fullmatch(word) else word
