"""A network replayed as a CUDA graph: all its kernels are launched at once, so that launching costs next to nothing."""

import torch
from torch import Tensor, nn

WARMUP_RUNS = 3
"""Before the capture, on a stream of its own: libraries choose their kernels and take their memory then."""


class GraphedNetwork(nn.Module):
    """Runs a network by a CUDA graph for each shape of its inputs, captured when the shape comes first.

    The inputs are copied into the graph's own memory, which is part of its time. The graphs share one pool of memory:
    the outputs of one call are overwritten by the next.

    Args:
        network: In evaluation mode, on a GPU; its weights must stay where they are.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._network = network
        self._graphs: dict[tuple[int, ...], tuple[torch.cuda.CUDAGraph, Tensor, Tensor]] = {}
        self._pool = torch.cuda.graph_pool_handle()

    def forward(self, images: Tensor) -> Tensor:
        """Inputs as the network's -> its outputs, valid until the next call."""
        shape = tuple(images.shape)
        if shape not in self._graphs:
            self._graphs[shape] = self._capture(images)
        graph, inputs, outputs = self._graphs[shape]
        inputs.copy_(images)
        graph.replay()
        return outputs

    @torch.no_grad()
    def _capture(self, images: Tensor) -> tuple[torch.cuda.CUDAGraph, Tensor, Tensor]:
        inputs = images.clone()
        stream = torch.cuda.Stream(images.device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(images.device))
        with torch.cuda.stream(stream):
            for _ in range(WARMUP_RUNS):
                self._network(inputs)
        torch.cuda.current_stream(images.device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            outputs = self._network(inputs)
        return graph, inputs, outputs
