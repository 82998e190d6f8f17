"""Images at another size."""

from torch import Tensor
from torch.nn import functional


def resize(images: Tensor, side: int) -> Tensor:
    """Resize (images, 1, rows, columns), 0 to 1, to (images, 1, side, side) without aliasing; bicubic."""
    if images.shape[-2:] == (side, side):
        return images
    return functional.interpolate(images, size=(side, side), mode="bicubic", antialias=True).clamp(0, 1)
