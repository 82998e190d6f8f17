"""Profiles: what kind of hospital a simulated hospital stands for, one YAML file each in the folder `sites`."""

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import Field, ValidationError, field_validator

from fedmammo.config import ByProfiles, HospitalsConfig, Section, first_fault
from fedmammo.errors import InputError

Fraction = Annotated[float, Field(ge=0, le=1)]


class Profile(Section):
    """A hospital's share of the patients, its case mix, and how fast its line and its computer are."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", description="Name of the hospital, and of its folder.")
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
    """Read the profile `sites/<name>.yaml`, or the file at a path (it ends in .yaml or .yml, or holds a slash).

    Paths are relative to the working directory. Raises InputError, in one line, for a name that is not known,
    a file that cannot be read, bad YAML, an unknown key or a value of the wrong kind.
    """
    source: Traversable
    if "/" in name_or_path or name_or_path.endswith((".yaml", ".yml")):
        source = Path(name_or_path)
    else:
        known = {item.name.removesuffix(".yaml"): item for item in _sites().iterdir() if item.is_file()}
        if name_or_path not in known:
            raise InputError(
                f"profile {name_or_path!r} is not known; expected one of {', '.join(sorted(known))}, "
                "or the path of a YAML file"
            )
        source = known[name_or_path]
    try:
        return Profile.model_validate(yaml.safe_load(source.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise InputError(f"{source}: cannot be read ({reason}); give the path of a profile") from error
    except yaml.YAMLError as error:
        raise InputError(f"{source}: not valid YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        raise InputError(f"{source}: {first_fault(error)}; see the profiles in sites/ for an example") from error


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


def _sites() -> Traversable:
    """Return the folder of profiles: inside the installed package, or beside it in a checkout."""
    package = files("fedmammo")
    inside = package / "sites"
    return inside if inside.is_dir() else Path(str(package)).parent / "sites"


def profiles_of(config: HospitalsConfig, names: list[str]) -> list[Profile]:
    """Return the hospitals' profiles in order; hospitals that no profile describes have the defaults."""
    if isinstance(config.assignment, ByProfiles):
        return load_profiles(config.assignment.profiles)
    return [Profile(name=name) for name in names]
