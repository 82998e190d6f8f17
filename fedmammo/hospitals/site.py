"""A hospital's site: all that its software knows, opened from the hospital's own file and from nothing else."""

import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Literal

import pandas as pd

from fedmammo.cohort.store import FILES, Cohort
from fedmammo.config.deployment import Deployment
from fedmammo.disk.files import write_text
from fedmammo.errors import InputError
from fedmammo.hospitals.holder import Holder, hold
from fedmammo.hospitals.records import Records, records_of
from fedmammo.hospitals.site_file import SiteFile, read_site_file
from fedmammo.hospitals.stopping import check_runs
from fedmammo.privacy.odometer import Odometer
from fedmammo.privacy.reasons import RefusalError
from fedmammo.privacy.secret import Secret

APPROVED = "approved.json"  # in the folder of state: the studies that the hospital's people agreed to, and its cohort


class Site:
    """What a hospital has: its cohort, its records, its limits, its secret and its ledgers.

    Args:
        file: as the hospital wrote it.
    """

    def __init__(self, file: SiteFile) -> None:
        self.file = file
        self.name, self.limits, self.folder = file.name, file.limits, file.state
        self._holders: dict[tuple[object, ...], Holder] = {}
        self._records: dict[int, Records] = {}
        self._patients: dict[int, pd.DataFrame] = {}
        self._deployments: dict[str, Deployment] = {}
        self.opened_with = "" if self.simulated else signature(file.cohort)

    @classmethod
    def open(cls, node: Path) -> "Site":
        """Open the site of the file at `node`; a process opens each once, and again when its file or cohort changed.

        Raises InputError for a file or a cohort that cannot be read.
        """
        os.umask(0o077)  # what a hospital writes is its own to read
        try:
            site = _open(node, node.stat().st_mtime_ns)
            if site.simulated or site.opened_with == signature(site.file.cohort):
                return site
            _open.cache_clear()  # there are other patients now: whatever was opened is of those before
            return _open(node, node.stat().st_mtime_ns)
        except OSError as error:
            raise InputError(f"{node}: cannot be read ({error.strerror}); give the path of a site file") from error

    @property
    def simulated(self) -> bool:
        """Whether its deployments are hospitals that might have been."""
        return self.file.kind == "simulated"

    @property
    def cohort(self) -> Cohort:
        """Its patients and, in a simulation, others' too."""
        return open_cohort(self.file.cohort, self.file.features, self.opened_with)

    @property
    def pools(self) -> Path:
        """The folder of synthetic images that arrived."""
        return self.file.pools or self.folder / "pools"

    @property
    def secret(self) -> Secret:
        """What it tells nobody."""
        return Secret.of(self.folder, self.file.secret_seed)

    @property
    def odometer(self) -> Odometer:
        """What it has released, and may release."""
        return Odometer(self.folder, self.limits, one_for_all=not self.simulated)

    def check_runs(self) -> None:
        """Raise RefusalError where its people have stopped its part."""
        if not self.simulated:
            check_runs(self.folder)

    def name_of(self, deployment: Deployment, generator: str = "") -> str:
        """Name a deployment's ledger and folder, or those of a generator that it shares with others.

        At a real hospital two studies may use the same names: there digests tell them apart.
        """
        if self.simulated:
            return generator or deployment.name
        return f"{deployment.study[:16]}-{generator}" if generator else deployment.digest[:32]

    def patients(self, draw: int) -> pd.DataFrame:
        """Return its patients as `hold` and `records_of` take them; at a real hospital, draws do not differ."""
        if draw not in self._patients:
            self._patients[draw] = self._patients_of(draw)
        return self._patients[draw]

    def _patients_of(self, draw: int) -> pd.DataFrame:
        patients = self.cohort.patients.assign(pseudonym=self.cohort.pseudonyms)
        if self.file.patients is None:
            return patients.assign(hospital=self.name, digitiser="", exchanged=False)
        table = _table(self.file.patients)
        table = table[table["draw"] == draw].set_index("patient")[["hospital", "digitiser", "exchanged"]]
        if table.empty:
            raise InputError(
                f"{self.file.patients}: has no patients of draw {draw}; the command that wrote it mends it"
            )
        others = patients.drop(columns=table.columns, errors="ignore")
        return others[others["pseudonym"].isin(table.index)].join(table, on="pseudonym").sort_index()

    @property
    def draws(self) -> list[int]:
        """Draws of a simulation in which it holds patients; at a real hospital there is one."""
        return (
            [0] if self.file.patients is None else [int(draw) for draw in _table(self.file.patients)["draw"].unique()]
        )

    def records(self, draw: int) -> Records:
        """Return what it has on record, in a draw."""
        if draw not in self._records:
            self._records[draw] = records_of(self.cohort, self.patients(draw), self.file.digitisers)
        return self._records[draw]

    def holder(self, deployment: Deployment) -> Holder:
        """Return who trains, sets thresholds and is tested in a deployment, worked out from its own patients."""
        seed = deployment.seed if deployment.dealing.folds else 0
        key = (deployment.draw, seed, deployment.fold, deployment.inner_fold, deployment.dealing)
        if key not in self._holders:
            patients = self.patients(deployment.draw)
            self._holders[key] = hold(self.name, patients, self.cohort.rows_of_patients, deployment)
        return self._holders[key]

    def keep(self, deployment: Deployment) -> None:
        """Keep a deployment under its digest, from now on its name."""
        path = self._kept(deployment.digest)
        if not path.exists():
            write_text(path, deployment.model_dump_json())
        self._deployments[deployment.digest] = deployment

    def deployment(self, digest: str) -> Deployment:
        """Return a deployment that was kept.

        Raises RefusalError for a digest that is not known here, and for an algorithm that is not allowed any more.
        """
        if digest not in self._deployments:
            path = self._kept(digest)
            if not path.exists():
                raise RefusalError("refused: no deployment of this digest was agreed to here")
            text = path.read_text()
            name = json.loads(text)["federation"]["strategy"]["name"]
            if ":" in name and name not in self.file.algorithms:  # before it is imported
                why = f"refused: algorithm {name} is not in algorithms of the site file any more"
                raise RefusalError(why, "algorithms")
            self._deployments[digest] = Deployment.model_validate_json(text)
        return self._deployments[digest]

    def _kept(self, digest: str) -> Path:
        if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
            raise RefusalError("refused: that is not a digest", "not_understood")
        return self.folder / "deployments" / f"{digest}.json"

    @property
    def approved(self) -> dict[str, str]:
        """Digests of the studies that its people agreed to, and of the cohort that it had then."""
        path = self.folder / APPROVED
        try:
            found = json.loads(path.read_text()) if path.exists() else {}
            return {str(study): str(cohort) for study, cohort in found.items()}
        except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(f"{path}: is damaged; delete it, and approve anew with fedmammo site approve") from error

    def approve(self, study: str) -> None:
        """Write down that the hospital's people agree to a study, by its digest, with the cohort as it is."""
        found = self.approved | {study: self.cohort.digest}
        write_text(self.folder / APPROVED, json.dumps(found, sort_keys=True, indent=1) + "\n")

    def approval_of(self, deployment: Deployment) -> Literal["given", "missing", "of another cohort"]:
        """Say whether its people agreed to what a deployment does, with these patients; in a simulation they did."""
        if self.simulated:
            return "given"
        cohort = self.approved.get(deployment.study)
        if cohort is None:
            return "missing"
        return "given" if cohort == self.cohort.digest else "of another cohort"


@lru_cache(maxsize=1024)
def _open(node: Path, _: int) -> Site:
    return Site(read_site_file(node))


@lru_cache(maxsize=8)
def open_cohort(path: Path, features: Path | None = None, _: str = "") -> Cohort:
    """Open a prepared cohort, with its features in a folder of their own if told; a process opens each once."""
    return Cohort.open(path, features)


def signature(cohort: Path) -> str:
    """Return what changes when the files of a cohort do: their places on the disk, sizes and times."""
    found = ((cohort / name).stat() for name in FILES if (cohort / name).exists())
    return " ".join(f"{one.st_ino}/{one.st_size}/{one.st_mtime_ns}" for one in found)


@lru_cache(maxsize=256)
def _table(path: Path) -> pd.DataFrame:
    types = {"draw": int, "patient": str, "hospital": str, "digitiser": str, "exchanged": bool}
    try:
        return pd.read_csv(path, dtype=types, na_filter=False)[list(types)]
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read ({reason}); the command that wrote it mends it") from error
