"""Prepares a cohort: finds out what a source is, reads it, and leaves the rest of the house one form to work with."""

from pathlib import Path

from fedmammo.cohort.case_descriptions import read_case_descriptions
from fedmammo.cohort.patch_folder import PatchFolder
from fedmammo.cohort.quarantine import quarantined
from fedmammo.cohort.store import Cohort, hold_back_crossing, write_cohort
from fedmammo.cohort.tcia import TciaTree
from fedmammo.errors import InputError

_READERS: tuple[type[PatchFolder] | type[TciaTree], ...] = (PatchFolder, TciaTree)


def prepare(source: Path, out: Path, csv: Path | None = None, size: int = 128) -> Cohort:
    """Prepare the cohort in `source` and write it to `out`.

    Args:
        source: a folder of patches in the reference's layout, or a classic TCIA tree.
        out: an empty or missing folder.
        csv: the folder of the case descriptions; `source` itself where None.
        size: side of a patch in pixels.

    Raises:
        InputError: `source` is neither, `out` is not empty, the case descriptions are missing or lack a column, or
            not one image could be prepared. Nothing is written then.
    """
    if size < 1:
        raise InputError(f"size {size}: expected at least 1 pixel")
    if not source.is_dir():
        raise InputError(f"{source}: no such folder; name the folder that holds the images")
    reader_class = next((reader for reader in _READERS if reader.recognises(source)), None)
    if reader_class is None:
        raise InputError(
            f"{source}: expected a folder of patches (train|val|test/is_benign_true|false/) or a classic TCIA tree "
            "(Mass-Training_P_..., Calc-Test_P_... folders); name the folder that directly holds them"
        )
    descriptions, quarantine = read_case_descriptions(csv or source)
    reader = reader_class(source, descriptions)
    twice = reader.plan["image"].duplicated()
    repeated = [
        quarantined(row, f"image is listed twice: {row['image']}") for row in reader.plan[twice].to_dict("records")
    ]
    plan, held_back = hold_back_crossing(reader.plan[~twice])
    write_cohort(
        out,
        plan,
        [*quarantine, *reader.quarantine, *repeated, *held_back],
        lambda row: reader.read(row, size),
        size,
        lambda: {"source": reader.kind, "notes": reader.notes},
    )
    return Cohort.open(out)
