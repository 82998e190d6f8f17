"""Settings: what a deployment learns from, and under which privacy budget, told by one name."""

from typing import Annotated, Literal, get_args

from pydantic import Field

Kind = Literal["real", "synthetic", "augmented", "pretrained"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_BUDGET = "-epsilon-"
Setting = Annotated[str, Field(pattern=rf"^({'|'.join(KINDS)})({_BUDGET}[0-9]+(\.[0-9]+)?)?$")]
"""`real`, or `real-epsilon-6`: the same with every hospital's budget of privacy at 6."""


def kind_of(setting: str) -> str:
    """Return what a setting learns from: `real`, `synthetic`, `augmented` or `pretrained`."""
    return setting.partition(_BUDGET)[0]


def epsilon_of(setting: str) -> float | None:
    """Return a setting's budget for each hospital; none where it trains without privacy."""
    budget = setting.partition(_BUDGET)[2]
    return float(budget) if budget else None
