"""Restricted Boltzmann machine: two layers of units that explain each other, and no error signal.

Paper: Hinton 2002, "Training products of experts by minimizing contrastive divergence", Neural
Computation 14.
"""

from __future__ import annotations

from typing import Any

from minicnn import nn
from minicnn.autograd import no_grad
from minicnn.factories import bernoulli, zeros
from minicnn.models.catalogue import published
from minicnn.nn import functional as F
from minicnn.nn import init

__all__ = ["rbm"]


class RBM(nn.Module):
    """A probability of binary patterns, P(v) = sum_h e^-E(v, h) / Z.

    E(v, h) = -sum_j v[j] visible_bias[j] - sum_i h[i] hidden_bias[i] - sum_ij h[i] w[i,j] v[j]

    Units of one layer do not see each other, so given one layer all units of the other are
    independent. Pixels between 0 and 1 count as the probability of ink.

    Shapes: v (N, visible), h (N, hidden).
    """

    def __init__(self, visible: int = 256, hidden: int = 500) -> None:
        super().__init__()
        self.weight = nn.Parameter(zeros(hidden, visible))
        self.visible_bias = nn.Parameter(zeros(visible))
        self.hidden_bias = nn.Parameter(zeros(hidden))
        init.normal_(self.weight, 0, 0.01)

    def forward(self, v: Any) -> Any:
        """Return the free energy -ln sum_h e^-E(v, h), (N): low where patterns are likely.

        F(v) = -sum_j v[j] visible_bias[j] - sum_i ln(1 + e^(hidden_bias[i] + sum_j w[i,j] v[j]))
        """
        explained = F.softplus(F.linear(v, self.weight, self.hidden_bias)).sum(1)
        return -(v * self.visible_bias).sum(1) - explained

    def hidden(self, v: Any) -> Any:
        """Return P(h[i] = 1 | v) = sigmoid(hidden_bias[i] + sum_j w[i,j] v[j])."""
        return F.sigmoid(F.linear(v, self.weight, self.hidden_bias))

    def visible(self, h: Any) -> Any:
        """Return P(v[j] = 1 | h) = sigmoid(visible_bias[j] + sum_i w[i,j] h[i])."""
        return F.sigmoid(F.linear(h, self.weight.T, self.visible_bias))

    def reconstruct(self, v: Any) -> Any:
        """Return what the hidden units, when they see v, expect to see."""
        return self.visible(self.hidden(v))

    def sample(self, v: Any, steps: int = 1) -> Any:
        """Go on from v for some steps of Gibbs sampling: draw h given v, then v given h."""
        with no_grad():
            for _ in range(steps):
                v = bernoulli(self.visible(bernoulli(self.hidden(v))))
        return v

    def contrastive_divergence(self, v: Any, steps: int = 1) -> Any:
        """Set each parameter's `.grad` by the rule CD-k; an optimiser then takes the step.

        dw[i,j] = mean of P(h[i] | v') v'[j] - P(h[i] | v) v[j], where v' = sample(v, k)

        With many steps this becomes the gradient of -ln P(v); few are cheaper, and good enough.
        Returns v', what the machine makes of v.
        """
        believed = self.sample(v, steps)
        with no_grad():
            h, h_believed = self.hidden(v), self.hidden(believed)
            count = v.shape[0]
            self.weight.grad = (h_believed.T @ believed - h.T @ v) / count
            self.visible_bias.grad = (believed - v).mean(0)
            self.hidden_bias.grad = (h_believed - h).mean(0)
        return believed


@published(
    2002,
    "Hinton: Training products of experts by minimizing contrastive divergence",
    parameters=128_756,
    multiply_adds=128_000,
    input_shape=(256,),
)
def rbm(visible: int = 256, hidden: int = 500) -> RBM:
    """Build the paper's machine for 16x16 pixels in a row: 256 visible and 500 hidden units."""
    return RBM(visible, hidden)
