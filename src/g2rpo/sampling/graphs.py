"""Decoding steps on a CUDA device as one launch each: the kernels of `PreparedForward`, recorded once and replayed.

A step of a small model is some 20 kernels per layer, each of which takes less time than its launch from Python. A CUDA graph
replays them all at once. A graph has fixed shapes and fixed memory: rows that have ended are computed along with the others, and
attention spans a fixed number of columns, masked to each row's own. Both are widened or narrowed by recording anew.
"""

import logging

import torch
from transformers import PreTrainedModel

from g2rpo.sampling.cache import HeadCache
from g2rpo.sampling.prepared import PreparedForward

logger = logging.getLogger(__name__)

SPAN = 256
"""Columns of attention by which a recording grows."""


class GraphedForward(PreparedForward):
    """`PreparedForward` whose steps are replayed. Where recording fails, and on a processor, the same kernels are launched one by
    one."""

    def __init__(self, model: PreTrainedModel, dtype: torch.dtype) -> None:
        super().__init__(model, dtype)
        self.rows = self.span = 0
        self.records = self.device.type == "cuda"

    def cache(self, rows: int, most: int) -> HeadCache:
        cache = super().cache(rows, most)
        cache.frame.capacity = most  # a recording keeps the addresses of keys and values
        return cache

    def step(self, tokens_N: torch.Tensor, position_N: torch.Tensor, cache: HeadCache) -> torch.Tensor:
        """Logits (N, V) behind one more token per row; they are overwritten by the next step."""
        frame, rows = cache.frame, len(tokens_N)
        if 2 * rows <= self.rows or frame.width > self.span:
            self.rows, self.span = rows, min(frame.most, -(-frame.width // SPAN) * SPAN)
            self.tokens_N, self.position_N = tokens_N.clone(), position_N.clone()
            self._record(cache)
        self.tokens_N[:rows], self.position_N[:rows] = tokens_N, position_N
        if self.graph is None:
            self.logits_NV = self._compute(cache)
        else:
            self.graph.replay()
        return self.logits_NV[:rows]

    def _record(self, cache: HeadCache) -> None:
        self.graph = None
        if not self.records:
            return
        try:
            # What a kernel sets up at its first call cannot be recorded. The step writes the same keys and values as its replay.
            side = torch.cuda.Stream(self.device)
            side.wait_stream(torch.cuda.current_stream(self.device))
            with torch.cuda.stream(side):
                self._compute(cache)
            torch.cuda.current_stream(self.device).wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            # Another thread (grading, loading data) may use the device meanwhile.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self.logits_NV = self._compute(cache)
            self.graph = graph
        except RuntimeError as error:
            self.records = False
            logger.warning("Decoding without CUDA graphs, which is slower: %s", str(error).splitlines()[0])

    def _compute(self, cache: HeadCache) -> torch.Tensor:
        """One step of all rows of the recording, over its whole span."""
        frame = cache.frame
        now = frame.rows, frame.width, frame.row_N, frame.position_N
        frame.rows, frame.width = self.rows, self.span
        frame.row_N, frame.position_N = torch.arange(self.rows, device=self.device), self.position_N
        try:
            return self.attend_to(self.tokens_N, self.position_N, cache, seen=0)
        finally:
            frame.rows, frame.width, frame.row_N, frame.position_N = now
