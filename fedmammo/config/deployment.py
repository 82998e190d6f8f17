"""One deployment of a study: an arm, a setting, a seed, a draw of hospitals and a fold, with the sections it uses."""

import hashlib
import json
from typing import Any

from pydantic import Field, model_validator

from fedmammo.config.arm import ALL, Arm, ArmName, Group
from fedmammo.config.privacy import Privacy
from fedmammo.config.schedule import Attendance
from fedmammo.config.schema import Section
from fedmammo.config.sections import DiagnosisConfig, FederationConfig
from fedmammo.config.setting import Setting, SettingName
from fedmammo.config.splits import Split
from fedmammo.strategies.base import BaseStrategy
from fedmammo.strategies.fedavg import FedAvg
from fedmammo.synthesis.sources import FromGan, Synthesis


class Dealing(Section):
    """How a hospital's own patients are divided into those that train, set thresholds and are tested.

    `stratified` divides benign and malignant patients alike. A study that has a setting with a budget divides without
    labels in all its settings: who trains must not depend on what is protected.
    """

    test: str = Field(description="Split whose patients are tested; without folds.")
    folds: int = Field(ge=0, description="Folds of cross-validation, or 0.")
    folds_over: tuple[Split, ...] = Field(default=(), description="Splits whose patients are dealt to folds.")
    validation_fraction: float = Field(ge=0, lt=1, description="Fraction of the training patients that set thresholds.")
    stratified: bool = Field(description="Whether labels are looked at.")
    fraction: float = Field(default=1.0, gt=0, le=1, description="Fraction of the training patients that train.")


class Deployment(Section):
    """A value that travels once, and is named by its digest from then on.

    It holds what it uses and nothing else: no path, no secret, no hospital's limits, not where hospitals compute.
    """

    arm_name: ArmName = Field(description="The arm.")
    setting_name: SettingName = Field(description="The setting.")
    group: str = Field(default=ALL, description="Where a model of all who train counts as trained.")
    members: tuple[str, ...] = Field(
        default=(), description="The hospitals that train, where an arm is one of some hospitals; none means all."
    )
    seed: int = Field(ge=0, description="Seed of the classifier, of the order of patients, and of folds.")
    draw: int = Field(ge=0, description="Seed of the draw of hospitals and of validation patients.")
    fold: int = Field(ge=0, description="Which fold is tested; 0 where there are none.")
    recipes: tuple[ArmName, ...] = Field(
        default=(), description="Of which arms an arm is made that trains nothing itself: `chosen` and `averaged`."
    )
    inner_folds: int = Field(
        default=0,
        ge=0,
        description="Into how many inner folds its training patients are dealt, each of which is left out once, scored "
        "and told of, to try the recipe; 0: none, where no arm `chosen` is.",
    )
    inner_fold: int | None = Field(
        default=None,
        ge=0,
        description="Which of them is left out, and stands in place of validation patients; none where a model is to "
        "be used.",
    )
    diagnosis: DiagnosisConfig = Field(description="The classifier, nothing overridden any more.")
    federation: FederationConfig = Field(description="Rounds and strategy, likewise.")
    privacy: Privacy | None = Field(description="How patients are protected; none without a budget.")
    schedule: tuple[Attendance, ...] = Field(default=(), description="Who is away in which rounds.")
    source: Synthesis | None = Field(description="Where synthetic images come from; none where none are used.")
    dealing: Dealing = Field(description="Who trains, sets thresholds and is tested.")
    about: tuple[str, ...] = Field(default=(), description="Columns of tested images that are asked for beside scores.")
    scored_every: int = Field(
        default=0,
        ge=0,
        description="After every how many rounds of training tested patients are scored, beside the end; 0 under a "
        "budget, where no real hospital does so.",
    )

    @model_validator(mode="after")
    def _budget_is_one_thing(self) -> "Deployment":
        """Refuse what says two things of its budget: hospitals read one here, and the other there."""
        if (self.privacy is None) != (self.setting.epsilon is None):
            raise ValueError(
                f"privacy: belongs to settings with a budget, and to no others; not so in {self.setting_name}"
            )
        if self.privacy is not None and self.privacy.secret_seed is not None:
            raise ValueError("privacy.secret_seed: hospitals have secrets of their own")
        if self.privacy is not None and self.scored_every:
            raise ValueError("scored_every: under a budget tested patients are scored in the end alone")
        if self.privacy is not None and self.dealing.stratified:
            raise ValueError("dealing.stratified: under a budget who trains does not depend on labels")
        if self.privacy is not None and self.arm.kind == "personalized":
            raise ValueError("personalized: takes no budget yet, as what is done at home is in no plan")
        if self.privacy is not None and self.inner_folds:
            raise ValueError("inner_folds: under a budget no recipe is tried on patients, as nobody counts that")
        return self

    @model_validator(mode="after")
    def _is_of_its_arm(self) -> "Deployment":
        """Refuse members where the arm is one of all hospitals, and none where it is one of some."""
        if self.arm.of_parts != bool(self.members) or self.arm.of_parts != (self.group != ALL):
            raise ValueError(f"members: belong to an arm of some hospitals, and to no other; not so in {self.arm_name}")
        if self.members and not self.arm.is_part(self.group, self.members):
            raise ValueError(f"group: the arm {self.arm_name} does not call these hospitals so")
        if self.inner_folds and self.arm.kind != "federated":
            raise ValueError("inner_folds: recipes are tried where all hospitals learn together")
        if self.inner_fold is not None and self.inner_fold >= self.inner_folds:
            raise ValueError(f"inner_fold: there is no fold {self.inner_fold} of {self.inner_folds}")
        if self.schedule and self.arm.kind != "scheduled":
            raise ValueError("schedule: belongs to the arm scheduled")
        return self

    @property
    def arm(self) -> Arm:
        """Who learns with whom."""
        return Arm.of(self.arm_name)

    @property
    def setting(self) -> Setting:
        """What is learned from, under which budget."""
        return Setting.of(self.setting_name)

    @property
    def name(self) -> str:
        """File-safe name."""
        part = f"-{self.group}" if self.members else ""
        if self.inner_fold is not None:
            part += f"-inner{self.inner_fold}"
        return f"{self.arm_name}-{self.setting_name}-seed{self.seed}-draw{self.draw}-fold{self.fold}{part}"

    def groups(self, hospitals: list[str]) -> list[Group]:
        """Return who learns with whom."""
        return [Group(self.group, self.members)] if self.members else self.arm.groups(hospitals)

    @property
    def place(self) -> dict[str, Any]:
        """Where it stands in a study's tables: arm, setting, seed, draw, fold."""
        return {
            "arm": self.arm_name,
            "setting": self.setting_name,
            "seed": self.seed,
            "draw": self.draw,
            "fold": self.fold,
        }

    def present(self, hospitals: list[str], number: int) -> list[str]:
        """Return those of these hospitals who take part in round `number` of training, as the study schedules it."""
        away = {one.hospital for one in self.schedule if not one.present(number)}
        return [name for name in hospitals if name not in away]

    @property
    def tested(self) -> str:
        """Name of the tested patients: the cohort's split, or `cross-validation`."""
        return "cross-validation" if self.dealing.folds else self.dealing.test

    @property
    def reads(self) -> str:
        """Name what the network reads of which images; features of two deployments are the same where this is."""
        network = self.diagnosis.model_dump_json(exclude={"optimizer", "patient_fraction", "label_smoothing", "loss"})
        fold = (self.seed, self.fold) if self.dealing.folds else ()
        inner = () if self.inner_fold is None else (self.seed, self.fold, self.inner_fold)
        return f"{network} {self.dealing.model_dump_json()} {self.draw} {fold} {inner}"

    @property
    def stream(self) -> tuple[int | str, ...]:
        """What its streams of ordinary randomness begin with."""
        part = (self.group,) if self.members else ()
        return self.seed, self.arm.stream, self.setting_name, self.draw, self.fold, *part

    @property
    def digest(self) -> str:
        """SHA-256 of its sections, which names it in every message after the first."""
        return _digest(self.model_dump(mode="json"))

    @property
    def study(self) -> str:
        """SHA-256 of what is done whatever the seed, draw, fold, and with whom: what a hospital's people approve."""
        return _digest(self.model_dump(mode="json", exclude={"seed", "draw", "fold", "inner_fold", "group", "members"}))

    @property
    def generator_share(self) -> float:
        """The share of the budget that the generator gets; 0 where none is private."""
        if self.privacy is None or self.setting.kind == "real" or not isinstance(self.source, FromGan):
            return 0.0
        return 1.0 if self.setting.kind == "synthetic" else self.privacy.generator_share

    @property
    def tried(self) -> list["Deployment"]:
        """Those that try its recipe on its training patients: each leaves an inner fold out."""
        return [self.model_copy(update={"inner_fold": fold}) for fold in range(self.inner_folds)]

    @property
    def trust(self) -> str:
        """Who is trusted, `local` without a budget; who learns with nobody has nobody to share the noise with."""
        if self.privacy is None:
            return "local"
        alone = not self.arm.federated or len(self.members) == 1
        return "local" if alone and self.privacy.trust == "secure" else self.privacy.trust

    @property
    def strategy(self) -> BaseStrategy:
        """How a federation combines models; a holder that trains alone gets its own back."""
        return self.federation.strategy if self.arm.federated else FedAvg()

    @property
    def gan(self) -> FromGan:
        """The source, where it is a GAN. Raises ValueError where it is none."""
        if not isinstance(self.source, FromGan):
            raise ValueError("the deployment's images do not come from a GAN")
        return self.source

    @property
    def learned_by(self) -> "Deployment":
        """The deployment whose models it uses: of an ensemble that of the local arm, else itself."""
        return self.model_copy(update={"arm_name": "local"}) if self.arm.kind == "ensemble" else self

    def without_budget(self) -> "Deployment":
        """Return the same without a budget: what trains a generator that has no part in one."""
        if self.privacy is None:
            return self
        return self.model_copy(update={"privacy": None, "setting_name": self.setting.kind})


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
