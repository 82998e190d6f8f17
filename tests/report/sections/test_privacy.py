"""The section on privacy, and the officer's page around it, on tables that are written here by hand."""

import re
from html import unescape
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fedmammo.config.study import parse
from fedmammo.errors import InputError
from fedmammo.privacy.plan import ADVERSARIES, RELATION, UNIT
from fedmammo.report.page import check_name
from fedmammo.report.privacy_page import GUIDELINE, privacy_page
from fedmammo.report.sections.privacy import CHAPTER
from fedmammo.run.privacy import GUARANTEES, PRIVACY
from fedmammo.run.results import FINISHED, Run
from tests.report.walk import walk, wrong_cells

SIX, TWO = "real-epsilon-6", "pretrained-epsilon-2"
SENTENCE = (
    "The best attack finds at most 19.4 % of those who took part when it accuses 1 % of the others wrongly: weak."
)
NONE = "Nothing bounds what an attack on the model finds: why."


def promises(*changes: dict[str, Any]) -> pd.DataFrame:
    """What a federated arm promises without a budget, with one, and with one that does not hold from end to end."""
    budget = {"delta": 0.0001, "trust": "local", "adversary": ADVERSARIES["local"], "unit": UNIT, "relation": RELATION}
    rows: list[dict[str, Any]] = [
        {"setting": "real", "end_to_end": "none", "sentence": NONE},
        {"setting": SIX, "end_to_end": "patient", "sentence": SENTENCE, "epsilon": 5.9876, "best_attack": 0.1925,
         "protection": "weak protection", "epsilon_exchanged": 14.47, "patients": 34, **budget},
        {"setting": TWO, "end_to_end": "none", "sentence": NONE, "epsilon": 1.9876, "epsilon_exchanged": 4.321,
         "patients": 34, **budget},
    ]  # fmt: skip
    table = pd.DataFrame([{"arm": "federated", **row} for row in rows], columns=list(GUARANTEES))
    return table.astype({"patients": "Int64"})


def spent() -> pd.DataFrame:
    place = [("federated", SIX, "A", "train"), ("federated", SIX, "A", "together"), ("federated", TWO, "B_1", "train"),
             ("federated", TWO, "B_1", "together"), ("all", "all", "all", "together")]  # fmt: skip
    rows = [(*where, 2, 4, number + 0.2345, 0.0001, number + 1.2345) for number, where in enumerate(place, start=1)]
    table = pd.DataFrame(rows, columns=list(PRIVACY[:9]))
    return table.assign(noise_multiplier=1.375, clipping_norm=0.5, rate=1.0)[list(PRIVACY)]


def audit() -> pd.DataFrame:
    row = {"setting": SIX, "audit": "40 canaries, 7 guessed, one run", "measure": "epsilon is at least", "value": 0.625,
           "ci_low": 0.625, "ci_high": None, "ceiling": 3.125, "claimed": 5.9876}  # fmt: skip
    return pd.DataFrame([row])


def run_of(content: dict[str, Any], folder: Path, **tables: pd.DataFrame) -> Run:
    for name, table in tables.items():
        (folder / f"{name.replace('_', '-')}.csv").write_text(table.to_csv(index=False))
    (folder / FINISHED).touch()
    return Run(folder, parse(content, "small"))


@pytest.fixture
def content(small_study: dict[str, Any]) -> dict[str, Any]:
    return small_study | {"arms": ["federated"], "settings": ["real", SIX, TWO], "synthesis": {"source": "gan"}}


def html(run: Run) -> str:
    return "\n".join(block.html() for block in CHAPTER.blocks(run))


def words(page: str) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub(r"<(script|style).*?</\1>|<[^>]*>", "", page, flags=re.DOTALL)))


def test_no_number_is_on_the_page_that_is_in_no_table(content: dict[str, Any], tmp_path: Path) -> None:
    run = run_of(content, tmp_path, guarantees=promises(), privacy=spent(), privacy_audit=audit())
    found = walk(privacy_page(run))
    assert len(found.cells) > 80 and wrong_cells(found, run.folder) == []
    assert [text for text in found.words if re.search(r"\d", text.replace(GUIDELINE, ""))] == []


def test_it_leads_with_what_an_officer_understands(content: dict[str, Any], tmp_path: Path) -> None:
    run = run_of(content, tmp_path, guarantees=promises(), privacy=spent())
    first, second, third = (words(block.html()) for block in CHAPTER.blocks(run)[:3])
    assert first == f"{SIX}: {SENTENCE}"
    assert second == f"{TWO}: {NONE}"
    assert third == "Without a budget, so that nothing protects the patients whom they learned from: real."
    assert "a patient would have spent epsilon 5.234 at delta 0.0001; without a bound" in words(html(run))


def test_whoever_was_not_attacked_is_named(content: dict[str, Any], tmp_path: Path) -> None:
    run = run_of(content, tmp_path, guarantees=promises())
    assert f"{SIX}; {TWO}: not attacked (fedmammo privacy audit would)." in words(html(run))
    run = run_of(content, tmp_path, privacy_audit=audit())
    page = words(html(run))
    assert f" {TWO}: not attacked" in page and f"{SIX}; " not in page.split("What attacks found")[1].split("assumed")[0]
    assert "Not covered: nobody attacked" not in words(privacy_page(run))


def test_files_of_what_has_no_guarantee_are_to_be_kept(content: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "predictions.csv").touch()
    run = run_of(content, tmp_path, guarantees=promises())
    rows = dict(
        re.findall(r"<td>(.*?)</td><td>.*?</td><td>(.*?)</td></tr>", str(html(run)).split("may they leave?")[1])
    )
    may = {words(files): what.split(":")[0].split(",")[0] for files, what in rows.items()}
    assert may == {
        "models/federated-real-seed*.safetensors": "keep",
        f"models/federated-{SIX}-seed*.safetensors": "may be shared",
        f"models/federated-{TWO}-seed*.safetensors": "keep",
        "models/generator-*.safetensors": "keep",
        "synthetic/progress/": "keep",
        "synthetic/*/patches.npy, images.csv": "as synthetic/pools.csv says of each",
        "predictions.csv": "keep",
        "guarantees.csv": "may be shared",
        "report.html": "keep",
        "timings.csv": "keep",
        "run.log": "keep",
    }


def test_generators_under_a_budget_that_holds_may_be_shared(content: dict[str, Any], tmp_path: Path) -> None:
    content |= {"settings": [SIX, TWO], "privacy": {"generator_share": 0.5}}
    content["synthesis"] = {"source": "gan", "method": "mean_embedding"}
    table = promises().iloc[1:]
    table.loc[2, "end_to_end"] = "patient"
    page = words(html(run_of(content, tmp_path, guarantees=table)))
    assert f"models/generator-*-{TWO}-draw*.safetensors" in page and "without a guarantee" not in page


def test_a_seed_of_secrets_and_secrets_that_are_left_are_told_first(content: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "hospitals/A").mkdir(parents=True)
    (tmp_path / "hospitals/A/secret").touch()
    run = run_of(content | {"privacy": {"secret_seed": 1}}, tmp_path, guarantees=promises())
    first, second = (words(block.html()) for block in CHAPTER.blocks(run)[:2])
    assert "NOTHING here is private" in first and "secrets still lie in this folder" in second


def test_without_any_budget_it_says_so_and_asks_nothing(content: dict[str, Any], tmp_path: Path) -> None:
    run = run_of(content | {"settings": ["real"]}, tmp_path, guarantees=promises().iloc[:1])
    page = words(html(run))
    assert page.startswith("Nothing in this study protects patients: no setting has a privacy budget.")
    assert "models/federated-real-seed*.safetensors" in page and "Purpose" not in page
    drawn = promises().iloc[:1].assign(end_to_end="no patient")
    assert words(html(run_of(content, tmp_path, guarantees=drawn))).startswith("No patient's data had a part in any")


@pytest.mark.parametrize("name", ["page.pdf", "page", "page.html.txt"])
def test_a_page_is_html(name: str) -> None:
    with pytest.raises(InputError, match=rf"--out {name}: expected the name of a file that ends in \.html"):
        check_name("--out", Path(name))
