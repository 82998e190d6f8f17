"""Walks a page: every number that comes from a table is compared with its cell in the run's CSV file."""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

import fedmammo.report

NUMBER = re.compile(r"(?<![\w.])[-−+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\w])")
QUIET = ("script", "style", "textarea", "code", "pre", "title")
CONFIG = "config"
VOID = ("meta", "link", "img", "input", "br", "col")


@dataclass
class Found:
    """What a page says: cells that know their place, and the rest of its words."""

    cells: list[tuple[str, int, str, str]] = field(default_factory=list)  # file, row, key, text
    words: list[str] = field(default_factory=list)


class Walker(HTMLParser):
    """Gathers cells and words."""

    def __init__(self) -> None:
        super().__init__()
        self.found = Found()
        self._open: list[dict[str, str]] = []
        self._keys: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in VOID:
            return
        about = {"tag": tag, **{key: value or "" for key, value in attrs}}
        if tag == "table":
            self._keys = []
        if tag == "th" and "data-key" in about:
            self._keys.append(about["data-key"])
        if tag == "tr":
            self._column = -1
        if tag == "td":
            self._column += 1
            row = self._nearest("data-row")
            if self._nearest("data-file") and row and self._keys and "data-key" not in about:
                about |= {"place": f"{self._nearest('data-file')}|{row}|{self._keys[self._column]}"}
        elif "data-key" in about and "data-row" in about:
            about |= {"place": f"{about['data-file']}|{about['data-row']}|{about['data-key']}"}
        about["text"] = ""
        self._open.append(about)

    def handle_data(self, data: str) -> None:
        if any(one["tag"] in QUIET for one in self._open):
            return
        placed = [one for one in self._open if "place" in one]
        if placed:
            placed[-1]["text"] += data
        elif data.strip():
            self.found.words.append(data)

    def handle_endtag(self, tag: str) -> None:
        while self._open:
            about = self._open.pop()
            if "place" in about:
                file, row, key = about["place"].split("|")
                self.found.cells.append((file, int(row), key, about["text"]))
            if about["tag"] == tag:
                return

    def _nearest(self, key: str) -> str:
        return next((one[key] for one in reversed(self._open) if key in one), "")


def walk(page: str) -> Found:
    """Return what a page says."""
    walker = Walker()
    walker.feed(page)
    return walker.found


def wrong_cells(found: Found, run: Path) -> list[str]:
    """Return the cells of a page that are not what the run's tables say."""
    names = {file for file, *_ in found.cells} - {CONFIG}
    files = {file: pd.read_csv(run / f"{file}.csv", dtype=str, keep_default_na=False) for file in names}
    path = run / "config.yaml"
    config, wrong = yaml.safe_load(path.read_text()) if path.exists() else None, []
    for file, row, key, text in found.cells:
        told = (
            configured(config, key) if file == CONFIG else files[file].iloc[row].get(key, file.split("/")[0])
        )  # of the run
        if not _same(text, told):
            wrong.append(f"{file}.csv, row {row}, {key}: page {text!r}, table {told!r}")
    return wrong


def strange_numbers(found: Found, run: Path) -> set[str]:
    """Return the numbers of a page's words that stand neither in the run's tables or configuration nor in a text.

    Texts are the sources of the report: checklists, citations, sentences.
    """
    texts = [path for path in Path(fedmammo.report.__file__).parent.rglob("*") if path.suffix in (".py", ".yaml")]
    written = "\n".join(path.read_text() for path in [*run.glob("**/*.csv"), run / "config.yaml", *texts])
    values = set(NUMBER.findall(written))
    rounded = {f"{float(one):.3f}" for one in values} | {f"{float(one):g}" for one in values}
    said = {one.replace("−", "-") for words in found.words for one in NUMBER.findall(words)}
    return {one for one in said if one not in values and one.lstrip("+-") not in rounded | values}


def configured(config: Any, key: str) -> Any:
    """Return what a dotted key of config.yaml says; keys may hold dots themselves."""
    while key:
        if isinstance(config, list):
            first, _, key = key.partition(".")
            config = config[int(first)]
            continue
        first = max((name for name in config if key == name or key.startswith(f"{name}.")), key=len)
        config, key = config[first], key[len(first) + 1 :]
    return config if isinstance(config, dict) else str(config)


def _same(text: str, told: Any) -> bool:
    """Whether a text shows what a table says: words as they are, numbers to the digits that are shown."""
    text = text.replace("−", "-")
    if text == told or (isinstance(told, dict) and text in told):  # the name of a part of the configuration
        return True
    if text.startswith("<"):
        return float(told) < float(text[1:])
    try:
        shown, value = float(text), float(told)
    except ValueError:
        return False
    digits = len(text.partition("e")[0].partition(".")[2])
    half = 0.5 * 10.0**-digits if "e" not in text else 0.05 * abs(value)
    return abs(shown - value) <= half * (1 + 1e-9)
