"""VAE: an autoencoder whose codes are normally distributed, so that new ones can be drawn.

Paper: Kingma, Welling 2013, "Auto-encoding variational Bayes", sections 2.4 and 3 and appendices B
and C, arXiv:1312.6114.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from minicnn import nn
from minicnn.factories import randn, randn_like
from minicnn.models.catalogue import published
from minicnn.nn import functional as F

__all__ = ["evidence_loss", "vae"]


class VAEOutputs(NamedTuple):
    """The input drawn again as logits, and the distribution its code was drawn from."""

    logits: Any
    mean: Any
    logvar: Any


class VAE(nn.Module):
    """q(z|x) = N(mean(x), exp(logvar(x))), p(x|z) = Bernoulli(sigmoid(logits(z))).

    z = mean + exp(logvar / 2) * noise: so the gradient passes the draw, and reaches mean and
    logvar.  In evaluation z is the mean.

    Shapes:
        x, logits: (N, inputs), x between 0 and 1
        mean, logvar: (N, latent)
    """

    def __init__(self, inputs: int, hidden: int, latent: int) -> None:
        super().__init__()
        self.latent = latent
        self.encoder = nn.Sequential(nn.Linear(inputs, hidden), nn.Tanh())
        self.mean = nn.Linear(hidden, latent)
        self.logvar = nn.Linear(hidden, latent)
        self.decoder = nn.Sequential(
            nn.Linear(latent, hidden), nn.Tanh(), nn.Linear(hidden, inputs)
        )

    def forward(self, x: Any) -> VAEOutputs:
        """Draw a code for each input, and the input again from it."""
        h = self.encoder(x)
        z = mean = self.mean(h)
        logvar = self.logvar(h)
        if self.training:
            z = mean + (logvar / 2).exp() * randn_like(mean)
        return VAEOutputs(self.decoder(z), mean, logvar)

    def sample(self, n: int) -> Any:
        """Return n new examples, the probabilities of their values: (n, inputs)."""
        return F.sigmoid(self.decoder(randn(n, self.latent)))


def evidence_loss(outputs: VAEOutputs, x: Any) -> Any:
    """Return minus the evidence lower bound of one example, in nats.

    The cross-entropy of the values of x, plus KL(q(z|x) || N(0, 1))
    = sum_j (mean[j]^2 + exp(logvar[j]) - 1 - logvar[j]) / 2.

    Shapes:
        result: (), the mean over the batch
    """
    logits, mean, logvar = outputs
    divergence = (mean**2 + logvar.exp() - 1 - logvar).sum() / 2
    cross_entropy = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
    return (cross_entropy + divergence) / len(x)


@published(
    2013,
    "Kingma: Auto-encoding variational Bayes",
    parameters=815_824,
    multiply_adds=814_000,
    input_shape=(784,),
)
def vae(inputs: int = 784, hidden: int = 500, latent: int = 20) -> VAE:
    """Build the VAE for MNIST: 500 hidden units on both sides, 20 latent ones."""
    return VAE(inputs, hidden, latent)
