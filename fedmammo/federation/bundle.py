"""The app that a run of Flower names: it has no code, so each machine runs the package that it has installed itself.

Flower sends a run's app to every node, which would run it: whoever asks would bring the one who refuses. This bundle
says nothing but which version is meant. The same version makes the same bytes, so everybody knows their hash.
"""

import hashlib
from functools import cache

import fedmammo
from fedmammo.disk.files import digest_of_sources

ABOUT = """[project]
name = "fedmammo"
version = "{version}"
description = "fedmammo as each machine has installed it, sources {code}"
license = {{ file = "LICENSE" }}
dependencies = ["flwr>=1.41,<1.42"]

[tool.flwr.app]
publisher = "fedmammo"
fab-format-version = 1
flwr-version-target = "1.41.0"

[tool.flwr.app.components]
serverapp = "fedmammo.federation.server_app:app"
clientapp = "fedmammo.federation.client_app:app"

[tool.flwr.app.config]
config = "study.yaml"
out = "run"
"""
LICENSE = "The license is that of the installed package fedmammo; there is no code here.\n"


@cache
def software() -> str:
    """Name this software as every machine of a study must have it: its version, and the digest of its sources."""
    return f"{fedmammo.__version__} {digest_of_sources()}"


@cache
def files() -> dict[str, bytes]:
    """Return the files of the bundle, by name: in a folder, `flwr run FOLDER` makes the same bundle of them."""
    version, code = software().split()
    return {"pyproject.toml": ABOUT.format(version=version, code=code).encode(), "LICENSE": LICENSE.encode()}


@cache
def bundle() -> bytes:
    """Return the bundle (Flower's FAB) of this software."""
    from flwr.cli.build import build_fab_from_files  # half a second

    content, _ = build_fab_from_files(files())
    return content


@cache
def hash_of_bundle() -> str:
    """SHA-256 of the bundle, by which Flower names it."""
    return hashlib.sha256(bundle()).hexdigest()
