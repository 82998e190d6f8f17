"""Public keys of hospitals' nodes, as `ssh-keygen` writes them and as Flower tells them."""

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
    load_ssh_public_key,
)


def same_key(ssh: str, pem: bytes) -> bool:
    """Whether a line of a `.pub` file and a key in PEM are the same public key; what cannot be read is not."""
    try:
        first = load_ssh_public_key(ssh.encode())
        second = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        return False
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    return first.public_bytes(*form) == second.public_bytes(*form)
