"""Batch norm folded into the convolution before it: in evaluation mode both are one linear map."""

import copy

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """A copy of a network in evaluation mode, each batch norm folded into the convolution right before it.

    Found are convolutions (transposed ones too) that a batch norm follows within a ``nn.Sequential``, at any depth;
    what stands otherwise is left as it is, so that the copy computes the same up to rounding whatever the network.

    Args:
        network: Any; it stays as it is.
    """
    folded = copy.deepcopy(network).eval()
    for sequence in [module for module in folded.modules() if isinstance(module, nn.Sequential)]:
        for index in range(len(sequence) - 1):
            convolution, norm = sequence[index], sequence[index + 1]
            if isinstance(convolution, nn.Conv2d | nn.ConvTranspose2d) and isinstance(norm, nn.BatchNorm2d):
                transposed = isinstance(convolution, nn.ConvTranspose2d)
                sequence[index] = fuse_conv_bn_eval(convolution, norm, transpose=transposed)
                sequence[index + 1] = nn.Identity()
    return folded
