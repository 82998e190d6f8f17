"""The corpus of bad files: each is read right, or ends in one line that says why; in bounded time and memory.

No code of a file runs, nothing outside a file's own folder is read into a cohort or written.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from fedmammo.errors import LONGEST
from tests.fuzz.child import SECONDS
from tests.fuzz.corpus import CORPUS
from tests.fuzz.dicom_files import SIDE
from tests.fuzz.readers import READERS

ROOT = Path(__file__).parents[2]
MEBIBYTES = 600
"""More than a file of the corpus may take; the largest that are read right have 9 million pixels."""
MARK = 51966


class Done(NamedTuple):
    """What the child did: rows by name of the entry, and the folder that it was given."""

    rows: dict[str, dict[str, Any]]
    folder: Path


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """Let a process of its own read the whole corpus."""
    folder = tmp_path_factory.mktemp("corpus")
    stripes = np.tile(np.array([0, MARK], np.uint16), (SIDE, SIDE // 2))
    Image.fromarray(stripes).save(folder / "secret.png")
    for number in range(len(CORPUS)):  # where an entry's own folder is left by one step, or by two
        (folder / "corpus" / str(number)).mkdir(parents=True)
        os.link(folder / "secret.png", folder / "corpus" / str(number) / "secret.png")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.fuzz.child", str(folder)]
    child = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert child.returncode == 0, child.stderr[-2000:]
    rows = [json.loads(line) for line in child.stdout.splitlines()]
    return Done({row["name"]: row for row in rows}, folder)


def test_the_corpus_is_large_and_was_read_whole(done: Done) -> None:
    assert len(CORPUS) >= 60
    assert set(done.rows) == set(CORPUS)
    assert {entry.read for entry in CORPUS.values()} == set(READERS)


@pytest.mark.parametrize("name", CORPUS)
def test_a_bad_file_ends_in_one_line(done: Done, name: str) -> None:
    row, says = done.rows[name], CORPUS[name].says
    assert row["how"] in ("read", "quarantined", "refused"), row["said"]
    if says:
        assert any(re.search(says, text) for text in row["said"]), row
    else:
        assert row["how"] == "read", row
    for text in row["said"]:
        assert text.isprintable() and 0 < len(text) <= LONGEST + 50, "one line, which a terminal takes"
    assert row["seconds"] < SECONDS / 2
    assert row["MiB"] < MEBIBYTES


def test_no_code_ran(done: Done) -> None:
    assert not (done.folder / "canary").exists()


def test_nothing_is_written_elsewhere(done: Done) -> None:
    """Beside an entry's folder lies the secret alone, and what the reader of its cohort makes is in there."""
    assert {path.name for path in done.folder.iterdir()} == {"secret.png", "cohort", "corpus"}
    for place in (done.folder / "corpus").iterdir():
        assert {path.name for path in place.iterdir()} == {"secret.png", "it"}
        assert not list(place.glob("it/*.unfinished")), "what is refused leaves nothing"


def test_no_patch_shows_what_lies_outside(done: Done) -> None:
    """The stripes of the secret are in no cohort; a table that names it from within has them."""
    found = 0
    for path in done.folder.rglob("patches.npy"):
        if path.parent.name == "out":
            patches = np.load(path)
            found += 1
            assert not (np.abs(np.diff(patches[..., 40:88, 40:88].astype(int), axis=-1)) == MARK).any(), path
    assert found > 60
