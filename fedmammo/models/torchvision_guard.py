"""Makes `import timm` work where torch is a CPU build and torchvision is the index's CUDA build.

That pairing raises "operator torchvision::nms does not exist" at import. The two operators' schemas are all that
the import misses; nothing here calls them. Whatever imports timm imports this first. Harmless where torchvision is
healthy or absent.
"""

import importlib
import sys

import torch

_schemas: list[
    torch.library.Library
] = []  # a torch.library.Library unregisters its operators when it is collected: keep it


def _import_torchvision() -> None:
    try:
        importlib.import_module("torchvision")
    except ModuleNotFoundError:
        return
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "FRAGMENT")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _schemas.append(library)
        importlib.import_module("torchvision")


_import_torchvision()
