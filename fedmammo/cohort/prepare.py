"""Prepares a cohort: finds out what a source is, reads it, and leaves the rest of the house one form to work with."""

import json
import os
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from functools import partial
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd

from fedmammo.cohort.alike import alike_names, identical_patches
from fedmammo.cohort.lesions import Lesion, Outcome, read_lesions
from fedmammo.cohort.options import Options
from fedmammo.cohort.quarantine import Quarantined, quarantined
from fedmammo.cohort.readers.known import list_source
from fedmammo.cohort.readers.listing import Listing
from fedmammo.cohort.store import FACTS, SPLITS, Cohort, finish_cohort, last_split
from fedmammo.cohort.unfinished import Unfinished, preparation
from fedmammo.disk.folders import continued_folder
from fedmammo.disk.parallel import in_order
from fedmammo.errors import InputError

BYTES_A_PROCESS = 2**26
"""A process takes a second or two to start: it has to have that much to read."""


def prepare(
    source: Path,
    out: Path,
    options: Options = Options(),  # noqa: B008
    processes: int = 1,
    report: Callable[[int, int], None] = lambda done, rows: None,
) -> Cohort:
    """Prepare the cohort in `source` and write it to `out`, or go on with that where it was interrupted.

    Args:
        source: a folder that one of `readers.known.READERS` recognises, or a plain table.
        out: an empty or missing folder, or a cohort that was prepared from the same source with the same options.
        options: how.
        processes: at most so many read; the result does not depend on it.
        report: is told how many rows of how many are done.

    Raises:
        InputError: `source` is none of these, `out` is occupied, being prepared or among its patches, a table is
            missing or lacks a column, or not one image could be prepared.
    """
    if processes < 1:
        raise InputError(f"processes {processes}: expected at least 1")
    if any(out.glob("*")) and not (out / FACTS).is_file():
        raise InputError(f"{out}: exists and is not an empty folder; name an empty or missing folder")
    if any(out.resolve().is_relative_to((source / split).resolve()) for split in SPLITS):
        raise InputError(f"{out}: lies among the patches of {source}; name a folder elsewhere")
    listing = list_source(source, options)
    plan, quarantine, crossing = _one_split_a_patient(*_without_repeats(listing), options.strict)
    plan = _by_file(plan)
    known = listing.origin
    origin = {"licence": known.licence or options.licence, "citation": known.citation or options.citation}
    description = _description(listing, plan, options.deciding | origin)
    if (out / FACTS).is_file():
        return _finished(out, description)
    with continued_folder(out) as folder:
        work = Unfinished(folder, description, options.size)
        _read(plan["work"].tolist(), work, options, processes, report)
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
            "options": options.deciding,
            "counts": _counts(listing, kept, quarantine),
            "crossing": crossing,
            "remarks": listing.remarks,
            "tables": {table.path.name: table.digest for table in listing.tables},
            **origin,
            "notes": notes,
            "alike": {
                "names": alike_names(kept["patient"]),
                "patches": identical_patches(kept, work.patches()),
            },
            "preparation": work.preparation,
        }
        finish_cohort(folder, kept, listing.attributes, quarantine, options.size, facts)
        work.end()
    return Cohort.open(out)


def _without_repeats(listing: Listing) -> tuple[pd.DataFrame, list[Quarantined]]:
    """Read an image once, however often it is listed, and not at all where its labels contradict each other."""
    plan = listing.plan
    place = plan["work"].map(lambda lesion: (os.path.realpath(lesion.file), lesion.candidates, lesion.box))
    same = plan["image"].groupby(place, sort=False).transform("first").groupby(plan["image"]).transform("first")
    unclear = plan["malignant"].astype(bool).groupby(same).transform("nunique") > 1
    twice = same.duplicated() & ~unclear
    repeated = [
        quarantined(row, f"image is listed twice: {row['image']}") for row in plan[twice].to_dict("records")
    ] + [
        quarantined(row, f"labels contradict: {row['image']} is listed benign and malignant")
        for row in plan[unclear].to_dict("records")
    ]
    return plan[~twice & ~unclear].reset_index(drop=True), [*listing.quarantine, *repeated]


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
    options: Options,
    processes: int,
    report: Callable[[int, int], None],
) -> None:
    """Read what is not read yet, mammogram after mammogram."""
    done = len(work.texts)
    report(done, len(lesions))
    mammograms = [list(together) for _, together in groupby(lesions[done:], key=lambda lesion: lesion.file)]
    size_of_all = sum(_state(lesion.file)[0] for lesion in lesions[done:])
    useful = min(processes, 1 + size_of_all // BYTES_A_PROCESS)
    read = partial(read_lesions, size=options.size, margin=options.margin)
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
