"""Tables of a study of which some hospitals keep their tested patients: each hospital's numbers, and their mean.

Patients of all hospitals are in no one's hands, so that nothing is measured on all of them. What stands in its place is
the mean of random effects over hospitals (fedmammo.evaluation.random_effects), of each hospital's own number on its own
patients, with the model that an arm would give it. Hospitals that give rows have theirs from these by the same
functions.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd

from fedmammo.config.arm import ALL, KINDS, MEAN, Arm
from fedmammo.config.evaluation import EvaluationConfig
from fedmammo.evaluation.disclosure import UNTOLD
from fedmammo.evaluation.heterogeneity import (
    FEWEST_HOSPITALS,
    Covariates,
    Dealing,
    as_table,
    interval_over,
    rows_of_pair,
    why_left,
)
from fedmammo.evaluation.intervals import Interval, interval_of
from fedmammo.evaluation.metrics import Metric, metric_named
from fedmammo.evaluation.scoring import Who
from fedmammo.evaluation.subgroups import SUBGROUPS
from fedmammo.evaluation.summaries import Summary, Told, metrics_told
from fedmammo.evaluation.tables import (
    COMPARISONS,
    PAIRS,
    RESULTS,
    adjusted,
    difference_told,
    limits_shown,
)
from fedmammo.evaluation.variance import Moments, Number
from fedmammo.evaluation.verdicts import varied, verdicts_of

AT_HOME = "undefined: not all hospitals give rows of tested patients"
BINS = ["tested_at", "arm", "setting", "score_low", "score_high", "false_positive_rate", "sensitivity"]
BINS += ["predicted", "observed"]


class What(NamedTuple):
    """What a number is of: a metric of an arm, or, with `against`, a difference of two."""

    metric: str
    arm: str
    setting: str
    against: str = ""
    against_setting: str = ""
    column: str = ""
    value: str = ""


class OverHospitals(NamedTuple):
    """Tables, by the name of their file."""

    verdicts: pd.DataFrame
    results: pd.DataFrame
    comparisons: pd.DataFrame
    subgroups: pd.DataFrame
    heterogeneity: pd.DataFrame
    hospital_bins: pd.DataFrame


class Together:
    """What hospitals tell, by what it is of.

    Args:
        summaries: hospital → what it tells.
        config: names unit, primary comparison and margin.
    """

    def __init__(self, summaries: Mapping[str, Summary], config: EvaluationConfig) -> None:
        self.summaries, self.config = summaries, config
        self.numbers: dict[What, dict[str, Told]] = {}
        for name, summary in summaries.items():
            for one in summary.numbers:
                key = What(*(getattr(one, field) for field in What._fields))
                self.numbers.setdefault(key, {})[name] = one
        if not self.numbers:  # then it is said of the primary comparison why
            primary = config.primary
            self.numbers[What(primary.metric, primary.arm, primary.setting, primary.against, primary.setting)] = {}
        first = next((one for one in summaries.values() if one.patients), next(iter(summaries.values())))
        self.seeds, self.draws, self.folds, self.split = first.seeds, first.draws, first.folds, first.split

    @property
    def metrics(self) -> Sequence[Metric]:
        """The metrics of which anything is told, in their usual order."""
        return metrics_told(self.config)

    def of(self, metric: Metric, differences: bool, columns: bool = False) -> list[What]:
        """List what is told of a metric: differences or not, of subgroups or not; arms in the order of their kinds."""
        found = [
            one
            for one in self.numbers
            if one.metric == metric.name and bool(one.against) == differences and bool(one.column) == columns
        ]
        return sorted(found, key=lambda one: KINDS.index(Arm.of(one.arm).kind)) if not differences else found

    def dealing(self, what: What) -> Dealing:
        """Return the numbers of hospitals that can be told of, and why others are left out."""
        samples: dict[str, Number] = {}
        found = Dealing(self.draws[0], samples, {}, {})
        for name in self.summaries:
            found.who[name] = self.who(name, what)
            moments = self.moments(name, what)
            why = self.why_untold(name, what) if moments is None else why_left(moments)
            if why or moments is None:
                found.left[name] = why
            else:
                samples[name] = moments
        return found

    def who(self, name: str, what: What) -> Who:
        """Say who was tested at a hospital; nobody where it does not say."""
        summary = self.summaries[name]
        groups = [one for one in summary.subgroups if (one.column, one.value) == (what.column, what.value)]
        tested = groups[0] if groups else summary
        told = groups or not what.column
        return Who(tested.patients, tested.positives, 0, np.nan) if told else Who(0, 0, 0, np.nan)

    def moments(self, name: str, what: What) -> Moments | None:
        """Return a hospital's number; None where it tells none."""
        told = self.numbers.get(what, {}).get(name)
        who = self.who(name, what)
        return None if told is None else told.moments(min(who.positives, who.patients - who.positives))

    def why_untold(self, name: str, what: What) -> str:
        """Say why a hospital does not tell a number."""
        told = self.numbers.get(what, {}).get(name)
        untold = UNTOLD if self.summaries[name].minimum_count else "nobody tested"
        return self.summaries[name].note or (told.note if told else untold)

    def mean(self, what: What, kind: Metric | None = None) -> tuple[Number | None, Interval, Who]:
        """Return the mean over hospitals, its interval with a note of which kind it is, and who was tested.

        `kind`: the metric, where it is one and no difference.
        """
        dealing = self.dealing(what)
        who = [dealing.who[name] for name in dealing.samples]
        tested = Who(sum(one.patients for one in who), sum(one.positives for one in who), 0, np.nan)
        left = ", ".join(dict.fromkeys(dealing.left.values()))
        note = f"; {len(dealing.left)} left out: {left}" if dealing.left else ""
        count = len(dealing.samples)
        if count < FEWEST_HOSPITALS:
            return None, Interval(note=f"no interval: fewer than {FEWEST_HOSPITALS} hospitals{note}"), tested
        found = dealing.fit()
        number = dealing.summed(found)
        interval = interval_over(number, [found], kind.kind if kind else "number")
        which = f"random-effects mean over {count} hospitals{note}"
        said = [interval.note, which] if np.isnan(interval.low) else [which, interval.note]
        return number, interval._replace(note="; ".join(filter(None, said))), tested


def over_hospitals(
    summaries: Mapping[str, Summary], config: EvaluationConfig, distances: Covariates | None = None
) -> OverHospitals:
    """Make the tables of what hospitals tell.

    Args:
        summaries: hospital → what it tells, or why it tells nothing.
        config: names unit, primary comparison and margin.
        distances: as `fedmammo.evaluation.evaluate.OfHospitals` has them.
    """
    told = Together(summaries, config)
    comparisons = _comparisons(told)
    says = varied(len(told.seeds), len(told.draws), told.folds)
    bins = [{"tested_at": name} | one.model_dump() for name, summary in summaries.items() for one in summary.bins]
    return OverHospitals(
        verdicts_of(comparisons, config, *says),
        _results(told),
        comparisons,
        _subgroups(told),
        _heterogeneity(told, distances or {}),
        pd.DataFrame(bins, columns=BINS),
    )


def _results(told: Together) -> pd.DataFrame:
    rows: list[dict[str, object]] = []
    for metric in told.metrics:
        for what in told.of(metric, differences=False):
            about = {"arm": what.arm, "setting": what.setting, "split": told.split, "unit": metric.unit}
            about |= {"metric": metric.name, "end_to_end": "", "note": ""}
            whole = {"seed": ALL, "draw": ALL, "repeats": len(told.seeds) * len(told.draws)}
            rows.append(about | whole | {"trained_at": ALL, "tested_at": ALL, "note": AT_HOME})
            number, interval, who = told.mean(what, metric)
            rows.append(about | whole | {"trained_at": ALL, "tested_at": MEAN} | _value(number, interval, who))
            for name in told.summaries:
                place = {"trained_at": Arm.of(what.arm).model_for(name), "tested_at": name}
                rows += [about | place | row for row in _at_hospital(told, name, what, metric)]
    table = pd.DataFrame(rows, columns=RESULTS)
    repeats = {"seed": [*map(str, told.seeds), ALL], "draw": [*map(str, told.draws), ALL]}
    orders = {key: list(dict.fromkeys(table[key])) for key in ("arm", "setting")} | repeats
    ranks = [table[key].map({value: at for at, value in enumerate(values)}) for key, values in orders.items()]
    found = table.iloc[np.lexsort(ranks[::-1])].reset_index(drop=True)
    return found.astype(dict.fromkeys(("patients", "positives", "units"), "Int64"))


def _value(number: Number | None, interval: Interval, who: Who) -> dict[str, object]:
    """Return the columns of results that tell a number; without one, why."""
    row: dict[str, object] = {"note": interval.note.partition("; no p")[0]}
    if who.patients:
        row |= {"patients": who.patients, "positives": who.positives}
    if number is None:
        return row
    values, limits = number.values, {"ci_low": interval.low, "ci_high": interval.high}
    over = {"value": values.mean(), "median": float(np.median(values)), "lowest": float(values.min())}
    return row | over | limits


def _at_hospital(told: Together, name: str, what: What, metric: Metric) -> Iterator[dict[str, object]]:
    """Return a hospital's rows of results: of each repeat, then of their mean."""
    moments, who = told.moments(name, what), told.who(name, what)
    repeats = [*product(told.seeds, told.draws)]
    whole: dict[str, object] = {"seed": ALL, "draw": ALL, "repeats": len(repeats)}
    if moments is None:
        yield whole | _value(None, Interval(note=told.why_untold(name, what)), who)
        return
    tested = {"patients": who.patients, "positives": who.positives}
    for (seed, draw), value in zip(repeats, moments.values.ravel(), strict=True):
        yield {"seed": str(seed), "draw": str(draw), "repeats": 1, "value": value, **tested}
    yield whole | _value(moments, interval_of(moments, metric.kind, metric.cautious), who)


def _comparisons(told: Together) -> pd.DataFrame:
    """Differences: of all patients, which are undefined; the mean over hospitals; and of each hospital."""
    rows: list[dict[str, object]] = []
    primary = told.config.primary
    for metric in told.metrics:
        for what in told.of(metric, differences=True):
            about = {"metric": metric.name, "unit": metric.unit, "better": metric.better, "p_holm": np.nan}
            about |= {"repeats": len(told.seeds) * len(told.draws), **what._asdict()}
            role = "primary" if is_primary(told, what) and metric.name == primary.metric else "secondary"
            rows.append(about | {"role": "secondary", "tested_at": ALL, "note": AT_HOME})
            number, interval, who = told.mean(what)
            rows.append(about | {"role": role, "tested_at": MEAN} | _difference(number, interval, who))
            of_hospital = "primary at a hospital" if role == "primary" else role
            for name in told.summaries:
                moments, own = told.moments(name, what), told.who(name, what)
                found = Interval(note=told.why_untold(name, what))
                if moments is not None:
                    found = interval_of(moments, "number", metric.cautious)
                rows.append(about | {"role": of_hospital, "tested_at": name} | _difference(moments, found, own))
    table = adjusted(pd.DataFrame(rows, columns=COMPARISONS))
    return table.astype(dict.fromkeys(("patients", "positives"), "Int64"))


def _difference(number: Number | None, interval: Interval, who: Who) -> dict[str, object]:
    row: dict[str, object] = {"patients": who.patients, "positives": who.positives} if who.patients else {}
    return row | ({"note": interval.note} if number is None else difference_told(number, interval))


def is_primary(told: Together, what: What) -> bool:
    """Whether a difference is of the arms and the setting of the primary comparison."""
    primary = told.config.primary
    setting = primary.setting or next((one.setting for one in told.numbers), "")
    return what[1:] == (primary.arm, setting, primary.against, setting, "", "")


def _heterogeneity(told: Together, distances: Covariates) -> pd.DataFrame:
    """Return how differences vary between hospitals: of the primary metric and setting, the primary one first."""
    metric = metric_named(told.config.primary.metric, told.config.unit)
    pairs = told.of(metric, differences=True)
    first = [one for one in pairs if is_primary(told, one)]
    setting = first[0].setting if first else ""
    others = [
        one
        for one in pairs
        if (one.setting, one.against_setting) == (setting, setting)
        and (Arm.of(one.arm).kind, one.against) in PAIRS
        and Arm.of(one.arm).kind != "centralized"
        and one not in first
    ]
    rows: list[dict[str, object]] = []
    for what in [*first, *others]:
        dealing = told.dealing(what)
        who = [dealing.who[name] for name in dealing.samples]
        about = {name: value for name, value in what._asdict().items() if name not in ("column", "value")}
        about |= {"unit": metric.unit, "repeats": len(told.seeds) * len(told.draws)}
        about |= {"patients": sum(one.patients for one in who), "positives": sum(one.positives for one in who)}
        rows += [about | row for row in rows_of_pair([dealing], metric, distances)]
    return as_table(rows)


def _subgroups(told: Together) -> pd.DataFrame:
    """Return means over hospitals of the primary metric of each arm, and of the primary difference, by subgroup."""
    metric = metric_named(told.config.primary.metric, told.config.unit)
    found = [*told.of(metric, False, columns=True), *told.of(metric, True, columns=True)]
    rows: list[dict[str, object]] = []
    for what in sorted(found, key=lambda one: (told.config.subgroups.index(one.column), one.value)):
        number, interval, who = told.mean(what, None if what.against else metric)
        row: dict[str, object] = {"column": what.column, "value": what.value, "setting": what.setting}
        row |= {"arm": f"{what.arm} - {what.against}" if what.against else what.arm, "unit": metric.unit}
        row |= {"metric": metric.name, **limits_shown(interval)}
        row |= {"patients": who.patients, "positives": who.positives} if who.patients else {}
        rows.append(row | ({} if number is None else {"estimate": float(number.values.mean())}))
    table = pd.DataFrame(rows, columns=SUBGROUPS)
    return table.astype(dict.fromkeys(("patients", "positives", "units"), "Int64"))
