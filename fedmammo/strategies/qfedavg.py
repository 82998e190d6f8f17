"""QFedAvg: Li et al. 2020, arXiv 1905.10497."""

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from fedmammo.strategies.base import BaseStrategy
from fedmammo.synthesis.sources import FromGan

if TYPE_CHECKING:
    from fedmammo.config.deployment import Deployment


class QFedAvg(BaseStrategy):
    """Hospitals with a higher loss pull harder, so that losses become more alike (Li et al. 2020, arXiv 1905.10497).

    From model w and hospital k's w_k and loss F_k, with L = 1 / client_learning_rate and g_k = L (w - w_k), the next
    model is w - sum_k F_k^q g_k / sum_k (q F_k^(q-1) |g_k|² + L F_k^q). Numbers of patients have no part in it: with
    q = 0 it is the plain mean of models.

    The paper's F_k is the loss of w. Here it is what a hospital tells of a round, the mean loss over its steps: the
    same only where a round is one step of all patients.
    """

    name: Literal["QFedAvg"]
    q: float = Field(default=0.1, ge=0, description="How much losses count; 0 is a mean of models without weights.")
    client_learning_rate: float | None = Field(
        default=None, gt=0, description="Step size of hospitals; none takes diagnosis.optimizer.learning_rate."
    )

    def refuses(self, deployment: "Deployment", hospitals: int) -> str | None:
        """Refuse a privacy budget, and discriminators, whose loss is not that of a model on patients."""
        setting, source = deployment.setting_name, deployment.source
        if deployment.privacy is not None:
            return f"QFedAvg needs hospitals' losses, which depend on patients without noise; {setting} has a budget"
        if isinstance(source, FromGan) and source.by_strategy:
            return f"QFedAvg combines classifiers by their loss, not GANs; take combine: pool for {setting}"
        if deployment.diagnosis.optimizer.head_learning_rate:
            return "QFedAvg divides all tensors by one step size; leave out diagnosis.optimizer.head_learning_rate"
        return super().refuses(deployment, hospitals)

    def parameters(self, deployment: "Deployment") -> dict[str, Any]:
        """Return q and the step size, and which of a hospital's numbers is its loss."""
        rate = self.client_learning_rate or deployment.diagnosis.optimizer.learning_rate
        return {"q": self.q, "client_learning_rate": rate, "train_loss_key": "loss"}
