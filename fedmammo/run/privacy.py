"""guarantees.csv and privacy.csv: what a run promises patients, and what each hospital spent; read from ledgers."""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from math import ceil, nan
from pathlib import Path
from typing import Any

import pandas as pd

from fedmammo.config.arm import ALL
from fedmammo.config.deployment import Deployment
from fedmammo.config.study import StudyConfig
from fedmammo.privacy.accounting import attack_power, epsilon, in_words, replace_one, spent_of
from fedmammo.privacy.ledger import read_lines, spent_in
from fedmammo.privacy.mechanism import Mechanism
from fedmammo.privacy.plan import DELTAS, RELATION, UNIT, adversary
from fedmammo.run.folder import HOSPITALS
from fedmammo.run.guarantees import NOBODY, PATIENT, Guarantee, is_seeded, ledgers_of

GUARANTEES = (
    "arm", "setting", "epsilon", "delta", "end_to_end", "best_attack", "protection", "epsilon_exchanged", "patients",
    "trust", "adversary", "unit", "relation", "sentence",
)  # fmt: skip
STRICT = "epsilon_at_1e-6"
PRIVACY = (
    "arm", "setting", "hospital", "stage", "releases", "steps", "epsilon", "delta", STRICT, "noise_multiplier",
    "clipping_norm", "rate",
)  # fmt: skip
TOGETHER = "together"  # in place of a stage: all of a deployment's
POOLED = {
    "local": "whoever gets the model; the holder of all patients has their data and is trusted",
    "central": "whoever gets the model; the holder of all patients and the server are trusted",
}  # against whom, where one holder has everybody's patients

Place = tuple[str, str]  # arm and setting
Drawn = list[tuple[Mechanism, int]]  # a mechanism and its steps for each release
Read = Callable[[Path], Drawn]  # of a ledger


def guarantee_table(
    run: Path, config: StudyConfig, deployments: Sequence[Deployment], held: dict[Place, Guarantee]
) -> pd.DataFrame:
    """Return guarantees.csv: a row for each arm and setting of `held`, also for those that guarantee nothing.

    Args:
        run: folder of the run.
        config: the study.
        deployments: those that `held` speaks of.
        held: as `fedmammo.run.guarantees.guarantees` returns it.
    """
    read, seeded = _reader(), is_seeded(run, config)
    rows = []
    for place, one in held.items():
        own = [deployment for deployment in deployments if (deployment.arm_name, deployment.setting_name) == place]
        budget: dict[str, Any] = {}
        if own[0].privacy is not None:
            found = [(folder, deployment) for deployment in own for folder in _folders(run, deployment)]
            spent = [spent_of(_drawn(folder, deployment, read)) for folder, deployment in found]
            trust, privacy = own[0].trust, own[0].privacy
            against = POOLED[trust] if own[0].arm.pooled else adversary(trust, privacy.dropouts, privacy.colluding)
            budget = {
                "epsilon_exchanged": max((replace_one(part, one.delta) for part in spent), default=nan),
                "patients": min((_fewest(folder, deployment) for folder, deployment in found), default=None),
                "trust": trust,
                "adversary": against,
                "unit": UNIT,
                "relation": RELATION,
            }
        rows.append({"arm": place[0], "setting": place[1], **one._asdict(), **_told(one, seeded), **budget})
    table = pd.DataFrame(rows, columns=list(GUARANTEES))
    return table.astype({"patients": "Int64"})


def privacy_table(run: Path, config: StudyConfig, deployments: Sequence[Deployment]) -> pd.DataFrame:
    """Return privacy.csv: what each hospital (or `all`, who holds all patients) spent in each stage, and together.

    Of seeds, draws and folds that which cost most. The last row has `all` for arm, setting and hospital: what a patient
    would have spent, were every deployment published. In each draw it is taken to be in the hospital that spent most.

    Args:
        run: folder of the run.
        config: the study; the last row is of all its deployments, finished or not.
        deployments: those that the other rows speak of.
    """
    read = _reader()
    most: dict[tuple[Place, str, str], dict[str, Any]] = {}
    for one in deployments:
        if one.privacy is not None:
            for folder in _folders(run, one):
                for row in _rows(_drawn(folder, one, read), one.privacy.delta):
                    key = (one.arm_name, one.setting_name), folder.name, row["stage"]
                    if key not in most or row["epsilon"] > most[key]["epsilon"]:
                        most[key] = row
    order = list(dict.fromkeys(place for place, _, _ in most))
    keys = sorted(most, key=lambda key: (order.index(key[0]), key[1]))  # stages stay in the order in which they ran
    rows = [{"arm": place[0], "setting": place[1], "hospital": name, **most[place, name, stage]}
            for place, name, stage in keys]  # fmt: skip
    published = _published(run, config, read)
    if published:
        together = {"stage": TOGETHER, **_cost(published, config.privacy.delta)}
        rows.append({**dict.fromkeys(("arm", "setting", "hospital"), ALL), **together})
    return pd.DataFrame(rows, columns=list(PRIVACY))


def _told(one: Guarantee, seeded: bool) -> dict[str, Any]:
    """Say in numbers and in words what a guarantee means; numbers only where it holds from end to end."""
    if one.end_to_end == NOBODY:
        return {"sentence": "No patient's data had a part in the model."}
    if one.end_to_end != PATIENT:
        why = "the synthetic images that it learned from have no guarantee"
        if pd.isna(one.epsilon):
            why = "it has no budget of privacy"
        elif seeded:
            why = "the hospitals' secrets came from a number that the study tells"
        return {"sentence": f"Nothing bounds what an attack on the model finds: {why}."}
    power, words = attack_power(one.epsilon, one.delta), in_words(one.epsilon, one.delta)
    percent = ceil(1000 * power - 1e-9) / 10  # `at most` is rounded up
    return {
        "best_attack": power,
        "protection": words,
        "sentence": f"The best attack finds at most {percent:g} % of those who took part when it accuses 1 % of the "
        f"others wrongly: {words}.",
    }


def _reader() -> Read:
    """Return what reads ledgers, each once."""
    return cache(lambda path: spent_in([path]))


def _folders(run: Path, deployment: Deployment) -> list[Path]:
    """Return the folders of the hospitals that agreed to a deployment."""
    folders = sorted((run / HOSPITALS).glob("*/"))
    return [folder for folder in folders if ledgers_of(folder, deployment)[0].exists()]


def _drawn(folder: Path, deployment: Deployment, read: Read) -> Drawn:
    """List a hospital's releases in a deployment, those of its generator first."""
    return [release for path in reversed(ledgers_of(folder, deployment)) for release in read(path)]


def _fewest(folder: Path, deployment: Deployment) -> int:
    """Return the fewest training patients that a hospital declared, as the plan says that one agreed to."""
    lines = read_lines(ledgers_of(folder, deployment)[0])
    return min(count for line in lines if "agreed" in line for count in line["plan"]["patients"].values())


def _rows(drawn: Drawn, delta: float) -> Iterator[dict[str, Any]]:
    """Yield what each stage cost, then all together; nothing where nothing was released."""
    for stage in dict.fromkeys(mechanism.stage for mechanism, _ in drawn):
        own = [(mechanism, steps) for mechanism, steps in drawn if mechanism.stage == stage]
        first = own[0][0]  # a plan has one for each stage
        about = {name: getattr(first, name) for name in ("noise_multiplier", "clipping_norm", "rate")}
        yield {"stage": stage, **_cost(own, delta), **about}
    if drawn:
        yield {"stage": TOGETHER, **_cost(drawn, delta)}


def _cost(drawn: Drawn, delta: float) -> dict[str, Any]:
    spent = spent_of(drawn)
    return {
        "releases": len(drawn),
        "steps": sum(steps for _, steps in drawn),
        "epsilon": epsilon(spent, delta),
        "delta": delta,
        STRICT: epsilon(spent, DELTAS[-1]),
    }


def _published(run: Path, config: StudyConfig, read: Read) -> Drawn:
    """List all releases that a patient has a part in, whose hospital spent most in each draw.

    Those of the holder of all patients are among them. Deployments may share a ledger, which counts once.
    """
    delta, whole = config.privacy.delta, []
    private = [one for one in config.deployments if one.privacy is not None]
    for draw in config.hospitals.seed:
        of_hospitals: list[Drawn] = [[]]
        for folder in sorted((run / HOSPITALS).glob("*/")):
            paths = dict.fromkeys(path for one in private if one.draw == draw for path in ledgers_of(folder, one))
            drawn = [release for path in paths for release in read(path)]
            if folder.name == ALL:
                whole += drawn
            else:
                of_hospitals.append(drawn)
        whole += max(of_hospitals, key=lambda drawn: epsilon(spent_of(drawn), delta))
    return whole
