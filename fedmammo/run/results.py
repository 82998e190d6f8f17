"""The tables of a run as pandas DataFrames, each column of the type that its file means."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from pathlib import Path

import pandas as pd

from fedmammo.config.arm import ALL, MEAN
from fedmammo.config.setting import Setting
from fedmammo.config.study import StudyConfig
from fedmammo.errors import InputError
from fedmammo.run.dictionary import TABLES

FINISHED = ".finished"  # in a run's folder, while its tables are of all that its config.yaml asks for
HELD = (
    *(name for share in ("share", "prevalence", "density_1", "density_2", "density_3", "density_4", "masses")
      for name in (share, f"{share}_asked")), "label_distance", "density_distance",
)  # fmt: skip
# What is not listed is text, hospitals that are called `None` or `007` among it.
WHOLE = "Int64"  # whole, or empty where a hospital does not say
NUMBERS: dict[str, Mapping[str, type | str]] = {
    "verdicts": dict.fromkeys(("difference", "ci_low", "ci_high", "p", "p_holm", "margin", "patients_needed"), float)
    | dict.fromkeys(("patients", "positives"), WHOLE),
    "results": dict.fromkeys(
        ("value", "ci_low", "ci_high", "median", "lowest", "prevalence", "epsilon", "delta"), float
    )
    | {"repeats": int}
    | dict.fromkeys(("patients", "positives", "units"), WHOLE),
    "comparisons": dict.fromkeys(("difference", "ci_low", "ci_high", "at_least", "error", "of_repeats"), float)
    | dict.fromkeys(("p", "p_holm", "median", "q05", "lowest"), float)
    | {"repeats": int}
    | dict.fromkeys(("patients", "positives"), WHOLE),
    "subgroups": dict.fromkeys(("estimate", "ci_low", "ci_high"), float)
    | dict.fromkeys(("patients", "positives", "units"), WHOLE),
    "heterogeneity": dict.fromkeys(
        ("estimate", "ci_low", "ci_high", "p", "weight", "tau", "i2", "q", "hospitals", "left_out"), float
    )
    | {"repeats": int}
    | dict.fromkeys(("patients", "positives"), WHOLE),
    "hospital_bins": dict.fromkeys(
        ("score_low", "score_high", "false_positive_rate", "sensitivity", "predicted", "observed"), float
    ),
    "tested": dict.fromkeys(("minimum_count", "patients", "positives"), WHOLE),
    "values": dict.fromkeys(("value", "ci_low", "ci_high", "p", "p_holm", "whole"), float)
    | dict.fromkeys(("patients", "positives", "repeats"), int),
    "learning_curve": dict.fromkeys(
        ("size", "value", "ci_low", "ci_high", "models", "limit", "loss", "rate"),
        float,
    )
    | dict.fromkeys(("patients", "positives", "repeats"), int),
    "roc": dict.fromkeys(("false_positive_rate", "sensitivity", "ci_low", "ci_high"), float)
    | dict.fromkeys(("patients", "positives"), int),
    "precision_recall": dict.fromkeys(("recall", "precision", "ci_low", "ci_high"), float)
    | dict.fromkeys(("patients", "positives"), int),
    "calibration": dict.fromkeys(("bin_low", "bin_high", "predicted", "observed", "ci_low", "ci_high"), float)
    | dict.fromkeys(("units", "patients", "positives"), int),
    "decision_curve": dict.fromkeys(
        ("threshold", "prevalence", "net_benefit", "ci_low", "ci_high", "treat_all", "treat_none"), float
    )
    | dict.fromkeys(("patients", "positives"), int),
    "choices": dict.fromkeys(("seed", "draw", "fold", "chosen"), int) | {"value": float},
    "curves": {"round": int} | dict.fromkeys(("value", "ci_low", "ci_high"), float),
    "flow": dict.fromkeys(("patients", "images", "malignant"), float),
    "holdings": {"draw": int}
    | dict.fromkeys(("patients", "images", "benign", "malignant", "unknown_density"), int)
    | dict.fromkeys(HELD, float),
    "published": dict.fromkeys(("value", "sd"), float) | {"images": int},
    "synthetic/pools": {"images": int},
    "synthetic/quality": dict.fromkeys(("value", "sd", "real_to_real", "real_to_real_sd"), float) | {"images": int},
    "costs": dict.fromkeys(("rounds", "missed", "simulated_hours", "megabytes_up", "megabytes_down"), float),
    "guarantees": dict.fromkeys(("epsilon", "delta", "best_attack", "epsilon_exchanged", "patients"), float),
    "privacy": dict.fromkeys(("releases", "steps"), int)
    | dict.fromkeys(("epsilon", "delta", "epsilon_at_1e-6", "noise_multiplier", "clipping_norm", "rate"), float),
    "privacy-audit": dict.fromkeys(("value", "ci_low", "ci_high", "ceiling", "claimed"), float),
    "predictions": dict.fromkeys(("seed", "draw", "fold", "label"), int) | {"score": float},
    "rounds": dict.fromkeys(("seed", "draw", "fold", "round", "bytes_up", "bytes_down"), int)
    | dict.fromkeys(("simulated_seconds", "loss", "epsilon_spent", "patients"), float),
}


@dataclass(frozen=True)
class Run:
    """What a run left behind; docs/running.md lists the files.

    A table is read when it is first asked for. Asking raises InputError where the run has not come as far, or where
    the file is damaged. Text that is not there is empty, a number that is not there is NaN.

    Attributes:
        folder: of the run.
        study: what was run, all defaults filled in.
    """

    folder: Path
    study: StudyConfig = field(repr=False)

    @cached_property
    def verdicts(self) -> pd.DataFrame:
        """What the primary comparison says for all patients and at each hospital, in one sentence each."""
        return self._read("verdicts")

    @cached_property
    def results(self) -> pd.DataFrame:
        """What each model scores: a row for each arm, setting, seed, draw of hospitals, model, place and metric.

        `seed` and `draw` are text, since `all` is one of their values: the mean, with its 95 % interval.
        """
        return self._read("results")

    @cached_property
    def comparisons(self) -> pd.DataFrame:
        """`arm` in `setting` minus `against` in `against_setting`, paired, with 95 % interval and two-sided p."""
        return self._read("comparisons")

    @cached_property
    def subgroups(self) -> pd.DataFrame:
        """The primary metric of each arm, and the primary difference, by the values of columns of the cohort."""
        return self._read("subgroups")

    @cached_property
    def heterogeneity(self) -> pd.DataFrame:
        """How a difference of arms varies between hospitals: each one's, the mean, what a new one may expect."""
        return self._read("heterogeneity")

    @cached_property
    def values(self) -> pd.DataFrame:
        """What each hospital's joining is worth to all, and to each other one."""
        return self._read("values")

    @cached_property
    def learning_curve(self) -> pd.DataFrame:
        """The primary metric by how many hospitals, or patients, were learned from, and a law beyond what was seen."""
        return self._read("learning_curve")

    @cached_property
    def tested(self) -> pd.DataFrame:
        """How each hospital tells of its tested patients; only where not all give rows of them."""
        return self._read("tested")

    @cached_property
    def hospital_bins(self) -> pd.DataFrame:
        """Scores of hospitals that keep their tested patients, in bins: points of ROC curves, and calibration."""
        return self._read("hospital_bins")

    @cached_property
    def roc(self) -> pd.DataFrame:
        """Sensitivity of each arm at false positive rates from 0 to 1."""
        return self._read("roc")

    @cached_property
    def precision_recall(self) -> pd.DataFrame:
        """Precision of each arm among the tested units at recalls up to 1."""
        return self._read("precision_recall")

    @cached_property
    def calibration(self) -> pd.DataFrame:
        """Mean score and malignant share of each arm's units in ten bins of the score."""
        return self._read("calibration")

    @cached_property
    def decision_curve(self) -> pd.DataFrame:
        """Net benefit of each arm at thresholds of probability, beside acting on everybody and on nobody."""
        return self._read("decision_curve")

    @cached_property
    def curves(self) -> pd.DataFrame:
        """The primary metric on all tested patients, by the models as they were after every `evaluation.every` rounds.

        `seed` and `draw` as in `results`. Asking raises InputError where the study has `evaluation.every: 0`.
        """
        if not self.study.evaluation.every:
            raise InputError(f"{self.folder}: the run has no curves; its study says evaluation.every: 0")
        return self._read("curves")

    @cached_property
    def choices(self) -> pd.DataFrame:
        """How each federated variant did in inner folds, and which the arm `chosen` took.

        Asking raises InputError where the study has no such arm.
        """
        if "chosen" not in self.study.arms:
            raise InputError(f"{self.folder}: nothing was chosen; its study has no arm chosen")
        return self._read("choices")

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """A score in [0, 1] for every model and tested or validation image, by pseudonym; `label` 1 is malignant."""
        return self._read("predictions")

    @cached_property
    def rounds(self) -> pd.DataFrame:
        """Each hospital's part in each round of each stage: status, simulated seconds, bytes, loss, epsilon spent."""
        return self._read("rounds")

    @cached_property
    def costs(self) -> pd.DataFrame:
        """What a deployment of each arm and setting costs each hospital: rounds, simulated hours, megabytes."""
        return self._read("costs")

    @cached_property
    def guarantees(self) -> pd.DataFrame:
        """What each arm and setting promises the patients whom it learned from, against whom, and in a sentence."""
        return self._read("guarantees")

    @cached_property
    def privacy(self) -> pd.DataFrame:
        """What each hospital spent in each stage, and in all deployments together.

        Asking raises InputError where no setting of the study has a budget.
        """
        if all(Setting.of(name).epsilon is None for name in self.study.settings):
            raise InputError(f"{self.folder}: the run spent nothing; none of its settings has a budget of privacy")
        return self._read("privacy")

    @cached_property
    def privacy_audit(self) -> pd.DataFrame:
        """What attacks found, each beside what was claimed. Asking raises InputError where nobody attacked."""
        if not self.has("privacy-audit"):
            raise InputError(f"{self.folder}: was not attacked; fedmammo privacy audit {self.folder} attacks")
        return self._read("privacy-audit")

    @cached_property
    def flow(self) -> pd.DataFrame:
        """Where patients went: listed, quarantined, prepared, by split and hospital, who trained and was tested."""
        return self._read("flow")

    @cached_property
    def holdings(self) -> pd.DataFrame:
        """What each hospital holds in each draw and split, and how far it is from all hospitals together."""
        return self._read("holdings")

    @cached_property
    def published(self) -> pd.DataFrame:
        """What others published, to be shown beside studies with a budget."""
        return self._read("published")

    @cached_property
    def pools(self) -> pd.DataFrame:
        """Who holds which pool of synthetic images, and what holds for patients whom its generators learned from."""
        return self._read("synthetic/pools")

    @cached_property
    def quality(self) -> pd.DataFrame:
        """How good each pool's images are, beside the same measures of real ones."""
        return self._read("synthetic/quality")

    @property
    def together(self) -> str:
        """Where numbers of all hospitals stand: `all`, or `mean over hospitals` where not all give rows."""
        return MEAN if self.has("tested") else ALL

    @property
    def finished(self) -> bool:
        """Whether the tables are of all that the study asks for: not of a part, nor of what it was before it grew."""
        return (self.folder / FINISHED).exists()

    def check_finished(self) -> None:
        """Raise InputError where the run is not finished."""
        if not self.finished:
            raise InputError(
                f"{self.folder}: is not finished, or changed since; fedmammo run, with its study and --out, finishes it"
            )

    def has(self, table: str) -> bool:
        """Whether the run has left a table, such as `curves`."""
        return (self.folder / f"{table}.csv").exists()

    def _read(self, table: str) -> pd.DataFrame:
        path, numbers = self.folder / f"{table}.csv", NUMBERS[table]
        if not path.exists():
            raise InputError(
                f"{self.folder}: the run has no {path.name} yet; run its study again, with the same folder"
            )
        try:
            content = path.read_bytes()
            if not content.endswith(b"\n"):  # its last number may have lost digits
                raise ValueError("its end is missing")
            columns = content[: content.index(b"\n")].decode().split(",")
            known = numbers if table == "predictions" else TABLES[f"{table}.csv"]  # predictions tell what sites tell
            if missing := {*numbers, *known} - set(columns):
                raise ValueError(f"no column {min(missing)}")
            kinds = {**dict.fromkeys(columns, str), **numbers}
            empty = {column: [""] for column, kind in numbers.items() if kind in (float, WHOLE)}
            return pd.read_csv(BytesIO(content), dtype=kinds, keep_default_na=False, na_values=empty)
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"{path}: is damaged ({reason}); run its study again, with the same folder") from error
