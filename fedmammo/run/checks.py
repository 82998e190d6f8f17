"""What is checked before anything of a run is written: whether all that a study asks for is there, and can be."""

from importlib.metadata import version
from pathlib import Path

from fedmammo.cohort.store import Cohort
from fedmammo.config.deployment import Deployment
from fedmammo.config.study import StudyConfig
from fedmammo.disk.files import digest_of_sources
from fedmammo.errors import InputError
from fedmammo.hospitals.dealing import Dealt, deal
from fedmammo.hospitals.demands import check_columns
from fedmammo.hospitals.profiles import digest_of_profiles
from fedmammo.run.pools import check_source
from fedmammo.run.public import Public
from fedmammo.stages.planning import cannot_take_off


def check(config: StudyConfig) -> tuple[Dealt, dict[str, str]]:
    """Open everything that a simulation needs, before anything is written.

    Returns the hospitals as they are dealt, and what else the results depend on: digests of code, weights, cohort and
    profiles, device and versions. Raises InputError, in one line, for whatever the study asks for that is not there
    or cannot be.
    """
    cohort = Cohort.open(config.cohort_folder)
    check_columns(cohort.patients, config.evaluation.subgroups)
    dealt, seen = deal(cohort, config), set()
    at_home = [profile.name for profile in dealt.profiles if profile.scores != "rows"]
    if at_home and dealt.anew:
        raise InputError(
            f"hospitals.seed: draws deal patients anew, and {at_home[0]} keeps its tested patients' scores, so that it "
            "is one hospital; take one draw"
        )
    for deployment in config.deployments:
        place = (deployment.draw, deployment.seed if deployment.dealing.folds else 0, deployment.fold)
        if place not in seen:
            seen.add(place)
            _check_tested(dealt, cohort, deployment)
    digests = {"cohort": cohort.digest, "profiles": digest_of_profiles(config.hospitals, dealt.names)}
    return dealt, check_deployments(config, dealt.names) | digests


def check_deployments(config: StudyConfig, hospitals: list[str], run: Path = Path()) -> dict[str, str]:
    """Check what a study asks of its hospitals, whoever they are; returns what the results depend on at the server.

    `run`: folder of the run, where networks are kept as they were opened if there is no cohort with a place for that.
    Raises InputError as `check` does.
    """
    networks = {}
    for deployment in config.deployments:
        networks[deployment.diagnosis.model_dump_json()] = deployment
        members = [name for group in deployment.groups(hospitals) for name in group.members]
        rounds = range(1, deployment.federation.rounds + 1 if deployment.schedule else 2)
        fewest = min(len(deployment.present(members, number)) for number in rounds)
        if not fewest:
            raise InputError("hospitals.schedule: there is a round in which nobody takes part; let somebody")
        why = deployment.strategy.refuses(deployment, fewest) if deployment.arm.federated else None
        if why:
            raise InputError(f"federation.strategy: {why}")
        if deployment.trust == "secure" and (why := cannot_take_off(deployment, len(members), fewest)):
            raise InputError(f"privacy: {why}")
        why = deployment.federation.personal.refuses(deployment) if deployment.arm.kind == "personalized" else None
        if why:
            raise InputError(f"federation.personal: {why}")
    public = Public(config, run)
    backbones = [public.backbone(deployment) for deployment in networks.values()]
    return {
        "code": digest_of_sources(),
        "weights": " ".join(dict.fromkeys(backbones)),
        **({"images": check_source(config.synthesis)} if config.synthesis else {}),
        "device": public.device.type,
        "libraries": ", ".join(f"{name} {version(name)}" for name in ("torch", "timm", "flwr", "numpy")),
    }


def _check_tested(dealt: Dealt, cohort: Cohort, deployment: Deployment) -> None:
    """Raise InputError where nobody is left to train or to test on."""
    everybody = dealt.held(cohort, deployment)
    if not any(len(holder.test) for holder in everybody.values()):
        if deployment.dealing.folds:
            place = f"fold {deployment.fold} of seed {deployment.seed}"
            raise InputError(f"evaluation.folds: {deployment.dealing.folds}, but {place} tests nobody; take fewer")
        splits = ", ".join(sorted(cohort.patients["split"].unique()))
        raise InputError(f"evaluation.test: the cohort has no split {deployment.dealing.test!r}; it has {splits}")
