"""A canary: what a study would do here, with drawn patients in place of the hospital's own, so that links can be tried.

Nothing of the hospital's patients is opened, nothing is approved or charged, and nothing is private: secrets and the
keys that come from them are made of a number that everybody knows, the hospital's own have no part in it.
"""

from functools import lru_cache
from pathlib import Path

from fedmammo.disk.files import alone
from fedmammo.hospitals.profiles import OPEN
from fedmammo.hospitals.site import Site
from fedmammo.hospitals.site_file import SiteFile
from fedmammo.privacy.masks import public_key
from fedmammo.privacy.secret import Secret

PATIENTS, SEED = 24, 26  # of whom four are tested, benign and malignant ones
FOLDER = "canary"  # in the folder of state


def canary_of(site: Site) -> Site:
    """Return the site of a hospital that has the same software, weights and computer, and drawn patients."""
    return _canary(site.file.model_dump_json(), site.folder / FOLDER)


@lru_cache(maxsize=4)
def _canary(text: str, folder: Path) -> Site:
    file = SiteFile.model_validate_json(text)
    with alone(folder):
        if not (folder / "cohort").exists():
            from fedmammo.cohort.prepare import prepare  # readers of all kinds
            from fedmammo.phantom.tree import write_tree

            if not (folder / "tree").exists():
                write_tree(folder / "tree", patients=PATIENTS, seed=SEED)
            prepare(folder / "tree", folder / "cohort")
    places = {"cohort": folder / "cohort", "state": folder / file.name, "pools": None, "features": None}
    keys = {name: public_key(Secret.of(Path(name), SEED)) for name in file.peers}  # as each one makes its own
    secrets = {"secret_seed": SEED, "peers": keys}
    open_to_all = {"kind": "simulated", "limits": OPEN, "scores": "rows", "local_models": "shared", "patients": None}
    return Site(file.model_copy(update={**places, **secrets, **open_to_all}))
