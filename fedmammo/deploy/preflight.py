"""What a hospital's machine needs before it takes part in a study: each look says what it found, and what is wrong."""

import http.client
import os
import platform
import shutil
import socket
import ssl
import stat
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from fedmammo.config.deployment import Deployment
from fedmammo.deploy.keys import certificate_at, fingerprint, fingerprint_of, public_of
from fedmammo.errors import InputError, one_line
from fedmammo.features.views import views_of
from fedmammo.federation.bundle import software
from fedmammo.hospitals.site import Site
from fedmammo.hospitals.site_file import SuperLink
from fedmammo.hospitals.stopping import STOPPED, process_of

AHEAD_SECONDS, BEHIND_SECONDS = 5, 300  # of a hospital's clock, beyond which Flower takes its signatures for false
DATE_SECONDS = 2  # what a date in a header and the way to it may be off
PATIENCE_SECONDS = 10
SOON_DAYS = 30  # in which a certificate that runs out is spoken of
LEAST_FREE = 1 << 30
BYTES_OF_HEAD = 3 * 1024 * 4  # of a view of an image, for each block that a head reads; up to ViT-L
BYTES_OF_PIXEL = 24  # of a view that later blocks read; up to ViT-L/14


class Finding(NamedTuple):
    """What was looked at, what was found, and the line that says what to do where it will not do."""

    what: str
    found: str
    problem: str = ""


def preflight(site: Site, path: Path, approved: list[Deployment]) -> list[Finding]:
    """Look at versions, keys, certificate, SuperLink, clock, port and disk of a real hospital.

    `path`: of its site file. `approved`: the deployments that its people approved of, as far as they are known.
    """
    found = [_versions(), _runs(site, path)]
    link = site.file.superlink
    if link is None:
        found.append(Finding("SuperLink", "none", f"superlink: is missing in {path}; say where studies come from"))
    else:
        found += [_key(link), _authority(link), *_superlink(link), _port(site, link)]
    return [*found, _disk(site, approved)]


def _versions() -> Finding:
    own, sources = software().split()
    libraries = ", ".join(f"{name} {version(name)}" for name in ("flwr", "torch"))
    return Finding(
        "software", f"fedmammo {own}, sources {sources[:16]}; Python {platform.python_version()}, {libraries}"
    )


def _runs(site: Site, path: Path) -> Finding:
    process = process_of(site.folder)
    found = "does not run" if process is None else f"runs, process {process}"
    if (site.folder / STOPPED).exists():
        return Finding("serve", found, f"stopped: by fedmammo site stop; fedmammo site start {path} goes on")
    return Finding("serve", found)


def _key(link: SuperLink) -> Finding:
    try:
        public = public_of(link.key)
    except InputError as error:
        return Finding("key", "none", f"superlink.key: {error}")
    found = f"{fingerprint(public)}; public: {public}"
    if stat.S_IMODE(link.key.stat().st_mode) & 0o077:
        return Finding("key", found, f"superlink.key: others may read {link.key}; chmod go= {link.key}")
    return Finding("key", found)


def _authority(link: SuperLink) -> Finding:
    try:
        certificate = certificate_at(link.certificate)
    except InputError as error:
        return Finding("authority", "none", f"superlink.certificate: {error}")
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    found = f"{certificate.subject.rfc4514_string()}, until {ends:%Y-%m-%d}, {fingerprint_of(certificate)}"
    now = datetime.now(UTC)
    if not begins <= now <= ends:
        when = f"{begins:%Y-%m-%d} to {ends:%Y-%m-%d}, and this machine's clock says {now:%Y-%m-%d}"
        why = f"superlink.certificate: {link.certificate} holds from {when}; have a new one, or set the clock"
        return Finding("authority", found, why)
    return Finding("authority", found + _soon(ends, now))


def _soon(ends: datetime, now: datetime) -> str:
    days = (ends - now).days
    return f"; runs out in {days} days" if days < SOON_DAYS else ""


def _superlink(link: SuperLink) -> list[Finding]:
    """Shake hands with the SuperLink, or the proxy before it, and compare clocks."""
    if not link.certificate.is_file():
        return []
    host, port = link.address.rsplit(":", 1)
    where = f"superlink.address: {link.address}"
    try:
        trusted = ssl.create_default_context(cafile=str(link.certificate))
        found = http.client.HTTPSConnection(host.strip("[]"), int(port), timeout=PATIENCE_SECONDS, context=trusted)
        with socket.create_connection((found.host, found.port), PATIENCE_SECONDS):
            pass
    except ssl.SSLError:
        return []  # the certificate is none, and said to be so
    except OSError as error:
        why = f"is not reached ({error.strerror or error}); have the coordinator start it, or the firewall let you out"
        return [Finding("SuperLink", "not reached", f"{where} {why}")]
    try:
        found.connect()
        ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(_certificate(found)["notAfter"])), UTC)
        found.request("HEAD", "/")
        date, now = found.getresponse().getheader("Date"), time.time()
    except ssl.SSLCertVerificationError as error:
        why = f"its certificate is not accepted ({error.verify_message}); it must be signed by the authority of "
        why += f"{link.certificate}, and the address be one of its names"
        return [Finding("SuperLink", "not trusted", f"{where}: {why}")]
    except (OSError, ValueError, http.client.HTTPException) as error:
        why = f"does not answer over TLS ({one_line(str(error))}); ask the coordinator for host and port"
        return [Finding("SuperLink", "no TLS", f"{where} {why}")]
    finally:
        found.close()
    reached = Finding("SuperLink", f"{link.address}, until {ends:%Y-%m-%d}{_soon(ends, datetime.now(UTC))}")
    return [reached] if date is None else [reached, _clock(now - parsedate_to_datetime(date).timestamp())]


def _certificate(connection: http.client.HTTPSConnection) -> dict[str, object]:
    wrapped = connection.sock
    return dict(wrapped.getpeercert() or {}) if isinstance(wrapped, ssl.SSLSocket) else {}


def _clock(ahead: float) -> Finding:
    """Compare this machine's clock with the SuperLink's. `ahead`: seconds."""
    if abs(ahead) <= DATE_SECONDS:
        return Finding("clock", f"agrees with the SuperLink's, to {DATE_SECONDS} s")
    found = f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the SuperLink's"
    if -BEHIND_SECONDS <= ahead <= AHEAD_SECONDS + DATE_SECONDS:
        return Finding("clock", found)
    most = f"at most {AHEAD_SECONDS} s ahead and {BEHIND_SECONDS} s behind are let in"
    return Finding("clock", found, f"clock: {found}; {most}; have it set by a time server")


def _port(site: Site, link: SuperLink) -> Finding:
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", link.port))
            return Finding("port", f"{link.port} is free")
        except OSError as error:
            if process_of(site.folder) is not None:
                return Finding("port", f"{link.port} is used, by fedmammo site serve")
            why = f"superlink.port: {link.port} cannot be used ({error.strerror}); name another port"
            return Finding("port", f"{link.port} is used", why)


def _disk(site: Site, approved: list[Deployment]) -> Finding:
    """Compare the room for features with what those of approved studies take at most."""
    features = site.file.features or site.file.cohort
    place = next(parent for parent in (features, *features.parents) if parent.exists())
    free = shutil.disk_usage(place).free
    try:
        images = len(site.cohort.manifest)
    except InputError:
        images = 0
    need = max([LEAST_FREE, *(images * _bytes_of_features(one) for one in approved)])
    found = f"{_size(free)} free for features at {features}; {_size(need)} may be needed"
    if not os.access(place, os.W_OK):
        return Finding("disk", found, f"features: {place} cannot be written; name a folder of your own under features")
    if free < need:
        return Finding("disk", found, f"disk: {found}; make room, or name another folder under features")
    return Finding("disk", found)


def _bytes_of_features(one: Deployment) -> int:
    """Return what frozen networks make of an image at most, in all its views."""
    diagnosis = one.diagnosis
    if diagnosis.train == "head":
        each = BYTES_OF_HEAD * (1 if diagnosis.features == "pooled" else len(diagnosis.features))
    else:
        each = BYTES_OF_PIXEL * diagnosis.image_size**2 if diagnosis.train.startswith("last_blocks") else 0
    return each * len(views_of(diagnosis.augmentation))


def _size(count: int) -> str:
    return f"{count / (1 << 30):.1f} GiB"
