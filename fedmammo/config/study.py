"""The study's schema: what a YAML file may say, checked before anything runs.

Every field carries its description; `fedmammo schema` prints them all as JSON schema.
"""

from pathlib import Path
from typing import Any

import yaml
from pydantic import ConfigDict, Field, ValidationError, field_validator, model_validator

from fedmammo.config.privacy import Privacy
from fedmammo.config.reading import add_to_schema, fill_in, first_fault, read_yaml, set_key
from fedmammo.config.schema import Section
from fedmammo.config.sections import (
    ARMS,
    ArmName,
    CohortConfig,
    DiagnosisConfig,
    EngineConfig,
    EvaluationConfig,
    FederationConfig,
    HospitalsConfig,
    different_seeds,
)
from fedmammo.config.setting import Setting, epsilon_of, kind_of
from fedmammo.errors import InputError
from fedmammo.synthesis.sources import SOURCES, FromGan, Synthesis

OVERRIDDEN = ("diagnosis", "federation", "privacy")  # sections in which arms and settings may differ


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
    arms: dict[ArmName, dict[str, Any]] = Field(
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
        return different_seeds(value)

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

    def for_arm(self, arm: ArmName) -> "StudyConfig":
        """Return the study as this arm runs it: its overrides applied.

        Raises ValueError where an override names another section or a key that does not exist.
        """
        return self._overridden("arms", arm, self.arms[arm])

    def for_cell(self, arm: ArmName, setting: Setting, draw: int) -> "StudyConfig":
        """Return the study as one deployment runs it: of one arm, setting and draw of hospitals, nothing overridden."""
        study = self.for_arm(arm)
        study = study._overridden("settings", setting, study.settings[setting])
        hospitals = self.hospitals.model_copy(update={"seed": [draw]})
        return study.model_copy(update={"hospitals": hospitals, "arms": {arm: {}}, "settings": {setting: {}}})

    def for_pretraining(self, arm: ArmName, setting: Setting, draw: int) -> "StudyConfig":
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
