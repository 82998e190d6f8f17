"""What a run leaves behind, and how it is continued: one folder, every file written beside and renamed."""

import fcntl
import json
import os
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pandas as pd
import yaml

from fedmammo.config.arm import ALL
from fedmammo.config.deployment import Deployment
from fedmammo.config.study import StudyConfig, dump, parse
from fedmammo.disk.files import read_tensors, write_tensors, write_text
from fedmammo.disk.yaml import read_yaml_file
from fedmammo.errors import InputError
from fedmammo.evaluation.predictions import COLUMNS
from fedmammo.run.dictionary import explained
from fedmammo.run.results import FINISHED
from fedmammo.synthesis.names import PRETRAINING
from fedmammo.synthesis.sources import POOLS

if TYPE_CHECKING:  # whoever reads a run needs no torch
    from torch import Tensor

ROUND_COLUMNS = (
    "arm", "setting", "seed", "draw", "fold", "stage", "round", "hospital", "status",
    "simulated_seconds", "bytes_up", "bytes_down", "loss", "epsilon_spent", "patients",
)  # fmt: skip
TIMINGS = "timings.csv"
LINKS = "links.csv"  # what messages to real hospitals took
HOW_TOLD = "told/scores.json"  # how hospitals tell of tested patients, where not all give rows
TABLED = ("unit", "pooling", "primary", "prevalence", "thresholds")  # keys of evaluation that tables alone depend on
TABLES = ("rounds", "predictions")  # of each deployment, gathered in the end
GROW = ("arms", "settings", "seeds")  # of a study's keys, in which a run may grow; the draws of hospitals do, too
GANS = "generator-*"  # in place of a deployment, where a GAN is trained
PHANTOM_GAN = "phantom-generator"  # where all GANs begin
TRIED = "tried-"  # how files begin that hold what was tried for a deployment, and only while it runs
DEPLOYMENTS, HOSPITALS = "deployments", "hospitals"
LEFT_OVER = (
    f"hospitals/*/{GANS}",
    f"{DEPLOYMENTS}/{GANS}/checkpoint.safetensors",
    f"{DEPLOYMENTS}/{PRETRAINING}-*",
    f"{DEPLOYMENTS}/{PHANTOM_GAN}",
    f"{POOLS}/*/features",
    f"{POOLS}/.*",
    "hospitals/*/secret",
    "hospitals/*/deployments",
    "hospitals/*/tested",
    "server",
)  # what only continuing a run needs, beside what each deployment leaves
HARDLY_BEGUN = (".lock", ".config.yaml", "run.log", "features")  # what there is of a run before its study is written
LOCK_SECONDS = 10.0  # how long to wait for a run that was just killed to let go of its folder


def round_row(
    place: dict[str, Any], stage: str, number: int, hospital: str, status: str = "ok", loss: float | None = None
) -> dict[str, Any]:
    """Return a row of rounds.csv: what a hospital (or `all`) did in a round of a stage; no bytes travelled.

    `place`: of the deployment (`Deployment.place`).
    """
    done = (stage, number, hospital, status, None, 0, 0, loss, None, None)
    return {**place, **dict(zip(ROUND_COLUMNS[5:], done, strict=True))}


def write_rounds(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows of rounds.csv to the folder of a deployment, or of a GAN that several deployments share."""
    write_text(folder / "rounds.csv", pd.DataFrame(rows, columns=list(ROUND_COLUMNS)).to_csv(index=False))


class RunFolder:
    """The folder of a run.

    `config.yaml`, then for each deployment `deployments/<name>/` (a checkpoint while it runs, what models scored
    meanwhile where the study draws curves, its predictions and rounds when it is finished), `models/*.safetensors`,
    `synthetic/` with the pools of images, `hospitals/<name>/` with each hospital's site file and state; at the end the
    tables of `fedmammo.run.dictionary`. `timings.csv` and `run.log` may differ between equal runs.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def opened(self, config: StudyConfig, digests: dict[str, str]) -> Iterator["RunFolder"]:
        """Make the folder or take up an earlier run of the study, or of a part of it; nobody else may use it meanwhile.

        Raises InputError where it holds something else, another study, or is in use.
        """
        try:
            self._refuse_others(config, digests)
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = (self.path / ".lock").open("w")
            self._take(lock)
            os.umask(0o077)  # a run is its owner's alone to read
            self._refuse_others(config, digests)  # again: whoever held the lock may have begun another study
            (self.path / FINISHED).unlink(missing_ok=True)
            write_text(self.path / "config.yaml", dump(config, digests=digests))
        except OSError as error:
            raise InputError(
                f"{self.path}: cannot write there ({error.strerror}); name another folder with --out"
            ) from error
        with lock:
            yield self

    def _take(self, lock: IO[str]) -> None:
        for _ in range(int(LOCK_SECONDS * 10)):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                time.sleep(0.1)
        raise InputError(f"{self.path}: another process runs this study; wait for it, or name another --out")

    def _refuse_others(self, config: StudyConfig, digests: dict[str, str]) -> None:
        cohort = next((folder for folder in self.path.resolve().parents if (folder / "cohort.json").exists()), None)
        if cohort is not None:
            raise InputError(f"{self.path}: lies in the cohort {cohort}, which holds identities; name another --out")
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise InputError(f"{self.path}: is a file; name a folder with --out")
        names = {item.name for item in self.path.iterdir()}
        if all(
            name.startswith((".lock", ".config.yaml", "run.log", "features")) for name in names
        ):  # a run that hardly began
            return
        if "config.yaml" not in names:
            raise InputError(f"{self.path}: is not empty and holds no run; name another folder with --out")
        before, digests_before = read_config(self.path)
        old, new = before.without_engine(), config.without_engine()
        for study in (old, new):
            study["hospitals"].pop("seed")
            for key in TABLED:
                study["evaluation"].pop(key)
        if old["synthesis"] is None:  # new settings may need a source
            old["synthesis"], digests_before["images"] = new["synthesis"], digests.get("images", "")
        differs = sorted(key for key in new if new[key] != old.get(key) and key not in GROW)
        for name in digests:
            known, own = (str(one.get(name, "")).split() for one in (digests_before, digests))
            if known != own and not (name == "weights" and set(known) <= set(own)):  # a new setting may bring a network
                differs.append(f"the {name}")
        if differs:
            raise InputError(
                f"{self.path}: holds a run of another study ({', '.join(differs)} differ); name another --out"
            )
        wanted = {deployment.name: deployment.digest for deployment in config.deployments}
        for deployment in before.deployments:
            if wanted.get(deployment.name) != deployment.digest:
                how = "is another in" if deployment.name in wanted else "is missing from"
                raise InputError(
                    f"{self.path}: holds a run whose {deployment.name} {how} this study; a run grows by arms, "
                    "settings, seeds and draws beside those that it has: add these, or name another --out"
                )

    @property
    def hospitals(self) -> Path:
        """The folder of the simulated hospitals, each with its site file and its own state."""
        return self.path / HOSPITALS

    @property
    def server(self) -> Path:
        """The folder of the server's own secret."""
        return self.path / "server"

    @property
    def pools(self) -> Path:
        """The folder of pools of synthetic images."""
        return self.path / POOLS

    def shared(self, name: str) -> Path:
        """Return the folder of what several deployments share: a GAN, a pretrained model."""
        return self.path / DEPLOYMENTS / name

    def folder(self, deployment: Deployment) -> Path:
        """Return the folder of a deployment."""
        return self.shared(deployment.name)

    def checkpoint(self, deployment: Deployment) -> Path:
        """Return the file that keeps a deployment's last finished round."""
        return self.folder(deployment) / "checkpoint.safetensors"

    def generator(self, name: str) -> Path:
        """Return the file of a finished generator."""
        return self.path / "models" / f"{name}.safetensors"

    def model(self, deployment: Deployment, trained_at: str) -> Path:
        """Return the file of a finished model."""
        return self.path / "models" / f"{deployment.name}-{trained_at}.safetensors"

    def weights(self, deployment: Deployment) -> dict[str, int]:
        """Read how an ensemble weighs hospitals' models: by training patients. Nothing for other arms."""
        if deployment.arm.kind != "ensemble":
            return {}
        return {name: int(tensor) for name, tensor in read_tensors(self.model(deployment, ALL))[0].items()}

    def finished(self, deployment: Deployment) -> bool:
        """Whether nothing is left to do for a deployment."""
        return all((self.folder(deployment) / f"{table}.csv").exists() for table in TABLES)

    def unfinished(self, deployments: Iterable[Deployment]) -> list[Deployment]:
        """Return the deployments that are still to be run."""
        return [deployment for deployment in deployments if not self.finished(deployment)]

    def finish(
        self,
        deployment: Deployment,
        models: "dict[str, dict[str, Tensor]]",
        rounds: list[dict[str, Any]],
        predictions: pd.DataFrame,
        seconds: float,
    ) -> None:
        """Keep what a deployment leaves behind, and drop what only continuing it needed.

        The predictions are written last but for that, and mark the deployment as finished.
        """
        for trained_at, model in models.items():
            about = {**deployment.place, "trained_at": trained_at}
            write_tensors(self.model(deployment, trained_at), model, {"fedmammo": json.dumps(about)})
        write_rounds(self.folder(deployment), rounds)
        write_text(self.folder(deployment) / "predictions.csv", predictions.to_csv(index=False))
        self._tidy(deployment)
        with suppress(FileExistsError), (self.path / TIMINGS).open("x") as file:
            file.write("arm,setting,seed,draw,fold,seconds\n")
        with (self.path / TIMINGS).open("a") as file:  # one short line: several processes may add theirs
            file.write(f"{','.join(map(str, deployment.place.values()))},{seconds:.2f}\n")

    def _tidy(self, deployment: Deployment) -> None:
        """Drop what only continuing a deployment needed: checkpoints, optimisers' states, and what was tried for it."""
        for pattern in ("*.safetensors", f"{TRIED}*.csv"):
            for path in self.folder(deployment).glob(pattern):
                path.unlink(missing_ok=True)
        for state in self.path.glob(f"hospitals/*/{deployment.name}"):
            shutil.rmtree(state)

    def tried(self, deployment: Deployment, one: Deployment, run: Callable[[Deployment], pd.DataFrame]) -> pd.DataFrame:
        """Return what `one` scores, tried for a deployment of the arm `chosen`; `run` it where that is not there."""
        path = self.folder(deployment) / f"{TRIED}{one.name}.csv"
        if not path.exists():
            write_text(path, run(one).to_csv(index=False))
        self._tidy(one)  # again: a run may have been killed between keeping and tidying
        shutil.rmtree(self.folder(one), ignore_errors=True)
        return self._predictions(path)

    def keep_scores(self, deployment: Deployment, number: int, predictions: pd.DataFrame) -> None:
        """Keep what models scored after a round that was not the last, for curves: also of a study that grows later."""
        write_text(self._scores(deployment, number), predictions[list(COLUMNS)].to_csv(index=False))

    def _scores(self, deployment: Deployment, number: int) -> Path:
        return self.folder(deployment) / f"scores-{number:05d}.csv"

    def scores(self, deployments: list[Deployment], number: int) -> pd.DataFrame:
        """Read what `keep_scores` kept of deployments. Raises InputError where a file is not there, or damaged."""
        tables = (self._predictions(self._scores(deployment, number)) for deployment in deployments)
        return pd.concat(tables, ignore_index=True)

    def complete(self, deployments: list[Deployment]) -> list[Deployment]:
        """Return the finished deployments of those arms and settings of which all deployments are finished."""
        left = {
            (deployment.arm_name, deployment.setting_name)
            for deployment in deployments
            if not self.finished(deployment)
        }
        return [deployment for deployment in deployments if (deployment.arm_name, deployment.setting_name) not in left]

    def collect(self, deployments: list[Deployment]) -> None:
        """Gather all deployments' predictions and rounds into one table each, and drop what only continuing needs."""
        for deployment in deployments:
            self._tidy(deployment)  # again: a run may have been killed between finishing and tidying
        for pattern in LEFT_OVER:
            for left in self.path.glob(pattern):
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        for table in TABLES:
            gans = sorted(self.path.glob(f"{DEPLOYMENTS}/{GANS}/{table}.csv"))  # GANs have rounds alone
            paths = [*gans, *(self.folder(deployment) / f"{table}.csv" for deployment in deployments)]
            parts = [path.read_text().split("\n", 1) for path in paths]
            write_text(self.path / f"{table}.csv", f"{parts[0][0]}\n" + "".join(body for _, body in parts))

    def predictions(self, deployments: list[Deployment] | None = None) -> pd.DataFrame:
        """Read the predictions of these deployments, or all that a finished run collected.

        Raises InputError where the run is not finished, or a file is damaged.
        """
        if deployments is not None:
            tables = (self._predictions(self.folder(deployment) / "predictions.csv") for deployment in deployments)
            return pd.concat(tables, ignore_index=True)
        if (self.path / HOW_TOLD).exists():
            raise InputError(
                f"{self.path}: this needs rows of all tested patients, and some of its hospitals keep them; its tables "
                "say what these tell"
            )
        path = self.path / "predictions.csv"
        if not path.exists():
            raise InputError(f"{self.path}: holds no finished run; finish it with fedmammo run ... --out {self.path}")
        return self._predictions(path)

    @staticmethod
    def _predictions(path: Path) -> pd.DataFrame:
        numbers = dict.fromkeys(("seed", "draw", "fold", "label"), int) | {"score": float}
        kinds: defaultdict[str, type] = defaultdict(lambda: str, numbers)
        try:
            content = path.read_bytes()
            if not content.endswith(b"\n"):  # its last score may have lost digits
                raise ValueError("its end is missing")
            table = pd.read_csv(BytesIO(content), dtype=kinds, na_filter=False)
            if missing := set(COLUMNS) - set(table):
                raise ValueError(f"no column {min(missing)}")
            return table
        except (OSError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"{path}: is damaged ({reason}); the run's own command mends it") from error

    def conclude(self, tables: dict[str, pd.DataFrame], whole: bool) -> None:
        """Write tables by their names, and what every column means. `whole`: whether they are of all deployments."""
        for name, table in tables.items():
            write_text(self.path / f"{name}.csv", table.to_csv(index=False))
        write_text(self.path / "columns.csv", explained().to_csv(index=False))
        if whole:
            write_text(self.path / FINISHED, "")


def read_config(folder: Path) -> tuple[StudyConfig, dict[str, str]]:
    """Read the configuration and the digests that a run left in its folder.

    Raises InputError where there is no run.
    """
    path = folder / "config.yaml"
    try:
        content = read_yaml_file(path)
        digests = dict(content.pop("digests"))
    except (OSError, yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: is not the configuration of a run; name the folder that fedmammo run made"
        ) from error
    return parse(content, str(path)), digests
