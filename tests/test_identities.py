"""Patients' names, numbers, files and UIDs stay in the cohort: no run, report, log or error line holds one of them."""

import hashlib
import io
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from flwr.app import Message
from pydicom import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

import fedmammo
from fedmammo.cli import main
from fedmammo.cohort.prepare import prepare
from fedmammo.cohort.store import Cohort
from fedmammo.errors import InputError, StudyError
from fedmammo.federation.client_app import app_of
from fedmammo.federation.inline_grid import InlineGrid
from fedmammo.hospitals.site_file import read_site_file
from fedmammo.run.checks import check

PATIENTS = 30
PARTS = ("patient", "image", "folder", "name", "birth", "study", "series", "own")


def mark(part: str, number: int) -> str:
    """A mark that nothing else holds by chance; those of UIDs are digits, as others must not be."""
    digest = hashlib.sha256(f"{part} {number}".encode()).hexdigest()
    return str(int(digest[:12], 16)) if part in ("study", "series") else f"x{digest[:11]}"


REASONS = {
    "unreadable label", "path does not stay below the source", "neither DICOM, PNG, TIFF nor JPEG", "labels contradict",
}  # fmt: skip
MARKS = [mark(part, number) for part in PARTS for number in range(PATIENTS)]


def write_image(path: Path, number: int) -> None:
    """A DICOM file that names its patient in every tag that can."""
    pixels = np.random.default_rng(number).integers(0, 4096, (40, 40)).astype(np.uint16)
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.PatientName, dataset.PatientID = f"{mark('name', number)}^Eve", mark("patient", number)
    dataset.OtherPatientIDs, dataset.PatientComments = mark("own", number), mark("birth", number)
    dataset.StudyInstanceUID = f"1.2.{mark('study', number)}"
    dataset.SeriesInstanceUID = dataset.SOPInstanceUID = f"1.2.{mark('series', number)}"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 40, 40, 1
    dataset.PhotometricInterpretation, dataset.PixelRepresentation = "MONOCHROME2", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelData = pixels.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)


def write_source(folder: Path) -> Path:
    """A table of marked patients; the last of them cannot be prepared, each for another reason."""
    rows = []
    for number in range(PATIENTS):
        file = f"{mark('folder', number)}/{mark('image', number)}.dcm"
        write_image(folder / file, number)
        row = {"image": file, "patient": mark("patient", number), "label": number % 2, "own": mark("own", number)}
        row |= {"split": "test" if number % 5 == 4 else "train", "density": 1 + number % 4, "lesion": "mass"}
        rows.append(row)
    rows[-1]["label"] = mark("own", PATIENTS - 1)
    rows[-2]["image"] = f"../{rows[-2]['image']}"
    (folder / rows[-3]["image"]).write_bytes(b"none")
    rows[-4]["patient"] = rows[0]["patient"]
    rows.append(rows[0] | {"label": 1})
    pd.DataFrame(rows).to_csv(folder / "table.csv", index=False)
    return folder / "table.csv"


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    folder = tmp_path_factory.mktemp("marked")
    return prepare(write_source(folder / "source"), folder / "cohort")


def found_in(content: bytes, marks: Iterable[str] = MARKS) -> list[str]:
    """Marks in bytes: as text in several codes, as their hexadecimal digits; in members of archives, too."""
    texts = [content]
    if content.startswith(b"PK\3\4"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            texts += [archive.read(name) for name in archive.namelist()]
    if content.startswith(b"PAR1"):
        texts.append(pd.read_parquet(io.BytesIO(content)).to_csv().encode())
    codes = ("utf-8", "utf-16-le", "utf-32-le")  # the last is numpy's
    forms = {one: (*map(one.encode, codes), one.encode().hex().encode()) for one in marks}
    return [one for one, as_bytes in forms.items() if any(form in text for form in as_bytes for text in texts)]


def leaks(folder: Path) -> dict[str, list[str]]:
    """Files below a folder, by name, that hold marks, or are called by them."""
    found = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if marks := found_in(name.encode()) + found_in(path.read_bytes() if path.is_file() else b""):
            found[name] = marks
    return found


def test_the_marks_are_seen_where_they_are(cohort: Cohort, tmp_path: Path) -> None:
    """In the cohort, whatever the format: else no test here could fail."""
    assert len(set(MARKS)) == len(MARKS) == len(PARTS) * PATIENTS
    seen = leaks(cohort.folder)
    assert {"manifest.parquet", "quarantine.csv"} <= set(seen)
    assert mark("patient", 1) in seen["manifest.parquet"] and mark("own", PATIENTS - 1) in seen["quarantine.csv"]
    assert "key" not in seen and "patches.npy" not in seen and "cohort.md" not in seen, "the card names nobody"
    np.savez_compressed(tmp_path / "a.npz", names=np.array([mark("patient", 3)] * 9, dtype=np.str_))
    assert leaks(tmp_path) == {"a.npz": [mark("patient", 3)]}


def test_reasons_name_what_is_at_fault(cohort: Cohort) -> None:
    """In the cohort's own quarantine: so that they could leave with a reason."""
    reasons = cohort.quarantine["reason"]
    assert set(reasons.str.split(":").str[0]) == REASONS
    assert sum(bool(found_in(reason.encode())) for reason in reasons) >= 4


class Spoiling(InlineGrid):
    """A grid on which the second hospital fails in the first round of training, with an error that tells all it has."""

    def __init__(self, hospitals: Path, count: int) -> None:
        super().__init__(app_of(hospitals), count)
        self._hospitals = hospitals

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        for message in messages:
            if message.metadata.message_type == "train":
                name = f"{self._hospitals}/hospital-2/federated-real-seed0-draw0-fold0/passing-00001.safetensors"
                Path(name).mkdir(parents=True, exist_ok=True)
            yield from super().push_messages([message])


@pytest.fixture(scope="module")
def study(cohort: Cohort, new_study: Callable[[], dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a study with and without a budget."""
    content = new_study() | {
        "arms": ["federated"],
        "settings": ["real", "real-epsilon-6"],
        "cohort": {"path": str(cohort.folder)},
        "evaluation": {"subgroups": ["density", "lesion_type"]},
    }
    content["federation"] |= {"min_hospitals": 2, "local_steps": 1}
    path = tmp_path_factory.mktemp("study") / "study.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope="module")
def run(study: Path, run_inline: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run in which a hospital failed."""
    return run_inline(fedmammo.load_study(study), tmp_path_factory.mktemp("run") / "run", Spoiling)


Told = Callable[..., str]


@pytest.fixture
def told(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Told:
    """Call a command in this process; gives its exit code, and all that it printed."""

    def call(*words: object) -> str:
        monkeypatch.setattr(sys, "argv", ["fedmammo", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main()
        printed = capfd.readouterr()
        return f"exit {end.value.code or 0}\n{printed.out}{printed.err}"

    return call


def test_a_run_and_what_is_written_of_it_name_nobody(run: Path, cohort: Cohort, told: Told, tmp_path: Path) -> None:
    rounds = pd.read_csv(run / "rounds.csv")
    assert rounds["status"].str.startswith("failed: ").any(), "a hospital failed, and its error is told"
    printed = [
        told("report", run, "--out", tmp_path / "report.html", "--methods", tmp_path / "methods.md"),
        told("privacy", "show", run, "--out", tmp_path / "privacy.html"),
        told("show", run),
        told("evaluate", run, "--cohort", cohort.folder, "--split", "test"),
        told("compare", run, run, "--out", tmp_path / "compared.csv"),
    ]
    assert all(text.startswith("exit 0") and len(text) > 20 for text in printed), printed
    assert not [text for text in printed if found_in(text.encode())]
    assert leaks(run) == {}
    assert leaks(tmp_path) == {}
    assert {path.name for path in tmp_path.iterdir()} == {"report.html", "methods.md", "privacy.html", "compared.csv"}
    flow = pd.read_csv(run / "flow.csv")
    assert set(flow[flow["stage"] == "quarantined"]["name"]) >= REASONS, (
        "reasons are in the run, without what they name"
    )


def test_a_study_that_cannot_go_on_names_nobody(
    study: Path, run_inline: Callable[..., Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither its error line, nor what its process prints into the log of the run, tracebacks of hospitals among it."""
    config = fedmammo.load_study(study, ["settings=[real]", "federation.min_hospitals=3"])
    with pytest.raises(StudyError, match="hospital-2 failed: ") as error:
        run_inline(config, tmp_path / "run", Spoiling)
    printed = capfd.readouterr()
    assert "Traceback" in printed.err
    assert not found_in(f"{error.value}{printed.out}{printed.err}".encode())
    assert leaks(tmp_path) == {}


@pytest.mark.parametrize("words", [["sites", "show"], ["privacy", "plan"]], ids=" ".join)
def test_what_is_told_before_a_study_runs_names_nobody(
    study: Path, told: Told, words: list[str], tmp_path: Path
) -> None:
    text = told(*words, study, *(["--out", tmp_path / "plan.json"] if "plan" in words else []))
    assert text.startswith("exit 0") and not found_in(text.encode())
    assert leaks(tmp_path) == {}


@pytest.mark.parametrize(
    "override",
    [
        "hospitals.assignment={by: attribute, attribute: own, minimum_patients: 1}",
        "hospitals.assignment={by: attribute, attribute: patient}",
        "hospitals.assignment={by: attribute, attribute: image}",
        "hospitals.assignment.count=26",
        "evaluation.test=val",
        "evaluation.subgroups=[own]",
        "evaluation.subgroups=[density, image]",
        "evaluation.subgroups=[patient]",
        "evaluation.subgroups=[source]",
        "evaluation={folds: 40, folds_over: [train]}",
        "cohort.path=altered",
    ],
)
def test_the_line_of_a_study_that_cannot_run_names_nobody(
    study: Path, cohort: Cohort, override: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Among them all that would write names into tables or call hospitals by them."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(cohort.folder, tmp_path / "altered")
    with (tmp_path / "altered" / "patches.npy").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x07")
    with pytest.raises(InputError) as error:
        check(fedmammo.load_study(study, [override]))
    assert not found_in(str(error.value).encode())


def test_a_site_file_lets_no_column_leave_that_names_patients(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    for column in ("patient", "image", "source"):
        path.write_text(f"name: north\ncohort: c\nstate: s\ncolumns: [density, {column}]\n")
        with pytest.raises(InputError, match=f"columns: {column} names patients"):
            read_site_file(path)
