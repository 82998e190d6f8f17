"""Whether the intervals of drawn curves cover: ROC, precision and recall, and the bins of a calibration curve.

Simulated as in benchmarks/coverage.py, `still` repeats, through this software's own functions; scores are tested at
once or dealt to folds, whose curves are never mixed. Known truth: a population of 400 000 patients. An interval that
is refused where a share happens to be 0 or 1 leaves a selection behind, so beside what intervals cover where they are
shown stands how many of all data sets show one that misses.

Prints a line for each kind of curve, and writes a row for each design and point to results/curves.csv.

    python benchmarks/curves.py [data sets, 1000] [processes, 2]
"""

import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache, partial
from typing import NamedTuple
from zlib import crc32

import numpy as np
import pandas as pd
from common import RESULTS
from coverage import CUT, Data, draw
from coverage import Design as Repeated

from fedmammo.evaluation import calibration, ranking
from fedmammo.evaluation.curves import FEWEST_IN_BIN, RATES, RECALLS
from fedmammo.evaluation.intervals import interval_of
from fedmammo.evaluation.tested import Measures, Tested, UndefinedError
from fedmammo.evaluation.variance import Sample

CURVES: dict[str, tuple[Measures, tuple[float, ...]]] = {
    "roc": (partial(ranking.sensitivities, rates=RATES), RATES),
    "precision and recall": (partial(ranking.precisions, recalls=RECALLS), RECALLS),
}
BINS = "bins of calibration"
OFTEN = 0.8  # of data sets: designs whose intervals are hardly selected


class Design(NamedTuple):
    """What is simulated: so many models of everybody, tested in folds."""

    patients: int
    prevalence: float
    repeats: int = 1
    folds: int = 1

    @property
    def drawn(self) -> Repeated:
        """The same, for `draw`."""
        return Repeated(self.patients, self.repeats, "still", prevalence=self.prevalence)


def designs() -> Iterator[Design]:
    """List them."""
    for prevalence in (0.25, 0.5):
        for patients in (40, 102, 340, 680):
            yield from (Design(patients, prevalence, repeats) for repeats in (1, 3))
            yield from (Design(patients, prevalence, 1, folds) for folds in (5, 10) if patients / folds > 20)


def samples(data: Data, design: Design, measures: Measures) -> list[Sample]:
    """Measure one arm in every repeat, at every point."""
    lesions, found = len(data.label), []
    cuts = np.full(lesions, CUT)
    for score in data.score[0]:
        found.append(measures(Tested(data.label, score, data.patient, data.patient % design.folds, cuts, cuts, cuts)))
    own = [data.label == kind for kind in (0, 1)]
    has = np.stack([np.bincount(data.patient[of], minlength=design.patients) > 0 for of in own])
    made = []
    for point in zip(*found, strict=True):
        parts = [
            [np.bincount(data.patient[of], one.influence[of], design.patients) for of in own] for one in point
        ]  # repeats, classes, patients
        values = np.array([[one.value] for one in point])
        made.append(Sample(values, np.array(parts)[:, None], has, int(has.sum(axis=1).min())))
    return made


def shares(data: Data, design: Design) -> Iterator[tuple[str, float, Sample | None]]:
    """Yield each curve's points with what is measured there; of a bin that is too empty for an interval nothing."""
    for name, (measures, points) in CURVES.items():
        yield from ((name, *point) for point in zip(points, samples(data, design, measures), strict=True))
    for number in range(calibration.BINS if design.folds == 1 else 0):
        inside, ill, _, patients, _ = samples(data, design, partial(calibration.in_bin, number=number))
        enough = patients.values.mean() >= FEWEST_IN_BIN
        yield BINS, number / calibration.BINS, ill / inside if enough else None


@lru_cache
def truth_of(prevalence: float) -> dict[tuple[str, float], float]:
    """Return the values in the population."""
    design = Design(400_000, prevalence)
    data = draw(design.drawn, np.random.default_rng(1))
    return {(name, point): float(one.values.item()) for name, point, one in shares(data, design) if one is not None}


def simulate(design: Design, sets: int) -> pd.DataFrame:
    """Run a design; returns a row for each point of each curve."""
    generator, rows, truth = np.random.default_rng(crc32(repr(design).encode())), [], truth_of(design.prevalence)
    for _ in range(sets):
        data = draw(design.drawn, generator)
        try:
            for name, point, one in shares(data, design):
                interval = None if one is None else interval_of(one, "share")
                shown = interval is not None and not np.isnan(interval.low)
                covers = shown and interval.low <= truth[name, point] <= interval.high
                rows.append((name, point, shown, shown and not covers))
        except UndefinedError:
            continue
    table = pd.DataFrame(rows, columns=["curve", "point", "shown", "misses"])
    found = table.groupby(["curve", "point"], sort=False).mean().reset_index()
    return found.assign(covers=1 - found["misses"] / found["shown"].replace(0, np.nan), **design._asdict())


def main() -> None:
    """Run all designs."""
    sets, processes = (int(word) for word in (*sys.argv[1:], *("1000", "2")[len(sys.argv) - 1 :]))
    with ProcessPoolExecutor(processes) as pool:
        table = pd.concat(pool.map(simulate, every := [*designs()], [sets] * len(every)))
    RESULTS.mkdir(exist_ok=True)
    table.to_csv(RESULTS / "curves.csv", index=False, float_format="%.4f")
    for name, rows in table.groupby("curve"):
        often, different = rows[rows["shown"] > OFTEN], len(rows[[*Design._fields]].drop_duplicates())
        print(
            f"{name}: {different} designs; at {len(often)} points with an interval in {OFTEN:.0%} of data sets they "
            f"cover {often['covers'].min():.3f} to {often['covers'].max():.3f}, {often['covers'].mean():.3f} on "
            f"average; at {len(rows)} points an interval that misses is shown in at most {rows['misses'].max():.3f}"
        )


if __name__ == "__main__":
    main()
