"""Names of what deployments share: whoever reads a run needs them, and nothing of how these are trained."""

from fedmammo.config.deployment import Deployment

PRETRAINING = "pretraining"  # in place of a deployment, where those that begin with it share it


def gan_name(deployment: Deployment, holder: str) -> str:
    """Name a generator, for files and streams of randomness.

    Seeds of the study vary the classifier alone, and a hospital's own GAN is the same in the local and the federated
    arm. Folds are dealt anew for each seed. A generator under a budget is its setting's own.

    `holder`: who trains, of those that train alone.
    """
    source = deployment.gan
    alone = source.method == "adversarial" and source.combine == "pool"
    if deployment.arm.pooled:
        who = "centralized"
    else:
        together = deployment.group if deployment.members else "federated"
        who = together if deployment.arm.federated and not alone else f"alone-{holder}"
    budget = f"-{deployment.setting_name}" if deployment.generator_share else ""
    fold = f"-seed{deployment.seed}-fold{deployment.fold}" if deployment.dealing.folds else ""
    return f"generator-{who}-{deployment.diagnosis.harmonisation}{budget}-draw{deployment.draw}{fold}"
