"""How an entry of the corpus is read: by the function that a command calls, which says what became of it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import fedmammo
from fedmammo.cohort.prepare import prepare
from fedmammo.cohort.store import Cohort
from fedmammo.errors import InputError
from fedmammo.federation.checkpoint import Checkpoint
from fedmammo.hospitals.profiles import load_profile
from fedmammo.hospitals.site import Site
from fedmammo.hospitals.site_file import read_site_file
from fedmammo.models.transformer import load_transformer
from fedmammo.report import terminal
from tests.fuzz.picture_files import png
from tests.fuzz.table_files import HEAD, ROW


def _outcome(cohort: Cohort) -> list[str]:
    """Reasons of the quarantine."""
    return [str(reason) for reason in cohort.quarantine["reason"]]


def _prepared(source: Path) -> list[str]:
    return _outcome(prepare(source, source.parent / "out"))


def read_image(path: Path) -> list[str]:
    """Prepare a table that lists a good image and this one."""
    (path.parent / "good.png").write_bytes(png())
    (path.parent / "t.csv").write_text(f"{HEAD}{ROW}{path.name},p2,malignant\n")
    return _outcome(prepare(path.parent / "t.csv", path.parent / "out"))


def read_table(path: Path) -> list[str]:
    """Prepare a table beside a good image."""
    (path.parent / "good.png").write_bytes(png())
    return _outcome(prepare(path, path.parent / "out"))


def read_folder(path: Path) -> list[str]:
    """Prepare a folder."""
    return _outcome(prepare(path, path / "out"))


def read_study(path: Path) -> list[str]:
    fedmammo.load_study(path)
    return []


def read_site(path: Path) -> list[str]:
    read_site_file(path)
    return []


def read_profile(path: Path) -> list[str]:
    load_profile(str(path))
    return []


def read_weights(path: Path) -> list[str]:
    load_transformer("test_vit", str(path), 32)
    return []


def read_cohort(path: Path) -> list[str]:
    """Open and show a cohort."""
    terminal.cohort(Cohort.open(path.parent))
    return []


def read_run(path: Path) -> list[str]:
    fedmammo.open_run(path.parent)
    return []


def read_hospital(path: Path) -> list[str]:
    """Open the site of a hospital whose state this file belongs to."""
    patients = "patients: patients.csv\n" if path.name == "patients.csv" else ""
    (path.parent / "site.yaml").write_text(f"name: north\ncohort: .\nstate: .\n{patients}")
    site = Site.open(path.parent / "site.yaml")
    assert len(site.approved) + len(site.patients(0)) > 0
    return []


def read_checkpoint(path: Path) -> list[str]:
    Checkpoint.read(path)
    return []


READERS: dict[str, Callable[[Path], list[str]]] = {
    "image": read_image,
    "table": read_table,
    "folder": read_folder,
    "study": read_study,
    "site": read_site,
    "profile": read_profile,
    "weights": read_weights,
    "cohort": read_cohort,
    "run": read_run,
    "hospital": read_hospital,
    "checkpoint": read_checkpoint,
}
"""Each returns the reasons of what it quarantined, or raises InputError."""


def small_cohort(folder: Path) -> Path:
    """Prepare a cohort of two images, to be altered."""
    (folder / "source").mkdir(parents=True)
    (folder / "source" / "good.png").write_bytes(png())
    (folder / "source" / "other.png").write_bytes(png(data=b""))
    (folder / "source" / "t.csv").write_text(f"{HEAD}{ROW}other.png,p2,malignant\n")
    prepare(folder / "source" / "t.csv", folder / "cohort")
    return folder / "cohort"


def read(kind: str, path: Path) -> tuple[str, list[str]]:
    """Read a file: how it ended (`read`, `quarantined`, `refused`), and what was said."""
    try:
        reasons = READERS[kind](path)
    except InputError as error:
        return "refused", [str(error)]
    return ("quarantined" if reasons else "read"), reasons


def copied(cohort: Path, folder: Path) -> None:
    shutil.copytree(cohort, folder, dirs_exist_ok=True)
