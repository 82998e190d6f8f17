"""Commands that prepare and show cohorts."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fedmammo.cli.arguments import Interrupted
from fedmammo.errors import InputError

data = typer.Typer(
    no_args_is_help=True, help="Prepare and look at cohorts.", epilog="Example: fedmammo data show demo/cohort"
)


@data.command(epilog="Example: fedmammo data prepare /data/CBIS-DDSM cohort --csv /data/CBIS-DDSM/csv")
def prepare(
    source: Annotated[
        Path, typer.Argument(help="A public data set, a folder of patches or of classes, or a table (.csv, .parquet).")
    ],
    out: Annotated[Path, typer.Argument(help="Folder of the prepared cohort; new or empty.")],
    csv: Annotated[Path | None, typer.Option(help="Folder of the case descriptions, if not in SOURCE.")] = None,
    size: Annotated[int, typer.Option(min=1, max=4096, help="Side of a patch in pixels.")] = 128,
    margin: Annotated[float, typer.Option(min=0, max=10, help="Around a lesion, as a share of its side.")] = 0.2,
    strict: Annotated[
        bool, typer.Option(help="A patient in train and test goes to test as a whole, or leaves train to quarantine.")
    ] = True,
    licence: Annotated[str | None, typer.Option(help="Licence of your own images, for the cohort card.")] = None,
    citation: Annotated[str | None, typer.Option(help="Citation of your own images, for the cohort card.")] = None,
    patient: Annotated[
        str | None,
        typer.Option(metavar="PATTERN", help="Finds the patient in an image's name, where folders name classes."),
    ] = None,
    processes: Annotated[int, typer.Option(min=1, help="Processes that read.")] = os.cpu_count() or 1,
) -> None:
    """Turn mammograms into a cohort: patches, a manifest, and what could not be read with its reason.

    The same command continues a preparation that was interrupted.
    """
    from fedmammo.cohort.options import Options
    from fedmammo.cohort.prepare import prepare as prepare_cohort
    from fedmammo.report import terminal

    try:
        with terminal.counting(f"preparing {source}") as report:
            options = Options(csv, size, margin, strict, licence, citation, patient)
            cohort = prepare_cohort(source, out, options, processes, report)
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted; {out}.unfinished keeps what was read, the same command continues") from None
    terminal.cohort(cohort)


@data.command(epilog="Example: fedmammo data join cohort north=cohorts/north south=cohorts/south")
def join(
    out: Annotated[Path, typer.Argument(help="Folder of the joined cohort; new or empty.")],
    cohorts: Annotated[list[str], typer.Argument(metavar="NAME=COHORT...", help="Prepared cohorts, by hospital.")],
) -> None:
    """Join the cohorts of several hospitals into one, with a column `hospital`."""
    from fedmammo.cohort.join import join as join_cohorts
    from fedmammo.report import terminal

    named = dict(cohort.partition("=")[::2] for cohort in cohorts)
    if len(named) < len(cohorts) or not all(named.values()):
        raise InputError(f"{' '.join(cohorts)}: expected NAME=COHORT, every name once")
    with terminal.working(f"joining {len(named)} cohorts"):
        cohort = join_cohorts(out, {name: Path(folder) for name, folder in named.items()})
    terminal.cohort(cohort)


class PhantomLesions(StrEnum):
    """What `data phantom` draws."""

    MASS = "mass"
    CALCIFICATION = "calcification"
    BOTH = "both"


@data.command(epilog="Example: fedmammo data phantom tree --patients 100 --seed 1")
def phantom(
    out: Annotated[Path, typer.Argument(help="Folder of the tree; new or empty.")],
    patients: Annotated[int, typer.Option(min=1, help="Number of patients.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Seed: the same seed draws the same patients.")] = 0,
    difficulty: Annotated[float, typer.Option(min=0, max=1, help="0 is easy, 1 is hard.")] = 0.5,
    lesions: Annotated[PhantomLesions, typer.Option(help="Kinds of lesions.")] = PhantomLesions.MASS,
    processes: Annotated[int, typer.Option(min=1, help="Processes that draw.")] = os.cpu_count() or 1,
) -> None:
    """Draw patients by rule, and write them as a classic TCIA tree: DICOM files, masks, crops and CSVs."""
    from fedmammo.phantom.patients import LESIONS
    from fedmammo.phantom.tree import write_tree
    from fedmammo.report import terminal

    kinds = LESIONS if lesions is PhantomLesions.BOTH else (lesions.value,)
    with terminal.working(f"drawing {patients} patients") as show:
        write_tree(
            out, patients, seed, difficulty, kinds, processes, lambda done: show(f"drew {done} of {patients} patients")
        )
    typer.echo(f"{out}: {patients} drawn patients; next: fedmammo data prepare {out} COHORT")


@data.command(epilog="Example: fedmammo data show cohort")
def show(folder: Annotated[Path, typer.Argument(metavar="COHORT", help="Folder of a prepared cohort.")]) -> None:
    """Show how many patients and images a cohort holds, of what kind, and what is in quarantine."""
    from fedmammo.cohort.store import Cohort
    from fedmammo.report import terminal

    terminal.cohort(Cohort.open(folder))
