"""`fedmammo site`: a hospital looks at its own site, and its people agree to a study."""

import re
import stat
from pathlib import Path

import pandas as pd

from fedmammo.errors import InputError
from fedmammo.hospitals.site import Site
from fedmammo.privacy.accounting import epsilon
from fedmammo.privacy.masks import public_key
from fedmammo.report.part import Part

DIGEST = re.compile("[0-9a-f]{64}")


def check_page(path: Path) -> list[Part]:
    """Say in a page whether a hospital could take part: its files, patients, limits, and what it would refuse.

    Raises InputError where its site file or its cohort cannot be read.
    """
    site = Site.open(path)
    problems = [*_problems(site, path)]
    verdict = "could take part" if not problems else "cannot take part as it is"
    return [
        Part(f"{site.name}: {verdict}", problems),
        Part("files", table=pd.DataFrame(_files(site, path))),
        Part("patients by split and class", table=_patients(site)),
        Part("limits", table=pd.DataFrame(_limits(site))),
        Part("what it would refuse", _refusals(site)),
        Part("what it has released", _released(site)),
    ]


def approve(path: Path, study: str) -> Site:
    """Write down that a hospital's people agree to a study.

    `study`: the digest that `fedmammo privacy plan` prints. Raises InputError for anything else.
    """
    if not DIGEST.fullmatch(study):
        raise InputError(f"{study}: is not the digest of a study; fedmammo privacy plan prints it, 64 digits long")
    site = Site.open(path)
    if site.simulated:
        raise InputError(f"{path}: a simulated hospital approves of every study; there is nothing to write down")
    site.approve(study)
    return site


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
    if not (site.patients(site.draws[0])["split"] == "train").any():
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
