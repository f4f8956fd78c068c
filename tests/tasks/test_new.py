"""New tasks and datasets as files: what is said of them, where they go, and that they are whole or not there."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff.errors import InputError
from bakeoff.tasks import toml_text
from bakeoff.tasks.datasets import load_dataset, load_task
from bakeoff.tasks.new import new_dataset, new_task
from bakeoff.tasks.new_table import KINDS, TEMPLATES, NewTask, filled, problems, table_of, template
from bakeoff.tasks.wrong import wrong_solutions

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).filter(str.strip)


@pytest.mark.parametrize("kind", KINDS)
def test_a_template_is_a_whole_task_and_what_it_says_of_itself_is_known(kind: str) -> None:
    task = load_task(TEMPLATES / kind)
    name, said = template(kind)
    assert (task.name, task.description, task.category, task.difficulty) == (
        name,
        said.description,
        said.category,
        said.difficulty,
    )
    assert task.metadata["license"] == "Apache-2.0" and task.metadata["provenance"]
    assert problems(said) == []
    assert (TEMPLATES / kind / "environment/Dockerfile").read_text().count("FROM debian:bookworm-slim") == 1
    assert len(wrong_solutions(task)) >= 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_template_whose_tests_need_live_processes_is_judged_only_where_these_live(kind: str) -> None:
    task = load_task(TEMPLATES / kind)
    allowed = {step.verifier.modes for step in task.steps}
    assert allowed == ({("shared",)} if task.environment.live else {("shared", "frozen", "separate")})


@pytest.mark.parametrize("kind", KINDS)
def test_each_wrong_solution_says_what_is_wrong_with_it_and_lies_over_a_file_of_the_right_one(kind: str) -> None:
    for folder in (TEMPLATES / kind / "wrong").iterdir():
        files = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
        assert sum(path.read_text().count("# Wrong: ") for path in files) == 1, folder
        assert all((TEMPLATES / kind / "solution" / path.relative_to(folder)).is_file() for path in files)


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_task_has_the_files_of_its_template_and_scripts_that_can_be_called(kind: str, tmp_path: Path) -> None:
    written = new_task(tmp_path / "mine", NewTask(kind=kind))
    assert {path.relative_to(tmp_path / "mine") for path in written} == {
        path.relative_to(TEMPLATES / kind)
        for path in (TEMPLATES / kind).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    for path in written:
        assert os.access(path, os.X_OK) == path.read_bytes().startswith(b"#!") or os.geteuid() == 0
        assert bool(path.stat().st_mode & 0o111) == path.read_bytes().startswith(b"#!")
    assert load_task(tmp_path / "mine").name == "mine"


@given(TEXTS, TEXTS, TEXTS, TEXTS, st.sampled_from(sorted(KINDS)), st.floats(min_value=1e-9, max_value=1e18))
def test_whatever_is_said_of_a_task_stands_in_its_table(
    description: str, category: str, author: str, license: str, kind: str, seconds: float
) -> None:
    said = NewTask(
        kind=kind,
        description=description,
        category=category,
        author=author,
        license=license,
        agent_timeout=seconds,
    )
    assert problems(said) == []
    table = tomllib.loads(filled(table_of(kind), "mine", said))
    assert table["task"]["name"] == "mine"
    assert table["task"]["description"] == description
    assert (table["metadata"]["category"], table["metadata"]["license"]) == (category, license)
    (written,) = table["task"]["authors"]
    assert written["name"] in author
    assert table["agent"]["timeout_sec"] == seconds
    assert table["metadata"]["bakeoff"] == tomllib.loads(table_of(kind))["metadata"]["bakeoff"]


@pytest.mark.parametrize(
    "text", ['"', "\\", 'a "b" \\ c\\', "{description}", "[task]\nname = 1", "é漢\u2028\x85\x7f", "# x", "'''"]
)
def test_a_task_with_such_a_description_loads_and_has_it(tmp_path: Path, text: str) -> None:
    said = NewTask(description=text, category=text, license=text, author=f"{text} <me@example.org>", difficulty="hard")
    new_task(tmp_path / "mine", said)
    task = load_task(tmp_path / "mine")
    assert (task.description, task.category, task.metadata["license"], task.difficulty) == (text, text, text, "hard")
    table = tomllib.loads((tmp_path / "mine/task.toml").read_text())
    assert table["task"]["authors"] == [{"name": text.strip(), "email": "me@example.org"}]
    new_dataset(tmp_path / "set", text, text)
    table = tomllib.loads((tmp_path / "set/dataset.toml").read_text())
    assert (table["name"], table["description"], table["license"]) == ("set", text, text)


def test_commands_are_added_to_those_of_the_template(tmp_path: Path) -> None:
    new_task(tmp_path / "mine", NewTask(needs=("git", "sh", "jq>=1.6")))
    needs = load_task(tmp_path / "mine").environment.needs
    assert needs == (*template("file")[1].needs, "git", "jq>=1.6")


def test_a_task_for_an_image_has_nothing_that_is_for_host_roots(tmp_path: Path) -> None:
    for name, said in (("a", NewTask(image="example.org/x:1")), ("b", NewTask(root="image", kind="service"))):
        new_task(tmp_path / name, said)
        environment = load_task(tmp_path / name).environment
        assert (environment.root, environment.needs, environment.files) == ("image", (), None)
        assert environment.image == said.image
        assert "host root" not in (tmp_path / name / "task.toml").read_text().split("root = ")[1]
    assert load_task(tmp_path / "b").environment.live == ("python3",)
    new_task(tmp_path / "c", NewTask(image="example.org/x:1", root="host"))
    environment = load_task(tmp_path / "c").environment
    assert (environment.root, environment.image, environment.files) == ("host", "example.org/x:1", "environment/files")


@pytest.mark.parametrize(
    ("said", "where"),
    [
        (NewTask(kind="fil"), "--kind"),
        (NewTask(difficulty="trivial"), "--difficulty"),
        (NewTask(root="docker"), "--root"),
        (NewTask(description=" "), "--description"),
        (NewTask(description="a\0b"), "--description"),
        (NewTask(category="\udc80"), "--category"),
        (NewTask(image="a b"), "--image"),
        (NewTask(needs=("a/b",)), "--need"),
        (NewTask(needs=("git",), root="image"), "--need"),
        (NewTask(agent_timeout=0), "--agent-timeout"),
        (NewTask(agent_timeout=float("nan")), "--agent-timeout"),
        (NewTask(agent_timeout=float("inf")), "--agent-timeout"),
    ],
)
def test_what_is_said_wrongly_is_told_and_nothing_is_written(tmp_path: Path, said: NewTask, where: str) -> None:
    for make in (lambda: new_task(tmp_path / "mine", said), lambda: new_dataset(tmp_path / "mine", "d", "l", said)):
        with pytest.raises(InputError, match=f"^{where}: "):
            make()
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["..", "a b", "a..b", ".hidden", "-x", "ü", "a\nb"])
def test_a_name_that_no_task_can_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError):
        new_task(tmp_path / "in" / name)
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("file", "folder", "link"):
        for make in (new_task, lambda folder: new_dataset(folder, "d", "l")):
            with pytest.raises(InputError, match="already"):
                make(tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder", "link"]
    assert (tmp_path / "file").read_text() == "mine"
    assert list((tmp_path / "folder").iterdir()) == []


def test_what_comes_there_in_the_meantime_is_never_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(place: Path) -> None:
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "precious").write_text("mine")
        load_task(place)

    monkeypatch.setattr("bakeoff.tasks.new.load_task", late)
    with pytest.raises(InputError, match="already"):
        new_task(tmp_path / "mine")
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "precious"]


def test_a_task_that_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    for folder, words in (
        (tmp_path / "file" / "a" / "b", "not a folder"),
        (tmp_path / "a" / "b" / ("x" * 300), "too long"),
    ):
        with pytest.raises(InputError, match=words):
            new_task(folder)

    def interrupted(place: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bakeoff.tasks.new.load_task", interrupted)
    with pytest.raises(KeyboardInterrupt):
        new_task(tmp_path / "c" / "mine")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_dataset_has_a_first_task_and_is_read_as_one(tmp_path: Path) -> None:
    written = new_dataset(tmp_path / "set", "Three tasks", "MIT", NewTask(kind="program", license="MIT"))
    assert written[0] == tmp_path / "set" / "dataset.toml"
    dataset = load_dataset(str(tmp_path / "set"))
    assert (dataset.name, dataset.version, dataset.invalid) == ("set", "1", ())
    assert [(task.name, task.metadata["license"]) for task in dataset.tasks] == [("total-hours", "MIT")]


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_text_stands_in_toml_as_it_is(text: str) -> None:
    line = toml_text.string(text)
    assert "\n" not in line
    assert tomllib.loads(f"x = {line}\ny = {toml_text.array([text, 'b'])}") == {"x": text, "y": [text, "b"]}


def test_values_are_put_in_and_taken_out_of_the_table_that_is_meant() -> None:
    text = "[a]\nx = 1\n\n# of b\n[b]\n# of x\n# and more\nx = 2\ny = 3\n"
    assert tomllib.loads(toml_text.put(text, "b", "x", "9")) == {"a": {"x": 1}, "b": {"x": 9, "y": 3}}
    assert tomllib.loads(toml_text.put(text, "a", "y", "9")) == {"a": {"x": 1, "y": 9}, "b": {"x": 2, "y": 3}}
    assert toml_text.put(text, "a", "y", "9").startswith("[a]\nx = 1\ny = 9\n\n# of b\n")
    assert toml_text.drop(text, "b", "x") == "[a]\nx = 1\n\n# of b\n[b]\ny = 3\n"
    assert toml_text.drop(text, "a", "z") == text
    with pytest.raises(KeyError):
        toml_text.put(text, "c", "x", "1")
