"""How a study scores its models: who is tested, of what metrics are, and the one comparison that decides."""

from typing import Literal, get_args

from pydantic import Field, field_validator

from fedmammo.config.arm import ArmName
from fedmammo.config.schema import Section
from fedmammo.config.splits import SPLITS, Split

Unit = Literal["image", "lesion", "breast", "patient"]
UNITS: tuple[Unit, ...] = get_args(Unit)
Pooling = Literal["probability", "log_odds"]
SUBGROUPS = ("density", "subtlety", "lesion_type", "view")
ASSESSMENT = "assessment"  # the reader's, a column of the cohort
IDENTITIES = ("patient", "image", "source")  # columns of the cohort that never leave it


def without_identities(columns: list[str]) -> list[str]:
    """Return columns as they are. Raises ValueError where one names patients, images or files."""
    for column in columns:
        if column in IDENTITIES:
            raise ValueError(f"{column} names patients or their files, which stay in the cohort; leave it out")
    return columns


def scored_rounds(every: int, rounds: int) -> range:
    """Return after which rounds of training tested patients are scored, but for the last, where they always are."""
    return range(every, rounds, every) if every else range(0)


class Primary(Section):
    """The one comparison that a study is made for; every other is secondary, and says so."""

    metric: Literal["auroc", "partial_auroc", "auprc", "sensitivity_at_90_specificity"] = Field(
        default="auroc", description="What is compared, of `evaluation.unit`."
    )
    arm: ArmName = Field(default="federated", description="The arm that ought to be better.")
    against: ArmName = Field(default="local", description="The arm that it is compared with.")
    setting: str = Field(default="", description="In which setting; without, the study's first.")
    margin: float = Field(
        default=0.05,
        gt=0,
        lt=1,
        description="The largest loss that would not matter: non-inferior is whose interval lies above minus it.",
    )


class EvaluationConfig(Section):
    """How models are scored."""

    test: str = Field(default="test", description="Split of the cohort whose patients are tested on.")
    folds: int = Field(
        default=0,
        ge=0,
        description="With 2 or more: k-fold cross-validation over the patients of `folds_over`, instead of `test`.",
    )
    folds_over: list[Split] | None = Field(
        default=None,
        min_length=1,
        description="Splits whose patients are dealt to folds, if there are any; without, all but `test`.",
    )
    inner_folds: int = Field(
        default=5,
        ge=2,
        description="Into so many inner folds the arm `chosen` deals the training patients, and tries each recipe on "
        "each of them by a model that learned from the others.",
    )
    unit: Unit = Field(
        default="lesion",
        description="Of what metrics are: `image`; `lesion`, `breast` or `patient`, whose images' scores are averaged.",
    )
    pooling: Pooling = Field(
        default="probability",
        description="How a unit's score is made of its images': the mean of probabilities, or of log odds, in which "
        "an image of which a model is too sure counts for less.",
    )
    primary: Primary = Field(default_factory=Primary, description="The comparison that decides.")
    prevalence: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Malignant share of those whom the model would see in use, for recall rate, PPV, NPV and net "
        "benefit; without, net benefit is at the share of the tested, and the others are left out.",
    )
    thresholds: list[float] = Field(
        default=[0.02, 0.05, 0.1, 0.2, 0.3, 0.5],
        min_length=1,
        description="Probabilities of malignancy from which on one would act, for the decision curve.",
    )
    every: int = Field(
        default=0,
        ge=0,
        description="Score tested patients after every so many rounds of training too, for curves, never to select; 0: "
        "in the end alone. Under a budget real hospitals refuse all but 0.",
    )
    subgroups: list[str] = Field(
        default=list(SUBGROUPS),
        description="Columns of the cohort by whose values lesions are told apart, or images by `view`.",
    )

    @field_validator("subgroups")
    @classmethod
    def _name_nobody(cls, value: list[str]) -> list[str]:
        return without_identities(value)

    @property
    def columns(self) -> tuple[str, ...]:
        """What a study asks for beside scores: its subgroups, and the reader's assessment."""
        return tuple(dict.fromkeys([*self.subgroups, ASSESSMENT]))

    @property
    def splits_of_folds(self) -> list[Split]:
        """The splits whose patients are dealt to folds, in their usual order; none without folds."""
        chosen = [split for split in SPLITS if split != self.test] if self.folds_over is None else self.folds_over
        return [split for split in SPLITS if self.folds and split in chosen]

    @field_validator("folds")
    @classmethod
    def _not_one(cls, value: int) -> int:
        if value == 1:
            raise ValueError("0 (no folds) or at least 2")
        return value

    @field_validator("thresholds")
    @classmethod
    def _are_probabilities(cls, value: list[float]) -> list[float]:
        if not all(0 < threshold < 1 for threshold in value):
            raise ValueError("probabilities between 0 and 1")
        return value
