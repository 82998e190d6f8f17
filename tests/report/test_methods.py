"""A methods section holds no number that the run's tables or its configuration do not."""

import re
from pathlib import Path

import pandas as pd
import pytest

from fedmammo.report.blocks import shown
from fedmammo.report.methods import methods
from fedmammo.run.results import Run
from tests.report.made_up import made_up
from tests.report.told import told_run

NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:e[-+]?[0-9]+)?")
ALWAYS = {"95", "256"}  # the level of intervals, and the name of the digests


def numbers_of(folder: Path) -> set[str]:
    """Every number that tables show, and that the configuration says in some form."""
    found = set(NUMBER.findall((folder / "config.yaml").read_text()))
    found |= {f"{float(number):g}" for number in found}
    for path in folder.glob("*.csv"):
        table = pd.read_csv(path)
        for value in table.to_numpy(dtype=object).ravel():
            found |= {*NUMBER.findall(shown(value)), *NUMBER.findall(str(value))}
    return found


@pytest.mark.parametrize("kind", ["told", "folds", "draws"])
def test_no_number_comes_from_elsewhere(tmp_path: Path, kind: str) -> None:
    if kind == "told":
        run = told_run(tmp_path)
    else:
        how = {"folds": 5} if kind == "folds" else {"draws": 21, "hospitals": 5}
        run = Run(tmp_path, made_up(tmp_path, **how))
    text, references = methods(run).split("## References")
    assert set(NUMBER.findall(text)) <= numbers_of(tmp_path) | ALWAYS
    assert "Obuchowski NA, Rockette HE" in references


def test_it_reads_as_a_paper_does(tmp_path: Path) -> None:
    text = methods(told_run(tmp_path))
    assert text.startswith(
        "# what people say of title\n\n## Methods\n\n### Data\n\nThe cohort was prepared from a TCIA"
    )
    assert "To be written by the authors" not in text
    assert "| arm | setting | value | from | to | patients | malignant | note |" in text
    assert "| listed | all |  | 47 |  | rows |" in text
    assert text.count("doi:10.7937/K9/TCIA.2016.7O02S9CY") == 3, "in the prose, in the table of patients, to be cited"
    assert "Federated optimization in heterogeneous networks" in text and "Dong J, Roth A, Su WJ" in text


def test_what_people_have_to_write_is_marked(tmp_path: Path) -> None:
    text = methods(told_run(tmp_path, about={"tuning": "On nobody."}))
    assert "### What was tuned on whom\n\nOn nobody.\n" in text
    assert "*To be written by the authors: about.eligibility: Who was included" in text
    assert text.startswith("# made-up\n")
