"""Check every reference and quotation of the draft, and write the report."""

from __future__ import annotations

import difflib
import json
import re
import unicodedata
from pathlib import Path
from typing import NamedTuple

APP = Path("/app")


def letters(text: str) -> str:
    """Letters and digits alone, in lower case."""
    return "".join(c for c in unicodedata.normalize("NFKC", text).casefold() if c.isalnum())


class Source(NamedTuple):
    file: str
    title: str
    authors: set[str]  # family names
    details: dict[str, str]
    text: str  # letters and digits of the running text
    page_of: list[str]  # of each of them
    words: list[tuple[str, str]]  # (word as printed, page)


def running_text(page: str) -> tuple[str, str]:
    """The number of a page, and its text without head, number and footnotes."""
    lines = page.strip("\n").split("\n")
    number = lines[-1].strip()
    body = lines[1:-1]
    if "-----" in body:
        body = body[: body.index("-----")]
    return number, "\n".join(body)


def read_source(path: Path) -> Source:
    front, *pages = path.read_text(encoding="utf-8").split("\f")
    title, authors, rest = (block.strip() for block in front.strip().split("\n\n"))
    place, dates = rest.split("\n")
    journal, volume, span = re.fullmatch(r"(.*), vol\. (\d+), pp\. ([\d-]+)", place).groups()
    year = re.search(r"Published .*?(\d{4})", dates).group(1)
    words: list[tuple[str, str]] = []
    for page in pages:
        number, body = running_text(page)
        for word in re.sub(r"(?<=\w)-\n(?=\w)", "", body).split():
            words.append((word, number))
    text, page_of = "", []
    for word, number in words:
        text += letters(word)
        page_of += [number] * len(letters(word))
    names = {letters(name.split()[-1]) for name in authors.split(",")}
    return Source(
        path.name,
        letters(title),
        names,
        {"year": year, "journal": journal, "volume": volume, "pages": span},
        text,
        page_of,
        words,
    )


def span(pages: list[str]) -> str:
    return pages[0] if pages[0] == pages[-1] else f"{pages[0]}-{pages[-1]}"


def places(source: Source, quotation: str) -> list[str]:
    """Every page or span of pages where the passage stands word for word."""
    parts = [letters(part) for part in quotation.split("[...]")]
    found = []
    start = source.text.find(parts[0])
    while start >= 0:
        end = start + len(parts[0])
        for part in parts[1:]:
            at = source.text.find(part, end)
            end = at + len(part) if at >= 0 else -1
            if end < 0:
                break
        if end > 0:
            found.append(span(source.page_of[start:end]))
        start = source.text.find(parts[0], start + 1)
    return found


def nearest(source: Source, quotation: str) -> tuple[str, str] | None:
    """The passage that a quotation was altered from: its text and page."""
    wanted = [letters(word) for word in quotation.split() if letters(word)]
    have = [letters(word) for word, _ in source.words]
    best, best_ratio = None, 0.0
    for start in [i for i, word in enumerate(have) if word == wanted[0]]:
        for end in range(start + 1, min(len(have), start + 2 * len(wanted)) + 1):
            if have[end - 1] != wanted[-1]:
                continue
            ratio = difflib.SequenceMatcher(None, wanted, have[start:end], autojunk=False).ratio()
            if ratio > best_ratio:
                best, best_ratio = (start, end), ratio
    if best is None or best_ratio < 0.7:
        return None
    chosen = source.words[best[0] : best[1]]
    return " ".join(word for word, _ in chosen), span([page for _, page in chosen])


def read_bibliography(text: str) -> dict[str, dict[str, str]]:
    entries = {}
    for key, body in re.findall(r"@\w+\{(\w+),\n(.*?)\n\}", text, re.S):
        fields = dict(re.findall(r"(\w+)\s*=\s*\{(.*)\},", body))
        fields["pages"] = fields["pages"].replace("--", "-")
        entries[key] = fields
    return entries


def match(entry: dict[str, str], sources: list[Source]) -> Source | None:
    names = {letters(name.split(",")[0]) for name in entry["author"].split(" and ")}
    for source in sources:
        if source.title == letters(entry["title"]) and source.authors == names:
            return source
    return None


def judge_reference(key: str, cited: set[str], entries: dict[str, dict[str, str]], work: Source | None) -> dict:
    if key not in entries:
        return {"status": "unlisted"}
    if key not in cited:
        return {"status": "uncited"}
    if work is None:
        return {"status": "no_source"}
    wrong = {name: value for name, value in work.details.items() if letters(value) != letters(entries[key][name])}
    if wrong:
        return {"status": "wrong_details", "source": work.file, "correct": wrong}
    return {"status": "ok", "source": work.file}


def judge_quotation(quotation: str, pages: str, work: Source | None, sources: list[Source]) -> dict:
    here = places(work, quotation) if work else []
    if pages in here:
        return {"status": "ok"}
    if here:
        return {"status": "wrong_page", "page": here[0]}
    for other in sources:
        there = places(other, quotation)
        if there:
            return {"status": "wrong_work", "source": other.file, "page": there[0]}
    near = nearest(work, quotation) if work else None
    if near:
        return {"status": "altered", "text": near[0], "page": near[1]}
    return {"status": "not_found"}


def main() -> None:
    sources = [read_source(path) for path in sorted((APP / "sources").glob("*.txt"))]
    entries = read_bibliography((APP / "references.bib").read_text(encoding="utf-8"))
    draft = re.sub(r"<!--.*?-->", "", (APP / "draft.md").read_text(encoding="utf-8"), flags=re.S)
    draft = re.sub(r"\n> ?", "\n", draft)
    cited = {key for group in re.findall(r"\[(@[^\]]*)\]", draft) for key in re.findall(r"@(\w+)", group)}
    works = {key: match(entry, sources) for key, entry in entries.items()}
    quotations = []
    for text, key, pages in re.findall(r"[“\"]([^“”\"]*)[”\"]\s*\[@(\w+), pp?\. ([\d-]+)\]", draft):
        quotations.append({"key": key, **judge_quotation(text, pages, works.get(key), sources)})
    references = {key: judge_reference(key, cited, entries, works.get(key)) for key in sorted(cited | set(entries))}
    report = {"references": references, "quotations": quotations}
    (APP / "report.json").write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


main()
