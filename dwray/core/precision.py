"""float32 means float32: unless told not to, torch lets a GPU round a convolution's factors to 10 bits (TF32)."""

import torch


def full_float32() -> None:
    """Compute float32 convolutions and matrix products in float32, on every device."""
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
