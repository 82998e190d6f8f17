"""Profiles: what kind of hospital a simulated hospital stands for, one YAML file each in the folder `sites`."""

import hashlib
from typing import Annotated, Literal

from pydantic import Field, field_validator

from fedmammo.config.schema import Section
from fedmammo.config.sections import HospitalsConfig
from fedmammo.errors import InputError
from fedmammo.hospitals.descriptions import load_description
from fedmammo.hospitals.digitiser import load_digitiser
from fedmammo.hospitals.rules import NAME, Assignment, ByAttribute, ByProfiles, BySite
from fedmammo.privacy.limits import Limits

OPEN = Limits(without_budget="accepted", central_trust="accepted")  # of hospitals that nothing describes
Fraction = Annotated[float, Field(ge=0, le=1)]


class Profile(Section):
    """A hospital: its share of the patients, its case mix, its digitiser, and how fast its line and computer are."""

    name: str = Field(pattern=NAME, description="Name of the hospital, and of its folder.")
    description: str = Field(default="", description="What the profile stands for, in one line.")
    share: float = Field(
        default=1.0, gt=0, le=1e6, description="Patients relative to the other hospitals: 2 gets twice as many as 1."
    )
    prevalence: Fraction | None = Field(
        default=None, description="Fraction of malignant patients that is aimed at; none takes what is left."
    )
    density: tuple[Fraction, Fraction, Fraction, Fraction] | None = Field(
        default=None,
        description="Fractions of breast density classes 1 to 4 that are aimed at, of the patients whose density "
        "is known; none takes what is left.",
    )
    masses: Fraction | None = Field(
        default=None,
        description="Fraction of patients whose first lesion is a mass, not a calcification, that is aimed at; none "
        "takes what is left.",
    )
    digitiser: str | None = Field(
        default=None,
        description="Name of a digitiser in `sites/digitisers/`, or path of a YAML file; none shows films as the "
        "cohort holds them.",
    )
    label_noise: Fraction = Field(
        default=0.0,
        description="Fraction of the hospital's training patients whose labels are exchanged, benign for malignant.",
    )
    availability: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Fraction of the rounds of a federation in which the hospital takes part, drawn at random.",
    )
    uplink_megabits_per_second: float = Field(
        default=20.0,
        gt=0,
        description="Speed at which the hospital sends, only used to simulate how long a round takes.",
    )
    images_per_second: float = Field(
        default=20.0,
        gt=0,
        description="Images that the hospital's computer trains on in a second, only used to simulate how long "
        "a round takes.",
    )

    privacy: Limits = Field(
        default_factory=Limits,
        description="What the hospital allows, whatever a server asks. It takes part in nothing without a budget, and "
        "trusts no server, unless this says so.",
    )
    scores: Literal["rows", "summaries", "not"] = Field(
        default="rows", description="How scores of tested patients may leave the hospital."
    )
    minimum_count: int = Field(
        default=10, ge=1, description="Of `scores: summaries`: the fewest patients of a class that a number may be of."
    )

    @field_validator("name")
    @classmethod
    def _not_all(cls, value: str) -> str:
        if value == "all":
            raise ValueError("'all' stands for all hospitals together, choose another name")
        return value

    @field_validator("density")
    @classmethod
    def _sums_to_one(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if value is not None and abs(sum(value) - 1) > 1e-6:
            raise ValueError(f"the four fractions sum to {sum(value):g}, expected 1")
        return value


def load_profile(name_or_path: str) -> Profile:
    """Read `sites/<name>.yaml`, or the file at a path, and check that its digitiser can be read too.

    Raises InputError, in one line, as `load_description` does.
    """
    profile = load_description(Profile, name_or_path)
    if profile.digitiser is not None:
        try:
            load_digitiser(profile.digitiser)
        except InputError as error:
            raise InputError(f"profile {profile.name}: {error}") from error
    return profile


def load_profiles(names_or_paths: list[str]) -> list[Profile]:
    """Read one profile per hospital; raises InputError where two hospitals would have the same name."""
    profiles: dict[str, Profile] = {}
    for item in names_or_paths:
        profile = load_profile(item)
        if profile.name in profiles:
            raise InputError(
                f"hospitals.assignment.profiles: {item} gives a second hospital named {profile.name}; "
                "copy the profile to a file with another name in it"
            )
        profiles[profile.name] = profile
    return list(profiles.values())


def profiles_of(config: HospitalsConfig, names: list[str]) -> list[Profile]:
    """Return the hospitals' profiles in order; hospitals that no profile describes take part in everything."""
    rule = config.assignment
    if isinstance(rule, ByProfiles):
        return load_profiles(rule.profiles)
    given = rule.profiles if isinstance(rule, ByAttribute) else {}
    for name in given:
        if name not in names:
            raise InputError(
                f"hospitals.assignment.profiles: the study has no hospital {name}; it has {', '.join(names)}"
            )
    described = {name: load_profile(profile).model_copy(update={"name": name}) for name, profile in given.items()}
    return [described.get(name) or Profile(name=name, privacy=OPEN) for name in names]


def digest_of_profiles(config: HospitalsConfig, names: list[str]) -> str:
    """SHA-256 of what the hospitals' profiles and digitisers say, wherever their files lie."""
    profiles = profiles_of(config, names)
    digitisers = [load_digitiser(profile.digitiser) for profile in profiles if profile.digitiser]
    content = "\n".join(part.model_dump_json() for part in (*profiles, *digitisers))
    return hashlib.sha256(content.encode()).hexdigest()


def names_of(rule: Assignment) -> list[str]:
    """Name a rule's hospitals in their order; of an attribute, those that the study names itself, if it does.

    Raises InputError for profiles that cannot be loaded.
    """
    if isinstance(rule, ByProfiles):
        return [profile.name for profile in load_profiles(rule.profiles)]
    if isinstance(rule, ByAttribute):
        return list(rule.names)
    if isinstance(rule, BySite):
        return list(rule.keys)
    return [f"hospital-{number}" for number in range(1, rule.count + 1)]
