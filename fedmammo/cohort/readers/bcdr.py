"""Lists the lesions of BCDR, the Breast Cancer Digital Repository: one of its sets (BCDR-F01, D01, ...), or several.

bcdr_<set>_outlines.csv, one row per outline, beside patient_<p>/study_<s>/img_....tif. Cells may have spaces around
them, and density may be NaN. Outlines are pixels, counted from the top left. As far as is known a patient has the same
number in all sets, as they come from one repository: if not, two patients count as one, and nobody is tested on whom a
model was trained.
"""

from collections import Counter
from functools import partial
from pathlib import Path

from fedmammo.cohort.options import Options
from fedmammo.cohort.quarantine import Quarantined, Row
from fedmammo.cohort.readers.fields import FIELDS, gap, name, number, whole_number, word
from fedmammo.cohort.readers.lesion_rows import Columns, box_around, find_columns, lesion_row, walk
from fedmammo.cohort.readers.listing import NO_SPLIT, Listing, Origin, as_plan
from fedmammo.cohort.readers.places import below, printable
from fedmammo.cohort.readers.tables import read_table

ORIGIN = Origin(
    "not published; research, given on registration",
    "Guevara Lopez MA, Posada N, Moura DC, Ramos Pollan R, Franco Valiente JM, Suarez Ortega C, et al. (2012): BCDR: A "
    "breast cancer digital repository. 15th International Conference on Experimental Mechanics, Porto.",
)
_TABLES = "bcdr_*_outlines.csv"
_VIEWS = {1: ("RIGHT", "CC"), 2: ("LEFT", "CC"), 3: ("RIGHT", "MLO"), 4: ("LEFT", "MLO")}
"""Larger numbers are other views."""


def _numbers(text: str) -> list[float]:
    return [number(part) for part in text.split()]


_FLAG = gap(whole_number(0, 1))
_KINDS = {"nodule": "mass", "calcification": "calcification", "microcalcification": "calcification"}
_COLUMNS: Columns = {
    "patient": ("patient_id", name),
    "image_view": ("image_view", whole_number(1, 99)),
    "image": ("image_filename", name),
    "xs": ("lw_x_points", _numbers),
    "ys": ("lw_y_points", _numbers),
    "density": ("density", gap(FIELDS["density"])),
    "classification": ("classification", word("BENIGN", "MALIGN", "MALIGNANT")),
    **{kind: (f"mammography_{kind}", _FLAG) for kind in _KINDS},
}


def recognises_bcdr(source: Path) -> bool:
    """Whether `source` is a set of BCDR, or a folder of such sets."""
    return bool(_outlines(source))


def list_bcdr(source: Path, options: Options) -> Listing:
    """List every outline; raises InputError where a table cannot be read or lacks a column."""
    planned: list[Row] = []
    quarantine: list[Quarantined] = []
    rows: Counter[str] = Counter()
    tables = [read_table(path) for path in _outlines(source)]
    for table in tables:
        columns = find_columns(table, _COLUMNS, may_be_missing=("density", *_KINDS))
        walked = walk(table, columns, partial(_lesions, source, table.path.parent))
        planned += walked.planned
        quarantine += walked.quarantine
        rows[table.path.name] += walked.listed
    return Listing("BCDR folder", as_plan(planned), dict(rows), quarantine, tables, remarks=[NO_SPLIT], origin=ORIGIN)


def _outlines(source: Path) -> list[Path]:
    return sorted(path for pattern in (_TABLES, f"*/{_TABLES}") for path in source.glob(pattern))


def _lesions(source: Path, folder: Path, row: Row) -> list[Row]:
    file = below(folder, row["image"])
    side, view = _VIEWS.get(row["image_view"], (None, None))
    kinds = dict.fromkeys(found for kind, found in _KINDS.items() if row.get(kind))
    outline = box_around(row["xs"], row["ys"])
    known = {"patient": row["patient"], "side": side, "view": view, "density": row.get("density")}
    known["lesion"] = ", ".join(kinds) or None
    return [lesion_row(printable(file, source), file, row["classification"] != "BENIGN", outline, **known)]
