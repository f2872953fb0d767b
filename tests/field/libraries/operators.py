"""torchvision where its operators were built for another torch: what is used of it here needs none of them.

Imported before torchvision, which declares them when it is imported and fails where there are none.
"""

import torch

try:
    import torchvision  # noqa: F401
except RuntimeError:
    declared = torch.library.Library("torchvision", "DEF")  # for as long as the process lives
    for name in ("nms", "qnms"):
        declared.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
