"""The rules by which a study can deal patients to hospitals, a part of its schema."""

from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator

from fedmammo.config.schema import Section

NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"  # of a hospital, and of its folder


class ByProfiles(Section):
    """Patients are dealt to hospitals by the profiles' share and case mix."""

    by: Literal["profiles"] = "profiles"
    profiles: list[str] = Field(
        min_length=1, description="Names of profiles in `sites/`, or paths of YAML files; one hospital each."
    )


class ByChance(Section):
    """Patients are dealt at random, equally many to each hospital."""

    by: Literal["uniform"]
    count: int = Field(ge=1, le=1000, description="Number of hospitals.")


class BySize(Section):
    """Patients are dealt at random to hospitals of different size."""

    by: Literal["size_skew"]
    count: int = Field(ge=1, le=1000, description="Number of hospitals.")
    ratio: float = Field(default=2.0, ge=1, description="Each hospital has this many times the patients of the next.")


class ByDirichlet(Section):
    """Benign and malignant patients are dealt in shares drawn from a Dirichlet distribution (label skew)."""

    by: Literal["dirichlet"]
    count: int = Field(ge=1, le=1000, description="Number of hospitals.")
    alpha: float = Field(
        default=0.5, gt=0, le=1e6, description="Concentration: small values make hospitals more different."
    )


class ByAttribute(Section):
    """Patients are dealt by what is recorded of their first lesion: one hospital for each value."""

    by: Literal["attribute"]
    attribute: str = Field(
        default="density",
        description="A column of the cohort's manifest: density, margins, shape, ..., or one of the user's own table.",
    )
    minimum_patients: int = Field(
        default=1, ge=1, description="Values with fewer training patients share one hospital, `<attribute>-other`."
    )
    names: list[str] = Field(
        default_factory=list,
        description="The hospitals' names, in the order of `fedmammo sites show`, for arms of some hospitals such as "
        "`without_one`; checked against the cohort.",
    )
    profiles: dict[str, str] = Field(
        default_factory=dict,
        description="Profiles of some of these hospitals, by the hospital's name, such as `hospital-digital: "
        "digital_centre`: of their devices, lines and limits; their patients are those with the value.",
    )


class BySite(Section):
    """Hospitals hold their own patients: a study at real hospitals. Nobody deals, and the server holds no cohort."""

    by: Literal["site"]
    keys: dict[Annotated[str, Field(pattern=NAME)], Annotated[str, Field(pattern=r"^ecdsa-sha2-nistp\d+ \S+")]] = Field(
        min_length=1,
        description="Each hospital's public key, by the hospital's name: what `ssh-keygen` writes to `.pub`. A node "
        "that another key connects is not the hospital.",
    )

    @field_validator("keys")
    @classmethod
    def _differ(cls, value: dict[str, str]) -> dict[str, str]:
        if len({key.split()[1] for key in value.values()}) < len(value):
            raise ValueError("two hospitals have the same key; each makes its own")
        if taken := sorted({"all", "server", "nodes"} & set(value)):
            raise ValueError(f"{taken[0]!r} is taken, choose another name")
        return value


Assignment = Annotated[ByProfiles | ByChance | BySize | ByDirichlet | ByAttribute | BySite, Field(discriminator="by")]
RULES = tuple(get_args(kind.model_fields["by"].annotation)[0] for kind in get_args(get_args(Assignment)[0]))
