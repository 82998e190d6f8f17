"""Keys and certificates as people compare them: fingerprints and dates. Nothing here makes or keeps a private one."""

import base64
import hashlib
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_private_key

from fedmammo.errors import InputError


def fingerprint(public: str) -> str:
    """Return what `ssh-keygen -l` prints of a line of a `.pub` file."""
    digest = hashlib.sha256(base64.b64decode(public.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def public_of(private: Path) -> str:
    """Return the public key, as in a `.pub` file, of a private one.

    Raises InputError where the file cannot be read, or is no key with which a SuperNode can sign.
    """
    try:
        key = load_ssh_private_key(private.read_bytes(), None)
    except OSError as error:
        raise InputError(f"{private} cannot be read ({error.strerror}); make it with ssh-keygen") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InputError(f"{private} is no private key without a passphrase; make one with ssh-keygen") from error
    if not isinstance(key, EllipticCurvePrivateKey):
        raise InputError(f"{private} is of another kind; make one with ssh-keygen -t ecdsa -b 384")
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def certificate_at(path: Path) -> x509.Certificate:
    """Read a certificate. Raises InputError where there is none."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); have it from the coordinator") from error
    except ValueError as error:
        raise InputError(f"{path} is no certificate in PEM; have it from the coordinator") from error


def fingerprint_of(certificate: x509.Certificate) -> str:
    """Return what `openssl x509 -fingerprint -sha256` prints."""
    return certificate.fingerprint(SHA256()).hex(":").upper()
