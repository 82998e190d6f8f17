"""The study's schema: what a YAML file may say, checked before anything runs.

Every field carries its description; `fedmammo schema` prints them all as JSON schema.
"""

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ConfigDict, Field, ValidationError, field_validator, model_validator

from fedmammo.base import add_to_schema, fill_in, first_fault, read_yaml, set_key
from fedmammo.errors import InputError
from fedmammo.federation.strategies import FedAvg, Strategy
from fedmammo.hospitals.rules import Assignment
from fedmammo.privacy.section import Privacy
from fedmammo.schema import Section
from fedmammo.settings import Setting, epsilon_of, kind_of
from fedmammo.synthesis.sources import SOURCES, FromGan, Synthesis

ARMS = ("centralized", "local", "federated")
OVERRIDDEN = ("diagnosis", "federation", "privacy")  # sections in which arms and settings may differ
ALL = "all"  # stands for every hospital together, where a hospital's name could stand
Arm = Literal["centralized", "local", "federated"]


class CohortConfig(Section):
    """The patients of the study."""

    path: str = Field(
        description="Folder made by `fedmammo data prepare`; ${VARIABLES} of the environment are filled in."
    )


class HospitalsConfig(Section):
    """Who holds which patients."""

    assignment: Assignment = Field(description="The rule by which patients are dealt to hospitals.")
    seed: list[int] = Field(
        default=[0],
        min_length=1,
        description="Seed of the assignment and of the validation patients; a list repeats the study on new draws.",
    )
    validation_fraction: float = Field(
        default=0.2,
        gt=0,
        lt=1,
        description="Fraction of each hospital's training patients that is kept to set decision thresholds.",
    )

    @field_validator("seed", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return [value] if isinstance(value, int) else value

    @field_validator("seed")
    @classmethod
    def _seeds_differ(cls, value: list[int]) -> list[int]:
        return _different(value)

    @property
    def draw(self) -> int:
        """The seed of the draw at hand: the first, and the only one of a single deployment (`for_cell`)."""
        return self.seed[0]


class AugmentationConfig(Section):
    """The fixed set of views of an image: flips, and crops of each flip."""

    flips: Literal["none", "horizontal", "both"] = Field(
        default="horizontal", description="Mirror images: none, left-right, or left-right and top-bottom."
    )
    crops: int = Field(
        default=0,
        ge=0,
        le=5,
        description="Crops of 7/8 of the side beside the whole image: 4 corners, then the centre.",
    )
    views_per_step: int = Field(
        default=1,
        ge=1,
        description="Views of each image that a training step averages over (at most all of them).",
    )


class OptimizerConfig(Section):
    """The hospital's optimiser; its state stays at the hospital and lives on between rounds."""

    name: Literal["adamw", "sgd"] = Field(default="adamw", description="AdamW, or SGD with momentum.")
    learning_rate: float = Field(gt=0, description="Step size.")
    weight_decay: float = Field(default=0.0, ge=0, description="Decoupled (adamw) or L2 (sgd) weight decay.")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="Momentum of sgd; adamw ignores it.")


class DiagnosisConfig(Section):
    """The classifier of lesions: benign or malignant."""

    network: str = Field(description="Name of a transformer in timm.")
    weights: str = Field(
        default="hub",
        description="`hub` (timm downloads them), `none` (random), or the path of a safetensors file.",
    )
    image_size: int = Field(ge=16, le=2048, description="Side of the network's input in pixels.")
    features: Literal["pooled"] | list[int] = Field(
        default="pooled",
        description="What the head reads: the network's pooled output, or for each block listed (1 = the first) its "
        "class token and the mean and standard deviation of its patch tokens.",
    )
    directions: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="What the head reads is projected on so many directions in which drawn patches differ most, which "
        "no patient has a part in; none reads everything.",
    )
    train: str = Field(
        default="head",
        pattern=r"^(head|bias|all|last_blocks:[1-9][0-9]*)$",
        description="What is trained: `head`, `last_blocks:N` (and the head), `bias` (all biases and the head), `all`.",
    )
    harmonisation: Literal["none", "calibration", "window", "histogram"] = Field(
        default="none",
        description="What is done to images before the network: `none`; `calibration`, the digitiser's known response "
        "curve is undone; `window`, every image's gray values are stretched over the full scale; `histogram`, every "
        "image gets the same histogram.",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32", description="Arithmetic of the frozen part of the network."
    )
    augmentation: AugmentationConfig = Field(default_factory=AugmentationConfig, description="Views of an image.")
    optimizer: OptimizerConfig = Field(description="How a hospital steps.")
    patient_fraction: float = Field(
        default=1.0, gt=0, le=1, description="Fraction q of the holder's training patients in one step."
    )
    label_smoothing: float = Field(default=0.0, ge=0, lt=1, description="Labels become s/2 and 1 - s/2.")

    @field_validator("features", mode="before")
    @classmethod
    def _pooled_or_blocks(cls, value: Any) -> Any:
        blocks = isinstance(value, list) and bool(value) and all(type(number) is int for number in value)
        if value != "pooled" and not (blocks and value[0] >= 1 and value == sorted(set(value))):
            raise ValueError("expected pooled, or a list of block numbers that start at 1, ascend and do not repeat")
        return value


class FederationConfig(Section):
    """Rounds of training: every arm takes rounds x local_steps steps."""

    rounds: int = Field(ge=1, description="Rounds of training.")
    local_steps: int = Field(ge=1, description="Steps that each hospital takes in a round.")
    averaged_rounds: int = Field(
        default=1, ge=1, description="The final model is the mean of the models after so many last rounds."
    )
    strategy: Strategy = Field(
        default=FedAvg(), description="How the federated arm combines models: a name and its parameters."
    )
    min_hospitals: int = Field(
        default=1,
        ge=1,
        description="A round with fewer answers than this (or than all, if fewer take part) ends the study.",
    )


class EngineConfig(Section):
    """Where hospitals compute. Results do not depend on name and address, nor on timeout while all answer in time."""

    name: Literal["ray", "inline"] = Field(default="ray", description="Flower's Ray simulation, or this process.")
    address: str | None = Field(default=None, description="Address of an existing Ray cluster; none starts one here.")
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="Where hospitals compute.")
    threads_per_hospital: int = Field(
        default=1, ge=1, le=1024, description="Processor threads (and Ray CPUs) of a hospital."
    )
    gpus_per_hospital: float = Field(default=0.0, ge=0, description="Share of a GPU that Ray reserves for a hospital.")
    timeout: float = Field(
        default=3600.0, gt=0, description="Seconds that the server waits for the answers of a round."
    )


class EvaluationConfig(Section):
    """How models are scored."""

    test: str = Field(default="test", description="Split of the cohort whose patients are tested on.")
    folds: int = Field(
        default=0,
        ge=0,
        description="With 2 or more: k-fold cross-validation over the patients of all splits, instead of `test`.",
    )
    resamples: int = Field(default=2000, ge=100, description="Bootstrap resamples of patients and seeds.")

    @field_validator("folds")
    @classmethod
    def _not_one(cls, value: int) -> int:
        if value == 1:
            raise ValueError("0 (no folds) or at least 2")
        return value


class StudyConfig(Section):
    """A study: arms x settings x seeds, all walking the same path."""

    model_config = ConfigDict(json_schema_extra=add_to_schema)

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]+$", description="Name of the study, and of its folder.")
    cohort: CohortConfig = Field(description="The patients.")
    hospitals: HospitalsConfig = Field(description="Who holds which patients.")
    diagnosis: DiagnosisConfig = Field(description="The classifier.")
    federation: FederationConfig = Field(description="Rounds and strategy.")
    engine: EngineConfig = Field(default_factory=EngineConfig, description="Where hospitals compute.")
    evaluation: EvaluationConfig = Field(default_factory=EvaluationConfig, description="How models are scored.")
    arms: dict[Arm, dict[str, Any]] = Field(
        default={"centralized": {}, "local": {}, "federated": {}},
        description="Arms to run, as a list, or with overrides of diagnosis, federation and privacy: "
        "`federated: {diagnosis.optimizer.learning_rate: .01}`.",
    )
    synthesis: Synthesis | None = Field(
        default=None, description="Where synthetic images come from; every setting but `real` needs it."
    )
    privacy: Privacy = Field(default_factory=Privacy, description="How settings with a budget protect patients.")
    settings: dict[Setting, dict[str, Any]] = Field(
        default={"real": {}},
        min_length=1,
        description="What is learned from: `real` patients; `synthetic` images alone; `augmented`, both in each round; "
        "`pretrained`, synthetic images first, then real patients. With a budget of privacy for each hospital: "
        "`real-epsilon-6`. A list, or with overrides, as in `arms`.",
    )
    seeds: list[int] = Field(
        default_factory=lambda: [0],
        min_length=1,
        description="Seeds of the classifier and of the order of patients.",
    )

    @field_validator("arms", "settings", mode="before")
    @classmethod
    def _as_list(cls, value: Any) -> Any:
        if isinstance(value, list):
            if not all(isinstance(name, str) for name in value):
                raise ValueError("a list of names, or names with overrides")
            return {name: {} for name in value}
        return value

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, value: list[int]) -> list[int]:
        return _different(value)

    @model_validator(mode="after")
    def _arms_and_settings_are_valid(self) -> "StudyConfig":
        if not self.arms:
            raise ValueError("arms: name at least one of " + ", ".join(ARMS))
        for arm in self.arms:
            self.for_arm(arm)
        for setting in self.settings:
            self._check(setting, self._overridden("settings", setting, self.settings[setting]))
        return self

    @staticmethod
    def _check(setting: Setting, study: "StudyConfig") -> None:
        """Raise ValueError where a setting asks for what the study cannot give it."""
        source, epsilon = study.synthesis, epsilon_of(setting)
        if kind_of(setting) != "real" and source is None:
            raise ValueError(f"synthesis: is missing; setting {setting} needs a source: {', '.join(SOURCES)}")
        if epsilon is None:
            return
        if epsilon == 0:
            raise ValueError(f"settings: {setting}: a budget is more than 0")
        if study.privacy.trust == "central" and (
            study.federation.local_steps != 1 or study.federation.strategy.name != "FedAvg"
        ):
            raise ValueError("privacy.trust: central takes federation.local_steps: 1 and the strategy FedAvg")
        if study.generator_share(setting) and not (isinstance(source, FromGan) and source.can_be_private):
            raise ValueError(
                f"settings: {setting} gives a part of its budget to a generator that cannot be private; take "
                "synthesis: {source: gan, combine: discriminator} or {source: gan, method: mean_embedding}"
            )
        adversarial = isinstance(source, FromGan) and source.method == "adversarial"
        if study.generator_share(setting) and study.privacy.trust == "central" and adversarial:
            raise ValueError(
                f"settings: {setting}: privacy.trust: central protects generators by method: mean_embedding alone; "
                "take that, or trust: local"
            )

    def generator_share(self, setting: Setting) -> float:
        """Return the share of a private setting's budget that goes to the generator; 0 where none is private."""
        if epsilon_of(setting) is None or kind_of(setting) == "real":
            return 0.0
        return 1.0 if kind_of(setting) == "synthetic" else self.privacy.generator_share

    @property
    def private_generator(self) -> bool:
        """Whether the generator of a single deployment (`for_cell`) has a part of the budget."""
        (setting,) = self.settings
        return self.generator_share(setting) > 0

    def _overridden(self, which: str, name: str, overrides: dict[str, Any]) -> "StudyConfig":
        """Return the study with overrides of `diagnosis`, `federation` and `privacy` applied.

        Raises ValueError where one names another section or a key that does not exist.
        """
        if not overrides:
            return self
        content = self.model_dump()
        content[which] = {name: {}}
        for key, value in overrides.items():
            if key.split(".")[0] not in OVERRIDDEN:
                raise ValueError(
                    f"{which}.{name}: {key} cannot differ between {which}, only {', '.join(OVERRIDDEN)} can"
                )
            set_key(content, key, value)
        try:
            return StudyConfig.model_validate(content)
        except ValidationError as error:
            raise ValueError(f"{which}.{name}: {first_fault(error)}") from error

    def for_arm(self, arm: Arm) -> "StudyConfig":
        """Return the study as this arm runs it: its overrides applied.

        Raises ValueError where an override names another section or a key that does not exist.
        """
        return self._overridden("arms", arm, self.arms[arm])

    def for_cell(self, arm: Arm, setting: Setting, draw: int) -> "StudyConfig":
        """Return the study as one deployment runs it: of one arm, setting and draw of hospitals, nothing overridden."""
        study = self.for_arm(arm)
        study = study._overridden("settings", setting, study.settings[setting])
        hospitals = self.hospitals.model_copy(update={"seed": [draw]})
        return study.model_copy(update={"hospitals": hospitals, "arms": {arm: {}}, "settings": {setting: {}}})

    def for_pretraining(self, arm: Arm, setting: Setting, draw: int) -> "StudyConfig":
        """Return the study as a deployment pretrains on a pool: what the setting overrides holds on patients only."""
        study, plain = self.for_cell(arm, setting, draw), self.for_arm(arm)
        how = {name: getattr(plain.diagnosis, name) for name in ("optimizer", "patient_fraction", "label_smoothing")}
        diagnosis = study.diagnosis.model_copy(update=how)
        return study.model_copy(update={"diagnosis": diagnosis, "federation": plain.federation})

    def without_engine(self) -> dict[str, Any]:
        """Return what determines the results: everything but where hospitals compute."""
        content = self.model_dump(mode="json")
        for key in ("name", "address", "timeout", "gpus_per_hospital"):
            del content["engine"][key]
        return content


def _different(seeds: list[int]) -> list[int]:
    if len(set(seeds)) != len(seeds) or min(seeds) < 0:
        raise ValueError("seeds are different numbers from 0 up")
    return seeds


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
                set_key(content, key.strip(), yaml.safe_load(value))
        return parse(content, f"{path} with --set" if overrides else str(path))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(f"{path}: cannot be read ({reason}); give the path of a study's YAML file") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date such as 2020-99-99; endless nesting
        raise InputError(f"{source}: not valid YAML: {' '.join(str(error).split())}") from error


def dump(config: StudyConfig, **more: Any) -> str:
    """Write a study as YAML, all defaults filled in, with more keys at its end."""
    return yaml.safe_dump({**config.model_dump(mode="json"), **more}, sort_keys=False, allow_unicode=True)
