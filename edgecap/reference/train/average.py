"""The running mean of a run's weights, which is the result of the run.

The mean of late weights is better than any of them: it beat the last weights in four of four runs
(benchmarks/LOG.md). Polyak and Juditsky 1992; as an exponential mean, TensorFlow's
`ExponentialMovingAverage` and `torch.optim.swa_utils`.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class RunningMean:
    """An exponential mean of a module's parameters over about `steps` steps."""

    def __init__(self, module: nn.Module, steps: int) -> None:
        self._module = module
        self._steps = steps
        self._mean = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(1 - 1 / steps))

    def update(self, step: int) -> None:
        """Add the weights after `step` steps; early in a run the mean is over fewer steps."""
        self._mean.multi_avg_fn = get_ema_multi_avg_fn(1 - 1 / min(self._steps, step))
        self._mean.update_parameters(self._module)

    def state(self) -> dict[str, torch.Tensor]:
        return self._mean.module.state_dict()

    def load(self, tensors: dict[str, torch.Tensor]) -> None:
        """The inverse of `state`; without tensors, as in older runs, the mean restarts."""
        self._mean.module.load_state_dict(tensors or self._module.state_dict())
        self._mean.n_averaged.fill_(1)  # at 0 the next update would restart the mean
