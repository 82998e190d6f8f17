"""Networks: the classifier of lesions."""

import fedmammo.models.torchvision_guard  # noqa: F401  (before any import of timm)
