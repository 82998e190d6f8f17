"""Masks: they hide a hospital's sum from whoever adds sums up, and vanish in the total of all who were asked.

Pairwise masks as of Bonawitz et al. 2017 (doi 10.1145/3133956.3133982), without their sharing of secrets: hospitals are
few and their lines are good, so that a round without one of them is asked again. Two hospitals agree on a key
(X25519, RFC 7748), and draw from it (HKDF, RFC 5869, with SHA-256; ChaCha20, RFC 8439) a uniform number of 64 bits for
each number of the sum; who sorts first adds it, the other subtracts it, modulo 2^64. What leaves a hospital is uniform
to whoever lacks the key of one pair of hospitals; only the sum over all members of a request is more than noise.

Each hospital adds a share of the noise before it hides its sum: as many shares as there are honest hospitals in a sum
carry what is planned (distributed discrete Gaussian noise, Kairouz, Liu and Steinke 2021, arXiv 2102.06387).

A key comes from the hospital's own secret, those of others from its own site file: no message names one.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray
from torch import Tensor

from fedmammo.errors import StudyError
from fedmammo.privacy.mechanism import Mechanism
from fedmammo.privacy.noise import Grid, from_grid, noised
from fedmammo.privacy.plan import Plan
from fedmammo.privacy.reasons import RefusalError
from fedmammo.privacy.secret import Secret, Stream

FARTHEST = 64  # standard deviations beyond which noise never is
MOST = 2**63  # what a total must stay below, so that it is read right modulo 2^64
KEY_BYTES = 32


def public_key(secret: Secret) -> str:
    """Return what the other hospitals write into their site files, in hex: it tells nothing of the secret."""
    return _private_key(secret).public_key().public_bytes_raw().hex()


def _private_key(secret: Secret) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(secret.key("masks"))


@dataclass(frozen=True)
class Masks:
    """The masks of one release, which has one sum, and the hospital's share of the noise on it.

    Attributes:
        keys: one for each pair with another member, and whether its mask is added, or else subtracted.
        shares: how many shares carry the planned noise.
        patients: declared training patients of all members.
        context: what a request under the same round must not change.
    """

    keys: tuple[tuple[bytes, bool], ...] = field(repr=False)
    shares: int
    patients: int
    context: dict[str, Any]

    def hide(self, total: Sequence[Tensor], grid: Grid, stream: Stream) -> list[Tensor]:
        """Add the hospital's share of the noise and all masks to its sums, modulo 2^64; int64 as they were.

        `stream`: of the noise. Raises RefusalError where a share would be too small, or the members' total too large.
        """
        try:
            own = grid.shared(self.shares)
        except ValueError as error:
            raise RefusalError(f"refused: {error}") from error
        if largest_total(grid, self.patients, len(self.keys) + 1) >= MOST:
            raise RefusalError("refused: the sum of so many patients would not fit 64 bits")
        hidden = [_words(tensor).copy() for tensor in noised(total, own, stream)]
        for key, adds in self.keys:
            masks = Stream(key)
            for part in hidden:
                mask = masks.words(len(part))
                (np.add if adds else np.subtract)(part, mask, out=part)
        return [_integers(part, tensor) for part, tensor in zip(hidden, total, strict=True)]


@dataclass(frozen=True)
class Party:
    """A hospital among those whose sums a request wants added up.

    Attributes:
        name: its own.
        peers: public keys of others, in hex by name, as its own site file has them.
        attempt: which one of the round it is, from 1, as the request says.
        members: whose sums are added up, likewise.
    """

    name: str = ""
    peers: Mapping[str, str] = field(default_factory=dict)
    attempt: int = 0
    members: tuple[str, ...] = ()

    def masks(self, plan: Plan, stage: str, number: int, asked: Mapping[str, Any], secret: Secret) -> Masks:
        """Return the masks of a release; no two requests have the same, and all members of one have them in common.

        Args:
            plan: what the hospital agreed to.
            stage: whose sum it is.
            number: of the round.
            asked: all that the request brings to every member alike, as texts.
            secret: the hospital's.

        Raises RefusalError where the members are not such as were agreed to, or the hospital has no key of one.
        """
        self._check(plan)
        members, own = sorted(self.members), _private_key(secret)
        about = {"plan": plan.digest, "stage": stage, "round": number, "attempt": self.attempt, "members": members}
        keys = []
        for other in members:
            if other != self.name:
                whole = {**about, "asked": dict(asked), "pair": sorted((self.name, other))}
                info = json.dumps(whole, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
                shared = own.exchange(X25519PublicKey.from_public_bytes(bytes.fromhex(self.peers[other])))
                keys.append((HKDF(SHA256(), KEY_BYTES, salt=None, info=info).derive(shared), self.name < other))
        patients = sum(plan.patients[name] for name in members)
        known = {name: self.peers[name] for name in members if name != self.name}
        return Masks(tuple(keys), plan.shares, patients, {"attempt": self.attempt, "members": members, "keys": known})

    def _check(self, plan: Plan) -> None:
        """Raise RefusalError where the members of a request are not such as were agreed to."""
        strangers = sorted(set(self.members) - set(plan.patients))
        unknown = sorted(set(self.members) - {self.name, *self.peers})
        attempts = 1 + plan.dropouts
        for wrong, why in (
            (not 1 <= self.attempt <= attempts, f"attempt {self.attempt} was asked for, {attempts} were agreed to"),
            (len(set(self.members)) < len(self.members), "a hospital is named twice among those who are added up"),
            (self.name not in self.members, "it is not among the hospitals that are added up"),
            (strangers, f"{' '.join(strangers)} has no part in the plan that was agreed to"),
            (unknown, f"the site file has no key of {' '.join(unknown)} under peers"),
            (len(self.members) < plan.together, f"{len(self.members)} hospitals would be added up, "
             f"{plan.together} are the fewest"),
        ):  # fmt: skip
            if wrong:
                raise RefusalError(f"refused: {why}", "keys")


def largest_total(grid: Grid, patients: int, members: int) -> int:
    """Return what no number of a total passes, in steps: all patients in one direction, and all noise."""
    return patients * grid.sensitivity + members * FARTHEST * grid.deviation


def added(sums: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Add hospitals' sums up modulo 2^64, by name: int64 as they were."""
    first = sums[0]
    totals = {name: _words(tensor).copy() for name, tensor in first.items()}
    for one in sums[1:]:
        for name, total in totals.items():
            total += _words(one[name])
    return {name: _integers(total, first[name]) for name, total in totals.items()}


def unmasked_mean(
    sums: Sequence[Mapping[str, Tensor]], mechanism: Mechanism, patients: int, divisor: float
) -> dict[str, Tensor]:
    """Add up what all members of a request sent, so that their masks vanish, and divide it; float64 by name.

    Args:
        sums: of every member, int64 by name.
        mechanism: whose grid they lie on.
        patients: declared by all members.
        divisor: the expected number of patients.

    Raises StudyError where the total is larger than any total can be: then masks did not vanish.
    """
    total = added(sums)
    grid = Grid.of(
        mechanism.clipping_norm, mechanism.noise_multiplier, sum(tensor.numel() for tensor in total.values())
    )
    most = largest_total(grid, patients, len(sums))
    if any(((tensor > most) | (tensor < -most)).any() for tensor in total.values()):
        raise StudyError(
            "the hospitals' masks do not cancel; compare the keys under peers in their site files with what fedmammo "
            "site key prints"
        )
    return dict(zip(total, from_grid(list(total.values()), grid, divisor), strict=True))


def _words(tensor: Tensor) -> NDArray[np.uint64]:
    """Return integers as words, in which sums wrap around: uint64 (numel,)."""
    words: NDArray[np.uint64] = tensor.detach().cpu().contiguous().numpy().reshape(-1).view(np.uint64)
    return words


def _integers(words: NDArray[np.uint64], like: Tensor) -> Tensor:
    return torch.from_numpy(words.view(np.int64)).view(like.shape).to(like.device)
