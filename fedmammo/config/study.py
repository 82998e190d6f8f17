"""The study's schema: what a YAML file may say, checked before anything runs.

Every field carries its description; `fedmammo schema` prints them all as JSON schema.
"""

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import ConfigDict, Field, ValidationError, field_validator, model_validator

from fedmammo.config.about import About
from fedmammo.config.arm import ABOUT, ALL, ARMS, KINDS, Arm, ArmName, Group
from fedmammo.config.arms import check_arms, recipes
from fedmammo.config.at_sites import check_place, is_at_sites, keys_of
from fedmammo.config.deployment import Dealing, Deployment
from fedmammo.config.evaluation import EvaluationConfig
from fedmammo.config.faults import Fault
from fedmammo.config.privacy import Privacy
from fedmammo.config.reading import add_to_schema, fill_in, first_fault, read_yaml, set_key
from fedmammo.config.schema import Section
from fedmammo.config.sections import (
    CohortConfig,
    DiagnosisConfig,
    EngineConfig,
    FederationConfig,
    HospitalsConfig,
)
from fedmammo.config.seeds import different_seeds, list_of_seeds
from fedmammo.config.setting import WITHOUT_IMAGES, Setting, SettingName
from fedmammo.config.variants import expand
from fedmammo.config.weights import NO_FILE, name_of_weights
from fedmammo.disk.yaml import value_of
from fedmammo.errors import InputError
from fedmammo.hospitals.profiles import names_of
from fedmammo.synthesis.sources import SOURCES, FromFolder, FromGan, Synthesis

OVERRIDDEN = ("diagnosis", "federation", "privacy")  # sections in which arms and settings may differ, beside
FRACTION = "cohort.fraction"


class Repeat(NamedTuple):
    """One of the repetitions of an arm and setting."""

    seed: int
    draw: int
    fold: int


class StudyConfig(Section):
    """A study: arms x settings x seeds, all walking the same path."""

    model_config = ConfigDict(json_schema_extra=add_to_schema)

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]+$", description="Name of the study, and of its folder.")
    cohort: CohortConfig = Field(default_factory=CohortConfig, description="The patients.")
    hospitals: HospitalsConfig = Field(description="Who holds which patients.")
    diagnosis: DiagnosisConfig = Field(description="The classifier.")
    federation: FederationConfig = Field(description="Rounds and strategy.")
    engine: EngineConfig = Field(default_factory=EngineConfig, description="Where hospitals compute.")
    evaluation: EvaluationConfig = Field(default_factory=EvaluationConfig, description="How models are scored.")
    arms: dict[ArmName, dict[str, Any]] = Field(
        default={arm: {} for arm in ARMS},
        description="Arms to run, as a list, or with overrides of diagnosis, federation, privacy and cohort.fraction: "
        "`federated: {diagnosis.optimizer.learning_rate: .01}`. "
        + "; ".join(f"`{kind}`, {about}" for kind, about in ABOUT.items())
        + ". With a suffix, such as `federated-slow`, a variant.",
    )
    synthesis: Synthesis | None = Field(
        default=None, description="Where synthetic images come from; every setting but `real` needs it."
    )
    privacy: Privacy = Field(default_factory=Privacy, description="How settings with a budget protect patients.")
    settings: dict[SettingName, dict[str, Any]] = Field(
        default={"real": {}},
        min_length=1,
        description="What is learned from: `real` patients; `synthetic` images alone; `augmented`, both in each round; "
        "`pretrained`, synthetic images first, then real patients; `public`, nobody: the head in the file of weights. "
        "With a budget of privacy for each hospital: `real-epsilon-6`. A list, or with overrides, as in `arms`.",
    )
    seeds: list[int] = Field(
        default_factory=lambda: [0],
        min_length=1,
        description="Seeds of the classifier and of the order of patients: a list, or a range such as 0..19.",
    )
    faults: list[Fault] = Field(
        default_factory=list, description="What goes wrong at hospitals, to see whether the study bears it."
    )
    about: About = Field(default_factory=About, description="What only people know, for the report.")

    @model_validator(mode="before")
    @classmethod
    def _expand_lists(cls, content: Any) -> Any:
        return expand(content)

    @field_validator("arms", "settings", mode="before")
    @classmethod
    def _as_list(cls, value: Any) -> Any:
        if isinstance(value, list):
            if not all(isinstance(name, str) for name in value):
                raise ValueError("a list of names, or names with overrides")
            return {name: {} for name in value}
        return value

    @field_validator("seeds", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return list_of_seeds(value)

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, value: list[int]) -> list[int]:
        return different_seeds(value)

    @model_validator(mode="after")
    def _arms_and_settings_are_valid(self) -> "StudyConfig":
        if not self.arms:
            raise ValueError("arms: name at least one of " + ", ".join(KINDS))
        check_place(self)
        check_arms(self)
        for arm in self.arms:
            self.for_arm(arm)
        for setting in self.settings:
            self._check(setting, self._overridden("settings", setting, self._overrides(setting)))
            like = Setting.of(setting).like
            if like and like not in self.settings:
                raise ValueError(f"settings: {setting} is what {like} does without a budget; add {like}")
        return self

    @staticmethod
    def _check(name: SettingName, study: "StudyConfig") -> None:
        """Raise ValueError where a setting asks for what the study cannot give it."""
        source, setting, privacy = study.synthesis, Setting.of(name), study.privacy
        if setting.kind == "public" and (setting.epsilon is not None or study.diagnosis.head == "random"):
            raise ValueError(
                "settings: public is the head that the file of weights has, before any patient; it has no budget, and "
                "needs diagnosis.head: weights"
            )
        if setting.kind not in WITHOUT_IMAGES and source is None:
            raise ValueError(f"synthesis: is missing; setting {name} needs a source: {', '.join(SOURCES)}")
        if setting.epsilon is None:
            return
        if setting.epsilon == 0:
            raise ValueError(f"settings: {name}: a budget is more than 0")
        if privacy.trust != "local" and (
            study.federation.local_steps != 1 or study.federation.strategy.name != "FedAvg"
        ):
            raise ValueError(f"privacy.trust: {privacy.trust} takes federation.local_steps: 1 and the strategy FedAvg")
        if setting.kind == "real" or not (setting.kind == "synthetic" or privacy.generator_share):
            return
        if not (isinstance(source, FromGan) and source.can_be_private):
            raise ValueError(
                f"settings: {name} gives a part of its budget to a generator that cannot be private; take "
                "synthesis: {source: gan, combine: discriminator} or {source: gan, method: mean_embedding}"
            )
        if privacy.trust != "local" and source.method == "adversarial":
            raise ValueError(
                f"settings: {name}: privacy.trust: {privacy.trust} protects generators by method: mean_embedding "
                "alone; take that, or trust: local"
            )

    def _overridden(self, which: str, name: str, overrides: dict[str, Any]) -> "StudyConfig":
        """Return the study with overrides of `diagnosis`, `federation` and `privacy` applied.

        Raises ValueError where one names another section or a key that does not exist.
        """
        if not overrides:
            return self
        content = self.model_dump()
        like = Setting.of(name).like if which == "settings" else ""
        content[which] = {one: {} for one in (name, like) if one}
        if which == "arms" and Arm.of(name).kind != "scheduled":
            content["hospitals"]["schedule"] = []
        for key, value in overrides.items():
            if key.split(".")[0] not in OVERRIDDEN and key != FRACTION:
                raise ValueError(
                    f"{which}.{name}: {key} cannot differ between {which}, only {', '.join(OVERRIDDEN)} and "
                    f"{FRACTION} can"
                )
            set_key(content, key, value)
        try:
            return StudyConfig.model_validate(content)
        except ValidationError as error:
            raise ValueError(f"{which}.{name}: {first_fault(error)}") from error

    def for_arm(self, arm: ArmName) -> "StudyConfig":
        """Return the study as this arm runs it: its overrides applied.

        Raises ValueError where an override names another section or a key that does not exist.
        """
        return self._overridden("arms", arm, self.arms[arm])

    @property
    def deployments(self) -> Iterator[Deployment]:
        """Yield the study's deployments in the order in which they run."""
        repeats = list(product(self.seeds, self.hospitals.seed, range(max(1, self.evaluation.folds))))
        for arm in sorted(self.arms, key=lambda name: not Arm.of(name).trained):  # what uses others' models comes last
            parts = self.parts(arm)
            for setting in self.settings:
                first = self.deployment(arm, setting)
                for seed, draw, fold in repeats:
                    for part in parts:
                        at = {"seed": seed, "draw": draw, "fold": fold, "group": part.name, "members": part.members}
                        yield first.model_copy(update=at)

    def parts(self, arm: ArmName) -> list[Group]:
        """List the groups of hospitals that are deployments of their own: one of all, or those of the arm.

        Raises InputError where the arm needs hospitals by name, or others than there are.
        """
        one = Arm.of(arm)
        if not one.of_parts:
            return [Group(ALL, ())]
        names = names_of(self.hospitals.assignment)
        if not names:
            raise InputError(f"arms: {arm} needs hospitals by name; add hospitals.assignment.names")
        try:
            return list(one.parts(names))
        except ValueError as error:
            raise InputError(f"arms: {error}") from error

    def deployment(
        self, arm: ArmName, setting: SettingName, seed: int = 0, draw: int = 0, fold: int = 0, group: str = ""
    ) -> Deployment:
        """Return one deployment, all overrides applied. `group`: which part of an arm of some hospitals, or the first.

        Raises InputError as `parts` does.
        """
        part = next(one for one in self.parts(arm) if group in ("", one.name))
        return self._of(arm, setting)._deployment(arm, setting, Repeat(seed, draw, fold), part, self)

    def _of(self, arm: ArmName, setting: SettingName) -> "StudyConfig":
        study = self.for_arm(arm)
        return study._overridden("settings", setting, study._overrides(setting))

    def _overrides(self, setting: SettingName) -> dict[str, Any]:
        """Return a setting's overrides: those of the setting that it is like, then its own."""
        return self.settings.get(Setting.of(setting).like, {}) | self.settings[setting]

    def _deployment(
        self, arm: ArmName, setting: SettingName, repeat: Repeat, part: Group, whole: "StudyConfig"
    ) -> Deployment:
        """Return a deployment of this study, whose overrides are applied; of the `whole` one is how patients are dealt.

        An override leaves one setting, and all settings are dealt alike.
        """
        kind, epsilon, _ = Setting.of(setting)
        of_arm = Arm.of(arm)
        source = None if kind in WITHOUT_IMAGES else self.synthesis
        if isinstance(source, FromFolder):
            source = source.model_copy(update={"path": ""})  # images arrive as a pool, wherever they were
        return Deployment(
            arm_name=arm,
            setting_name=setting,
            group=part.name,
            members=part.members,
            **repeat._asdict(),
            diagnosis=self.diagnosis.model_copy(update={"weights": name_of_weights(self.diagnosis.weights)}),
            federation=self.federation,
            privacy=None if epsilon is None else self.privacy.model_copy(update={"secret_seed": None}),
            source=source,
            schedule=tuple(self.hospitals.schedule) if of_arm.kind == "scheduled" else (),
            recipes=recipes(whole, of_arm),
            inner_folds=whole.evaluation.inner_folds if "chosen" in whole.arms and of_arm.kind == "federated" else 0,
            dealing=whole.dealing.model_copy(update={"fraction": self.cohort.fraction}),
            about=self.evaluation.columns,
            scored_every=self.evaluation.every if epsilon is None else 0,
        )

    @property
    def at_sites(self) -> bool:
        """Whether real hospitals hold their own patients."""
        return is_at_sites(self)

    @property
    def cohort_folder(self) -> Path:
        """The folder of the simulation's cohort. Raises InputError where real hospitals hold their own patients."""
        if self.at_sites:
            raise InputError(
                "cohort.path: real hospitals hold their own patients, which this command needs in one place; give a "
                "study that simulates them"
            )
        return Path(self.cohort.path)

    @property
    def keys(self) -> dict[str, str]:
        """Real hospitals' public keys, by name; none in a simulation."""
        return keys_of(self)

    @property
    def has_budget(self) -> bool:
        """Whether a setting has a budget of privacy."""
        return any(Setting.of(name).epsilon is not None for name in self.settings)

    def check_budget(self) -> None:
        """Raise InputError where no setting has a budget of privacy."""
        if not self.has_budget:
            raise InputError("settings: none has a budget of privacy; add one such as real-epsilon-6")

    @property
    def dealing(self) -> Dealing:
        """How hospitals divide their patients: without labels wherever a setting has a budget."""
        return Dealing(
            test="" if self.evaluation.folds else self.evaluation.test,
            folds=self.evaluation.folds,
            folds_over=list(self.evaluation.splits_of_folds),
            validation_fraction=self.hospitals.validation_fraction,
            stratified=not self.has_budget,
        )

    def faults_of(self, hospital: str) -> list[Fault]:
        """List what goes wrong at a hospital."""
        return [fault for fault in self.faults if fault.hospital == hospital]

    def check_named(self, hospitals: list[str]) -> None:
        """Raise InputError where faults or the schedule name a hospital that the study does not have."""
        named = [("faults", one.hospital) for one in self.faults]
        for key, name in named + [("hospitals.schedule", one.hospital) for one in self.hospitals.schedule]:
            if name not in hospitals:
                raise InputError(f"{key}: the study has no hospital {name}; it has {', '.join(hospitals)}")

    @property
    def weights(self) -> dict[str, Path]:
        """The file of weights that the study names, by its SHA-256; none where the hub has them."""
        path = self.diagnosis.weights
        return {} if path in NO_FILE else {name_of_weights(path): Path(path).resolve()}

    def pretraining(self, deployment: Deployment) -> Deployment:
        """Return how a deployment trains on a pool: what its setting overrides holds on patients only."""
        plain = self.for_arm(deployment.arm_name)
        how = {
            name: getattr(plain.diagnosis, name)
            for name in ("optimizer", "patient_fraction", "label_smoothing", "loss")
        }
        diagnosis = deployment.diagnosis.model_copy(update=how)
        return deployment.model_copy(update={"diagnosis": diagnosis, "federation": plain.federation})

    def without_engine(self) -> dict[str, Any]:
        """Return what determines the results: everything but where hospitals compute and what people tell of it."""
        content = self.model_dump(mode="json", exclude={"about"})
        for key in ("name", "address", "spread", "checkpoint_seconds", "timeout", "gpus_per_hospital", "track", "link"):
            del content["engine"][key]
        return content


def parse(content: Any, source: str) -> StudyConfig:
    """Check a study given as nested dictionaries.

    Raises InputError with one line that names `source` and the key.
    """
    if not isinstance(content, dict):
        raise InputError(f"{source}: expected a YAML mapping of keys, found {type(content).__name__}")
    try:
        return StudyConfig.model_validate(fill_in(content, ""))
    except ValidationError as error:
        raise InputError(f"{source}: {first_fault(error)}") from error


def load(path: Path, overrides: list[str] | None = None) -> StudyConfig:
    """Read a study from a YAML file, and its base if it names one; apply `key=value` overrides, whose values are YAML.

    Raises InputError, in one line, for a missing file, bad YAML, an unknown key or a value of the wrong kind.
    """
    source = str(path)
    try:
        content = read_yaml(path)
        for override in overrides or []:
            key, separator, value = override.partition("=")
            if not separator or not key.strip():
                raise InputError(f"--set {override}: expected key=value, such as federation.rounds=3")
            source = f"--set {override}"
            if isinstance(content, dict):
                set_key(content, key.strip(), value_of(value))
        return parse(content, f"{path} with --set" if overrides else str(path))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(f"{path}: cannot be read ({reason}); give the path of a study's YAML file") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date such as 2020-99-99; endless nesting
        raise InputError(f"{source}: not valid YAML: {' '.join(str(error).split())}") from error


def dump(config: StudyConfig, **more: Any) -> str:
    """Write a study as YAML, all defaults filled in, with more keys at its end."""
    return yaml.safe_dump({**config.model_dump(mode="json"), **more}, sort_keys=False, allow_unicode=True)
