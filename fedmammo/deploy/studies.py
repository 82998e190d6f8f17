"""What a study asks hospitals' people to approve, as a file: whoever reads it works out every digest anew."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from fedmammo.config.arm import ABOUT
from fedmammo.config.deployment import Deployment
from fedmammo.config.setting import WITHOUT_IMAGES
from fedmammo.config.study import StudyConfig
from fedmammo.disk.files import digest_of_content
from fedmammo.errors import InputError
from fedmammo.federation.bundle import software
from fedmammo.privacy.reasons import RefusalError
from fedmammo.stages.agree import read_deployment

KINDS = {
    "real": "patients",
    "synthetic": "synthetic images",
    "public": "nobody",
    "augmented": "patients and synthetic images",
    "pretrained": "synthetic images, then patients",
}
TRUST = {
    "local": "nobody: each hospital adds noise to what it sends",
    "central": "the server: it sees each hospital's sum, and adds the noise",
    "secure": "the other hospitals: each adds a share of the noise; the server sees the total alone",
}
OPEN = "everybody who sees the models: without a budget, what is learned from patients may show in them"


def asked_of(study: StudyConfig) -> list[Deployment]:
    """Return one deployment for each thing that hospitals' people approve: an arm in a setting, whatever the seed.

    Where a generator has no part in the budget, what trains it is one more.
    """
    found: dict[str, Deployment] = {}
    for arm in study.arms:
        for setting in study.settings:
            one = study.deployment(arm, setting)
            found.setdefault(one.study, one)
            if one.setting.kind not in WITHOUT_IMAGES and not one.generator_share:
                of_generator = one.without_budget()
                found.setdefault(of_generator.study, of_generator)
    return list(found.values())


def write_studies(study: StudyConfig) -> str:
    """Return the text of the file: what is to be approved, each in full beside its digest."""
    approve = [
        {
            "arm": one.arm_name,
            "setting": one.setting_name,
            "digest": one.study,
            "deployment": one.model_dump(mode="json"),
        }
        for one in asked_of(study)
    ]
    return json.dumps({"study": study.name, "software": software(), "approve": approve}, indent=1) + "\n"


def read_studies(path: Path, algorithms: list[str]) -> list[Deployment]:
    """Read the file; every digest is worked out anew.

    `algorithms`: import paths that the hospital allows; nothing else is imported. Raises InputError for another file,
    one of another version of the software, or one whose digests are not those of what it holds.
    """
    try:
        content = json.loads(path.read_text())
        written_by, entries = str(content["software"]), list(content["approve"])
        said = [(str(one["digest"]), dict(one["deployment"])) for one in entries]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"{path}: is not the studies.json of a kit; name the file as fedmammo deploy kit wrote it"
        ) from error
    if written_by != software():
        raise InputError(f"{path}: is of software {written_by}, here it is {software()}; install the same at both ends")
    return [_checked(path, digest, content, algorithms) for digest, content in said]


def _checked(path: Path, digest: str, content: dict[str, Any], algorithms: list[str]) -> Deployment:
    try:
        found = read_deployment(json.dumps(content), digest_of_content(content), algorithms)
    except RefusalError as error:
        raise InputError(f"{path}: {digest[:16]}: {error}; ask the coordinator what it is") from error
    if found.study != digest:
        raise InputError(
            f"{path}: what is said to be {digest[:16]} is {found.study[:16]}; ask the coordinator for another kit"
        )
    return found


def described(one: Deployment) -> dict[str, str]:
    """Say in words what is approved."""
    rounds, steps = one.federation.rounds, one.federation.local_steps
    tried = f"; in {one.inner_folds} inner folds training patients are left out once and scored" * bool(one.inner_folds)
    budget = "none" if one.privacy is None else f"epsilon {one.setting.epsilon:g} at delta {one.privacy.delta:g}"
    return {
        "arm": one.arm_name,
        "setting": one.setting_name,
        "what is done": f"{ABOUT[one.arm.kind]}, from {KINDS[one.setting.kind]}{tried}",
        "rounds": f"{rounds} of {steps} steps",
        "strategy": one.strategy.name if one.arm.federated else "",
        "network": f"{one.diagnosis.network}, trains {one.diagnosis.train}",
        "budget": budget,
        "must be trusted": OPEN if one.privacy is None else TRUST[one.trust],
        "digest": one.study,
    }


def table_of(deployments: list[Deployment]) -> pd.DataFrame:
    """Return what is approved, a row each, as a terminal shows it; its longer words are below such a table."""
    shown = ("arm", "setting", "rounds", "strategy", "budget")
    rows = [{name: described(one)[name] for name in shown} | {"digest": one.study[:16]} for one in deployments]
    return pd.DataFrame(rows)


def asked_of_site(deployments: list[Deployment]) -> list[tuple[str, str]]:
    """List what a site file must say before its hospital takes part in all of them, and why."""
    budgets = [one for one in deployments if one.privacy is not None]
    trusts = {one.trust for one in budgets}
    rows = any(one.scored_every or one.arm.kind == "coalitions" or not one.arm.trained for one in deployments)
    asked = [
        ("scores: rows", "models are scored by a row for each tested image, under a pseudonym")
        if rows
        else ("scores: rows, or summaries", "a row for each tested image under a pseudonym, or numbers of many alone")
    ]
    if len(budgets) < len(deployments):
        asked.append(("limits.without_budget: accepted", "some settings have no budget of privacy"))
    if "central" in trusts:
        asked.append(("limits.central_trust: accepted", "the server adds the noise"))
    if "secure" in trusts:
        asked.append(("peers", "hospitals add sums up under masks, and know each other by these keys"))
    if budgets:
        most = max(one.setting.epsilon or 0.0 for one in budgets)
        asked.append((f"limits.maximum_epsilon: {most:g} or more", "the largest budget"))
        clipping = max(one.privacy.clipping_norm for one in budgets if one.privacy is not None)
        asked.append((f"limits.maximum_clipping_norm: {clipping:g} or more", "what one patient may add to a sum"))
    if columns := sorted({name for one in deployments for name in one.about}):
        asked.append((f"columns: [{', '.join(columns)}]", "what is told of tested images beside scores"))
    files = sorted({one.diagnosis.weights for one in deployments} - {"hub", "none"})
    asked += [
        (f"weights: {{{digest}: FILE}}", "the network's weights; ask the coordinator for the file") for digest in files
    ]
    own = sorted({one.federation.strategy.name for one in deployments if ":" in one.federation.strategy.name})
    return asked + [
        (f"algorithms: [{name}]", "code of somebody else's that runs at hospitals: read it") for name in own
    ]
