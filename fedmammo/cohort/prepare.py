"""Prepares a cohort: finds out what a source is, reads it, and leaves the rest of the house one form to work with."""

import json
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from functools import partial
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd

from fedmammo.cohort.case_descriptions import TABLES, read_case_descriptions
from fedmammo.cohort.cbis_tree import index_kaggle, index_tree, list_cbis, recognises_kaggle, recognises_tree
from fedmammo.cohort.lesions import Lesion, Outcome, read_lesions
from fedmammo.cohort.listing import CITATION, LICENCE, Listing
from fedmammo.cohort.patch import MARGIN
from fedmammo.cohort.patch_folder import list_patches, recognises_patches
from fedmammo.cohort.plain_table import list_plain_table
from fedmammo.cohort.quarantine import Quarantined, quarantined
from fedmammo.cohort.store import FACTS, SPLITS, Cohort, finish_cohort, last_split
from fedmammo.cohort.unfinished import Unfinished, preparation
from fedmammo.disk.folders import continued_folder
from fedmammo.disk.parallel import in_order
from fedmammo.errors import InputError

MAXIMUM_SIZE = 4096
BYTES_A_PROCESS = 2**26
"""A process takes a second or two to start: it has to have that much to read."""


def prepare(
    source: Path,
    out: Path,
    csv: Path | None = None,
    size: int = 128,
    margin: float = MARGIN,
    strict: bool = True,
    licence: str | None = None,
    citation: str | None = None,
    processes: int = 1,
    report: Callable[[int, int], None] = lambda done, rows: None,
) -> Cohort:
    """Prepare the cohort in `source` and write it to `out`, or go on with that where it was interrupted.

    Args:
        source: a TCIA tree, Kaggle's mirror of one, a folder of patches in the reference's layout, or a plain table.
        out: an empty or missing folder, or a cohort that was prepared from the same source with the same options.
        csv: the folder of the case descriptions; looked for in `source` and its folder `csv` where None.
        size: side of a patch in pixels.
        margin: around a lesion, as a share of its larger side.
        strict: a patient in several splits is kept in the last of them with all its images; otherwise its images in
            the others are quarantined.
        licence: of the images, for the cohort card; CBIS-DDSM's is known.
        citation: likewise.
        processes: at most so many read; the result does not depend on it.
        report: is told how many rows of how many are done.

    Raises:
        InputError: `source` is none of these, `out` is occupied, being prepared or among its patches, a table is
            missing or lacks a column, an option is out of range, or not one image could be prepared.
    """
    if not 1 <= size <= MAXIMUM_SIZE:
        raise InputError(f"size {size}: expected 1 to {MAXIMUM_SIZE} pixels")
    if not 0 <= margin <= 10:
        raise InputError(f"margin {margin}: expected 0 to 10 times the lesion's side")
    if processes < 1:
        raise InputError(f"processes {processes}: expected at least 1")
    if any(out.glob("*")) and not (out / FACTS).is_file():
        raise InputError(f"{out}: exists and is not an empty folder; name an empty or missing folder")
    if any(out.resolve().is_relative_to((source / split).resolve()) for split in SPLITS):
        raise InputError(f"{out}: lies among the patches of {source}; name a folder elsewhere")
    listing = list_source(source, csv)
    plan, quarantine, crossing = _one_split_a_patient(*_without_repeats(listing), strict)
    plan = _by_file(plan)
    options = {"size": size, "margin": margin, "strict": strict}
    origin = {"licence": licence, "citation": citation}
    if listing.is_cbis:
        origin = {"licence": LICENCE, "citation": CITATION}
    description = _description(listing, plan, options | origin)
    if (out / FACTS).is_file():
        return _finished(out, description)
    with continued_folder(out) as folder:
        work = Unfinished(folder, description, size)
        _read(plan["work"].tolist(), work, size, margin, processes, report)
        has_patch = [has_patch for has_patch, _ in work.texts]
        notes = dict(listing.notes)
        for row, (prepared, text) in zip(plan.to_dict("records"), work.texts, strict=True):
            if not prepared:
                quarantine.append(quarantined(row, text or ""))
            elif text:
                notes[row["image"]] = text
        kept = plan.loc[has_patch]  # not plan[...], which means columns where nothing is left
        facts = {
            "source": listing.kind,
            "options": options,
            "counts": _counts(listing, kept, quarantine),
            "crossing": crossing,
            "remarks": listing.remarks,
            "tables": {table.path.name: table.digest for table in listing.tables},
            **origin,
            "notes": notes,
            "preparation": work.preparation,
        }
        finish_cohort(folder, kept, listing.attributes, quarantine, size, facts)
        work.end()
    return Cohort.open(out)


def list_source(source: Path, csv: Path | None) -> Listing:
    """Find out what a source is, and list it.

    Raises:
        InputError: it is nothing that is known, or its tables are missing or lack a column.
    """
    if source.is_file():
        return list_plain_table(source)
    if not source.is_dir():
        raise InputError(f"{source}: no such file or folder; name the table, or the folder that holds the images")
    if recognises_patches(source):
        return list_patches(source, read_case_descriptions(_tables(source, csv)))
    if recognises_kaggle(source):
        descriptions = read_case_descriptions(_tables(source, csv))
        return list_cbis("Kaggle mirror", source, index_kaggle(source), descriptions)
    if recognises_tree(source):
        return list_cbis("TCIA tree", source, index_tree(source), read_case_descriptions(_tables(source, csv)))
    raise InputError(
        f"{source}: expected a folder of patches (train|val|test/is_benign_true|false/), a TCIA tree (folders "
        "Mass-Training_P_..., Calc-Test_P_..., or metadata.csv), Kaggle's mirror (csv/dicom_info.csv), or a table "
        "(.csv, .parquet); name the folder that directly holds them"
    )


def _tables(source: Path, csv: Path | None) -> Path:
    """The folder of the case descriptions."""
    folders = [source, source / "csv"] if csv is None else [csv]
    return next((folder for folder in folders if any((folder / name).is_file() for name in TABLES)), folders[0])


def _without_repeats(listing: Listing) -> tuple[pd.DataFrame, list[Quarantined]]:
    """Read an image once, however often it is listed."""
    twice = listing.plan["image"].duplicated()
    repeated = [
        quarantined(row, f"image is listed twice: {row['image']}") for row in listing.plan[twice].to_dict("records")
    ]
    return listing.plan[~twice].reset_index(drop=True), [*listing.quarantine, *repeated]


def _one_split_a_patient(
    plan: pd.DataFrame, quarantine: list[Quarantined], strict: bool
) -> tuple[pd.DataFrame, list[Quarantined], dict[str, Any]]:
    """Keep every patient in one split, the last of those that hold it: nobody is tested on whom a model was trained.

    31 patients of CBIS-DDSM are in the training set for one type of lesion and in the test set for the other. Strictly,
    their other images move to that split; otherwise they are quarantined and the published sets stay what they are.
    """
    last = last_split(plan)
    crossed = last != plan["split"]
    facts = {"patients": int(plan.loc[crossed, "patient"].nunique()), "images": int(crossed.sum())}
    if strict:
        return plan.assign(split=last), quarantine, facts
    held = [
        quarantined(row, f"patient is in a later split too: {row['patient']}")
        for row in plan[crossed].to_dict("records")
    ]
    return plan[~crossed].reset_index(drop=True), [*quarantine, *held], facts


def _by_file(plan: pd.DataFrame) -> pd.DataFrame:
    """Put lesions of one file behind its first, so that it is opened once."""
    files = plan["work"].map(lambda lesion: lesion.file)
    first = plan.index.to_series().groupby(files, sort=False).transform("min")
    return plan.loc[first.sort_values(kind="stable").index].reset_index(drop=True)


def _description(listing: Listing, plan: pd.DataFrame, options: dict[str, Any]) -> bytes:
    """What decides on the result: the tables, the files with their sizes and dates, the options, the libraries."""
    files = sorted({path for lesion in plan["work"] for path in (lesion.file, *lesion.candidates)})
    libraries = {name: version(name) for name in ("fedmammo", "numpy", "pillow", "pydicom")}
    described = [
        listing.kind,
        options,
        libraries,
        [(table.path.name, table.digest) for table in listing.tables],
        [(str(path.absolute()), *_state(path)) for path in files],
        plan[["image", "split"]].to_numpy().tolist(),
        listing.quarantine,
    ]
    return json.dumps(described).encode()


def _state(path: Path) -> tuple[int, int]:
    """Size and time of change; 0 for a file that is not there."""
    try:
        state = path.stat()
    except OSError:
        return 0, 0
    return state.st_size, state.st_mtime_ns


def _finished(out: Path, description: bytes) -> Cohort:
    """The cohort at `out`, if this is what it was prepared from."""
    cohort = Cohort.open(out)
    if cohort.facts.get("preparation") != preparation(out, description):
        raise InputError(f"{out}: exists, from other files, tables or options; name an empty or missing folder")
    return cohort


def _read(
    lesions: list[Lesion],
    work: Unfinished,
    size: int,
    margin: float,
    processes: int,
    report: Callable[[int, int], None],
) -> None:
    """Read what is not read yet, mammogram after mammogram."""
    done = len(work.texts)
    report(done, len(lesions))
    mammograms = [list(together) for _, together in groupby(lesions[done:], key=lambda lesion: lesion.file)]
    size_of_all = sum(_state(lesion.file)[0] for lesion in lesions[done:])
    useful = min(processes, 1 + size_of_all // BYTES_A_PROCESS)
    read = partial(read_lesions, size=size, margin=margin)
    with closing(in_order(read, mammograms, useful, _lost)) as results:
        for outcomes in results:
            for outcome in outcomes:
                work.add(outcome)
            report(len(work.texts), len(lesions))


def _lost(lesions: list[Lesion]) -> list[Outcome]:
    reason = f"reading ended its process: {lesions[0].file.name} (out of memory, or a decoder crashed)"
    return [Outcome(None, reason)] * len(lesions)


def _counts(listing: Listing, kept: pd.DataFrame, quarantine: list[Quarantined]) -> dict[str, dict[str, int]]:
    """What lists images → rows, prepared, quarantined; rows are counted where they are read, not here."""
    prepared = Counter(_listed(listing, name) for name in kept["listed_in"])
    lost = Counter(_listed(listing, entry.source) for entry in quarantine)
    counts = {
        name: {"rows": rows, "prepared": prepared[name], "quarantined": lost[name]}
        for name, rows in listing.rows.items()
    }
    if any(count["rows"] != count["prepared"] + count["quarantined"] for count in counts.values()):
        raise RuntimeError(f"rows were lost: {counts}")
    return counts


def _listed(listing: Listing, listed_in: str) -> str:
    """What lists this image: its table, or else the folder of patches, which is the first that counts."""
    return listed_in if listed_in in listing.rows else next(iter(listing.rows))
