"""Fields, needs, Dockerfiles and what goes with a task."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bakeoff.checks.base import Looked
from bakeoff.tasks import humaneval

Look = Callable[..., Looked]
BARE = '[task]\nname = "sample"\n[metadata.bakeoff]\nroot = "host"\nneeds = ["python3"]\n'
SH = "#!/bin/sh\n{}\ncmp /app/sorted.txt /tests/expected.txt && echo 1 >/logs/verifier/reward.txt\n"


def test_what_readers_miss_is_noted(look: Look) -> None:
    looked = look({"task.toml": BARE, "environment/Dockerfile": None, "wrong/same/solve.sh": None})
    assert looked.findings == ()
    assert [note.field or note.file for note in looked.notes] == [
        "metadata.category",
        "metadata.difficulty",
        "task.description",
        "metadata.license",
        "agent.timeout_sec",
        "verifier.timeout_sec",
        "wrong/",
        "environment/Dockerfile",
    ]


def test_without_a_solution_the_oracle_cannot_run(look: Look) -> None:
    (finding,) = look({"solution/solve.sh": None}).findings
    assert finding.file == "solution/solve.sh"


@pytest.mark.parametrize(
    ("files", "missing"),
    [
        ({"tests/test.sh": SH.format("git -C /app log")}, ["git"]),
        ({"tests/test.sh": SH.format("timeout 5 sudo jq . /app/sorted.txt")}, ["sudo", "jq"]),
        ({"solution/solve.sh": "#!/bin/sh\ngcc -o x x.c\nmake\n"}, ["gcc", "make"]),
        ({"tests/test.sh": SH.format("if command -v jq; then jq . /app/sorted.txt; fi")}, []),
        ({"tests/test.sh": SH.format("git() { :; }\ngit x")}, []),
        ({"tests/test.sh": SH.format("cat <<E\ngit log\nE\necho git; sort -u /app/words.txt | sed s/a/b/")}, []),
        ({"tests/test.sh": SH.format("python -c pass")}, []),
    ],
)
def test_commands_that_not_every_machine_has_must_be_stated(
    look: Look, files: dict[str, str], missing: list[str]
) -> None:
    found = [finding.message.split(",")[0].removeprefix("calls ") for finding in look(files).findings]
    assert sorted(found) == sorted(name for name in missing if name != "sudo")
    stated = look({**files, "task.toml": BARE.replace('"python3"', '"python3", "git>=2", "jq", "gcc", "make"')})
    assert stated.findings == ()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("COPY ../tests /x", "from outside"),
        ("COPY tests/ /x/", "hidden until"),
        ("ADD files/ /tests/", "where hidden files are laid"),
        ("COPY nothing.txt /app/", "not in the build context"),
        ('COPY ["absent.txt", "/app/"]', "not in the build context"),
    ],
)
def test_a_dockerfile_that_cannot_be_built_is_found(look: Look, line: str, words: str) -> None:
    (finding,) = look({"environment/Dockerfile": f"FROM debian\n{line}\n"}).findings
    assert (finding.file, finding.field) == ("environment/Dockerfile", "line 2")
    assert words in finding.message


@pytest.mark.parametrize(
    "line",
    [
        "COPY . /app",
        "COPY --chown=1:1 files/words.txt \\\n  /app/",
        "COPY --from=build /x /y",
        "COPY *.txt /app/",
        "COPY $X /app/",
        "ADD https://example.org/x /app/",
        "COPY <<EOF /app/x",
        'COPY ["files/words.txt", "/app/"]',
        "# COPY ../x /y",
        "COPY",
    ],
)
def test_a_dockerfile_that_can_be_built_is_not(look: Look, line: str) -> None:
    assert look({"environment/Dockerfile": f"FROM debian\n{line}\n"}).findings == ()


def test_the_tasks_of_humaneval_are_clean() -> None:
    from bakeoff.checks.validate import validate

    # One in eight: they share their judge, and differ in the problem alone.
    assert [validate(task).findings for task in humaneval.load()[::8]] == [()] * 21
