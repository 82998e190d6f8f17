"""`fedmammo site`: a hospital looks at its own site, and its people agree to a study."""

import json
import re
import stat
from contextlib import suppress
from pathlib import Path

import pandas as pd

from fedmammo.config.deployment import Deployment
from fedmammo.deploy.preflight import preflight
from fedmammo.deploy.studies import described, read_studies, table_of
from fedmammo.disk.files import digest_of_content, write_text
from fedmammo.errors import InputError
from fedmammo.hospitals.site import Site
from fedmammo.privacy.accounting import epsilon
from fedmammo.privacy.masks import public_key
from fedmammo.privacy.reasons import RefusalError
from fedmammo.report.part import Part
from fedmammo.stages.agree import check_deployment, read_deployment
from fedmammo.stages.stage import Job, Work

DIGEST = re.compile("[0-9a-f]{64}")
APPROVALS = "approvals"  # in the folder of state: what was approved of, in full, where it is known


def check_page(path: Path) -> list[Part]:
    """Say in a page whether a hospital could take part: its files, machine, patients, limits, what it would refuse.

    The first part's lines are what keeps it from taking part. Raises InputError where its site file cannot be read.
    """
    site = Site.open(path)
    approved = _known(site)
    looked = [] if site.simulated else preflight(site, path, approved)
    problems = [*_problems(site, path), *(one.problem for one in looked if one.problem)]
    parts = [Part("files", table=pd.DataFrame(_files(site, path)))]
    if looked:
        parts.append(Part("this machine", [f"{one.what}: {one.found}" for one in looked]))
    try:
        parts.append(Part("patients by split and class", table=_patients(site)))
        approvals, others = _approvals(site, approved)
        problems += others
    except InputError as error:
        problems.append(f"cohort: {error}")
        approvals = []
    verdict = "could take part" if not problems else "cannot take part as it is"
    return [
        Part(f"{site.name}: {verdict}", problems),
        *parts,
        Part("limits", table=pd.DataFrame(_limits(site))),
        *([] if site.simulated else [Part("what was approved", approvals or ["nothing"])]),
        Part("what it would refuse", _refusals(site)),
        Part("what it has released", _released(site)),
    ]


def approve(path: Path, study: str) -> list[Part]:
    """Write down that a hospital's people agree to a study; says in a page to what.

    `study`: a digest, or the file `studies.json` of a kit, all of which is approved of. Raises InputError for anything
    else.
    """
    if not DIGEST.fullmatch(study) and not Path(study).is_file():
        raise InputError(
            f"{study}: is not the digest of a study, 64 digits long, and not a file; a kit's studies.json is one"
        )
    site = Site.open(path)
    if site.simulated:
        raise InputError(f"{path}: a simulated hospital approves of every study; there is nothing to write down")
    if DIGEST.fullmatch(study):
        site.approve(study)
        return [Part(f"{site.name}: approves of study {study}")]
    found = read_studies(Path(study), site.file.algorithms)
    for one in found:
        site.approve(one.study)
        write_text(site.folder / APPROVALS / f"{one.study}.json", one.model_dump_json())
    lines = [
        f"{name_of(one)}: {described(one)['what is done']}; trusted: {described(one)['must be trusted']}"
        for one in found
    ]
    refused = [f"{name_of(one)}: refused all the same: {why}" for one in found if (why := _refused(site, one))]
    return [
        Part(f"{site.name}: approves, by digests worked out here", lines, table_of(found)),
        *([Part("what the site file forbids", [*refused, f"change {path}, or leave it at that"])] if refused else []),
    ]


def name_of(one: Deployment) -> str:
    """Name what is approved of, by arm and setting."""
    return f"{one.arm_name}, {one.setting_name}"


def _known(site: Site) -> list[Deployment]:
    """Return what was approved of, as far as it is there in full."""
    found = []
    for digest in site.approved:
        path = site.folder / APPROVALS / f"{digest}.json"
        with suppress(OSError, ValueError, RefusalError):
            text = path.read_text()
            found.append(read_deployment(text, digest_of_content(json.loads(text)), site.file.algorithms))
    return found


def _approvals(site: Site, known: list[Deployment]) -> tuple[list[str], list[str]]:
    """Say what was approved of, and what of it does not hold any more."""
    names = {one.study: one for one in known}
    lines, problems = [], []
    for digest, cohort in site.approved.items():
        name = f"{name_of(names[digest])} ({digest[:16]})" if digest in names else digest[:16]
        if cohort != site.cohort.digest:
            problems.append(f"approved: {name} was, with another cohort; look at it, and approve anew")
        why = _refused(site, names[digest]) if digest in names else ""
        lines.append(name + (f": {why}" if why else ""))
    return lines, problems


def _refused(site: Site, one: Deployment) -> str:
    """Say why a deployment would be refused as the site is; nothing where it would not."""
    try:
        check_deployment(Work(site, one, Job("declare", one.digest)))
    except RefusalError as error:
        return str(error)
    return ""


def key_of(path: Path) -> str:
    """Return the public key of a hospital's masks; the hospital's secret is made where it is not there yet."""
    return public_key(Site.open(path).secret)


def _places(site: Site, path: Path) -> dict[str, Path]:
    places = {"site file": path, "cohort": site.file.cohort, "state": site.folder, "pools": site.pools}
    return places | {f"weights {digest[:16]}": file for digest, file in site.file.weights.items()}


def _files(site: Site, path: Path) -> list[dict[str, str]]:
    """List the files and folders that the site names, and who may read them."""
    rows = []
    for what, place in _places(site, path).items():
        there = place.exists()
        mode = stat.filemode(place.stat().st_mode) if there else ""
        rows.append({"what": what, "path": str(place), "there": "yes" if there else "no", "permissions": mode})
    return rows


def _problems(site: Site, path: Path) -> list[str]:
    """List what keeps the hospital from taking part, with what to do."""
    found = []
    for what, place in _places(site, path).items():
        made_later = what in ("state", "pools")
        if not place.exists() and not made_later:
            found.append(f"{what}: {place} is not there; mend the site file")
        elif place.exists() and place.stat().st_mode & 0o077 and what in ("state", "cohort", "site file"):
            found.append(f"{what}: others may read {place}; take that from them with chmod go= {place}")
    if site.file.secret_seed is not None:
        found.append("secret_seed: the secret comes from a number, and nothing is private; leave it out")
    if site.file.cohort.exists() and not (site.patients(site.draws[0])["split"] == "train").any():
        found.append("cohort: no patient is in the split train; prepare it with patients to train on")
    return found


def _patients(site: Site) -> pd.DataFrame:
    """Count patients by split and class."""
    patients = site.patients(site.draws[0])
    label = patients["malignant"].map({False: "benign", True: "malignant"})
    table = pd.crosstab(patients["split"], label).reindex(columns=["benign", "malignant"], fill_value=0)
    return table.assign(patients=table.sum(axis=1)).reset_index()


def _limits(site: Site) -> list[dict[str, str]]:
    limits = site.limits
    return [
        {"limit": name, "value": str(getattr(limits, name)), "meaning": field.description or ""}
        for name, field in type(limits).model_fields.items()
    ]


def _refusals(site: Site) -> list[str]:
    """Say in sentences what the site file forbids."""
    limits, lines = site.limits, []
    if not site.simulated:
        lines.append(f"every study but the {len(site.approved)} that were approved with fedmammo site approve")
        lines.append("folds and evaluation.every under a privacy budget, and scores of patients whom a budget protects")
    if site.file.scores != "rows":
        lines.append("evaluation.every, coalitions and the arm ensemble, which need rows of tested patients")
    if limits.without_budget == "refused":
        lines.append("every setting without a privacy budget")
    if limits.central_trust == "refused":
        lines.append("privacy.trust: central, where a server adds the noise")
    lines.append(
        f"privacy.trust: secure over fewer than {limits.minimum_honest} honest hospitals, or with others than those "
        f"whose keys are under peers ({', '.join(sorted(site.file.peers)) or 'none'})"
    )
    lines.append(f"budgets above epsilon {limits.maximum_epsilon:g}, or at a delta above {limits.maximum_delta:g}")
    lines.append(
        f"noise multipliers below {limits.minimum_noise_multiplier:g}, clipping norms above "
        f"{limits.maximum_clipping_norm:g}"
    )
    lines.append("algorithms that are not in fedmammo" + _but(site.file.algorithms))
    return lines


def _but(names: list[str]) -> str:
    return f", but for {', '.join(names)}" if names else ""


def _released(site: Site) -> list[str]:
    """Say what the odometer shows."""
    if site.simulated:
        return ["simulated: each deployment has an odometer of its own"]
    limits, spent = site.limits, site.odometer.spent
    cost = epsilon(spent, limits.lifetime_delta) if spent else 0.0
    return [
        f"epsilon {cost:.4g} of {limits.lifetime_epsilon:g} in its lifetime, at delta {limits.lifetime_delta:g}",
        f"{len(site.odometer.protected)} patients are protected by a budget from now on, in everything",
    ]
