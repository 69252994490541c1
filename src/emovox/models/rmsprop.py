"""RMSprop by Keras' formula."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.optim.optimizer import Optimizer, ParamsT


class KerasRMSprop(Optimizer):
    """RMSprop with epsilon inside the root: ``w -= lr * g / sqrt(v + eps)``, ``v = rho * v + (1 - rho) * g ** 2``.

    `torch.optim.RMSprop` divides by ``sqrt(v) + eps``. With Keras' epsilon of 1e-7 that is a larger step wherever the
    gradient is below about 3e-4, which most of these networks' gradients are.

    Args:
        params: as for every torch optimiser.
        lr: learning rate, > 0.
        rho: how much of the running mean square is kept, 0 <= rho < 1.
        eps: > 0.
    """

    def __init__(self, params: ParamsT, lr: float = 1e-3, *, rho: float = 0.9, eps: float = 1e-7) -> None:
        super().__init__(params, {"lr": lr, "rho": rho, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Take one step; `closure`, if given, recomputes the loss, which is returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if weights:
                self._step(weights, lr=group["lr"], rho=group["rho"], eps=group["eps"])
        return loss

    def _step(self, weights: list[torch.Tensor], *, lr: float, rho: float, eps: float) -> None:
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        for weight in weights:
            if not self.state[weight]:
                self.state[weight]["mean_square"] = torch.zeros_like(weight)
        means = [self.state[weight]["mean_square"] for weight in weights]
        torch._foreach_mul_(means, rho)
        torch._foreach_addcmul_(means, gradients, gradients, 1 - rho)
        roots = torch._foreach_add(means, eps)
        torch._foreach_sqrt_(roots)
        torch._foreach_addcdiv_(weights, gradients, roots, -lr)
