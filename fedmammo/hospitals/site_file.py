"""A site file: what a hospital tells its own software alone; `fedmammo schema --site` explains each key."""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator

from fedmammo.config.arm import ALL
from fedmammo.config.evaluation import without_identities
from fedmammo.config.faults import Fault
from fedmammo.config.reading import fill_in, first_fault
from fedmammo.config.schema import Section
from fedmammo.disk.yaml import read_yaml_file
from fedmammo.errors import InputError
from fedmammo.hospitals.digitiser import Digitiser
from fedmammo.hospitals.rules import NAME
from fedmammo.privacy.limits import Limits

KEY = r"^[0-9a-f]{64}$"


class SuperLink(Section):
    """The coordinator's SuperLink, to which the hospital connects; nobody connects to the hospital."""

    address: str = Field(pattern=r"^\S+:\d+$", description="Its host and port, as its certificate has them.")
    certificate: Path = Field(description="File of the certificate of the authority that signed the SuperLink's own.")
    key: Path = Field(description="File of the hospital's private key, whose public key the coordinator registered.")
    port: int = Field(
        default=9094, ge=1, le=65535, description="Port on this machine through which its own two processes speak."
    )


class SiteFile(Section):
    """A hospital's own file. No message changes what stands here, and none may name it. Paths are relative to it."""

    name: str = Field(pattern=NAME, description="Name of the hospital, by which studies know it.")
    kind: Literal["real", "simulated"] = Field(
        default="real",
        description="`real`: one privacy odometer over everything that was ever released, and studies need approval; "
        "`simulated`: each deployment is a hospital that might have been, with an odometer of its own.",
    )
    cohort: Path = Field(description="Folder of the prepared cohort (`fedmammo data prepare`).")
    state: Path = Field(
        description="Folder of what the hospital keeps for itself: secret, ledgers, agreements, optimiser states."
    )
    pools: Path | None = Field(
        default=None, description="Folder of synthetic images that arrive; `pools` in the folder of state if not told."
    )
    patients: Path | None = Field(
        default=None,
        description="Simulation alone: table of the cohort's patients whom the hospital holds, by pseudonym; without "
        "it the hospital holds the whole cohort.",
    )
    features: Path | None = Field(
        default=None,
        description="Folder for what frozen networks make of images; the cohort's own if not given. It is as secret as "
        "the images.",
    )
    digitisers: dict[str, Digitiser] = Field(
        default_factory=dict, description="Simulation alone: the film digitisers that the table of patients names."
    )
    superlink: SuperLink | None = Field(
        default=None, description="Where studies come from; needed by `fedmammo site serve` alone."
    )
    limits: Limits = Field(default_factory=Limits, description="What the hospital allows, whatever a server asks.")
    scores: Literal["rows", "summaries", "not"] = Field(
        default="not",
        description="How scores of tested patients may leave: `rows`, one for each image under a pseudonym; "
        "`summaries`, counts and metrics alone, and the scores stay; `not`.",
    )
    minimum_count: int = Field(
        default=10,
        ge=1,
        description="Of `scores: summaries`: the fewest patients, benign and malignant alike, that a number may be of; "
        "none tells of fewer, not by subtraction either.",
    )
    local_models: Literal["home", "shared"] = Field(
        default="home",
        description="Where a model that learned from this hospital's patients alone, without a budget, is scored: at "
        "`home`, which it never leaves; or `shared` with the server, and scored at every hospital.",
    )
    columns: list[str] = Field(
        default_factory=list,
        description="Columns of the cohort that may leave beside scores, where a study asks for them: `density`, "
        "`subtlety`, `lesion_type`, `view`, `assessment`, or others.",
    )
    peers: dict[Annotated[str, Field(pattern=NAME)], Annotated[str, Field(pattern=KEY)]] = Field(
        default_factory=dict,
        description="Public keys of other hospitals, by name, as `fedmammo site key` prints them there: whoever adds "
        "sums up with this hospital under masks (privacy.trust: secure). Have them from the hospitals' people, never "
        "from the server's.",
    )
    weights: dict[str, Path] = Field(
        default_factory=dict, description="Files of networks' weights, by the SHA-256 by which deployments name them."
    )
    algorithms: list[str] = Field(
        default_factory=list,
        description="Import paths (`package.module:Class`) of algorithms of others that may run here.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="Where the hospital computes.")
    threads: int = Field(default=1, ge=1, le=1024, description="Processor threads; sums depend on their number.")
    uplink_megabits_per_second: float = Field(default=20.0, gt=0, description="Speed of the line, for simulated times.")
    images_per_second: float = Field(default=20.0, gt=0, description="Speed of the computer, for simulated times.")
    availability: float = Field(
        default=1.0, gt=0, le=1, description="Simulation alone: fraction of rounds in which the hospital takes part."
    )
    faults: list[Fault] = Field(default_factory=list, description="Simulation alone: what it does wrong.")
    secret_seed: int | None = Field(
        default=None, description="For tests alone: the secret comes from this number, and nothing is private."
    )

    @field_validator("name")
    @classmethod
    def _name_is_free(cls, value: str, info: Any) -> str:
        if value in ("server", "nodes"):
            raise ValueError(f"{value!r} is taken, choose another name")
        return value

    @field_validator("columns")
    @classmethod
    def _columns_name_nobody(cls, value: list[str]) -> list[str]:
        return without_identities(value)

    @property
    def pooled(self) -> bool:
        """Whether it is the holder of every hospital's patients, in a simulation."""
        return self.name == ALL


def read_site_file(path: Path) -> SiteFile:
    """Read a site file; its paths become absolute.

    Raises InputError, in one line, for a file that cannot be read, bad YAML, an unknown key or a wrong value.
    """
    try:
        content = fill_in(read_yaml_file(path), str(path))
        file = SiteFile.model_validate(content)
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise InputError(f"{path}: cannot be read ({reason}); give the path of a site file") from error
    except ValidationError as error:
        raise InputError(f"{path}: {first_fault(error)}; fedmammo schema --site explains every key") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    here = path.resolve().parent
    paths: dict[str, Any] = {
        name: here / value
        for name in ("cohort", "state", "pools", "patients", "features")
        if (value := getattr(file, name))
    }
    if file.superlink is not None:
        link = file.superlink
        there = {"certificate": here / link.certificate, "key": here / link.key}
        paths["superlink"] = link.model_copy(update=there)
    return file.model_copy(update=paths)


def write_site_file(file: SiteFile) -> str:
    """Return the text of a site file, defaults left out."""
    return yaml.safe_dump(file.model_dump(mode="json", exclude_defaults=True), sort_keys=False, allow_unicode=True)
