"""PoseNet: where a camera stands and where it looks, from one picture.

Paper: Kendall, Grimes, Cipolla 2015, "PoseNet: a convolutional network for real-time 6-DOF camera
relocalization", section 3, arXiv:1505.07427.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from minicnn import nn
from minicnn.models.catalogue import published
from minicnn.models.googlenet import GoogLeNet

__all__ = ["pose_loss", "posenet"]

FEATURES = 2048  # of the layer before the last regressor
AUXILIARY = 0.3  # part of the loss of each auxiliary head, as in GoogLeNet


class Pose(NamedTuple):
    """Position (N, 3), in the units of the labels, and quaternion (N, 4), of any length."""

    position: Any
    orientation: Any


class PoseNetOutputs(NamedTuple):
    """What training sees."""

    pose: Pose
    aux_pose2: Pose
    aux_pose1: Pose


class PoseNet(nn.Module):
    """GoogLeNet with affine regressors of seven numbers in the place of its three classifiers.

    In training the result is a `PoseNetOutputs`, else a `Pose`.  The deviations from the paper are
    those of the trunk, GoogLeNet.  `width` is the part of the channels to have.
    """

    def __init__(self, dropout: float = 0.5, dropout_aux: float = 0.7, width: float = 1.0) -> None:
        super().__init__()
        self.trunk = GoogLeNet(7, dropout=0.0, dropout_aux=dropout_aux, width=width)
        features = round(FEATURES * width)
        regressor = nn.Sequential(
            nn.Linear(self.trunk.fc.in_features, features), nn.ReLU(inplace=True),
            nn.Dropout(dropout), nn.Linear(features, 7),
        )  # fmt: skip
        self.trunk.add_module("fc", regressor)

    def forward(self, x: Any) -> PoseNetOutputs | Pose:
        """Return the pose of each picture's camera."""
        if not self.training:
            return as_pose(self.trunk(x))
        return PoseNetOutputs(*(as_pose(numbers) for numbers in self.trunk(x)))


def as_pose(numbers: Any) -> Pose:
    """Split (N, 7)."""
    return Pose(numbers[:, :3], numbers[:, 3:])


def pose_loss(
    outputs: PoseNetOutputs | Pose, position: Any, orientation: Any, beta: float = 500.0
) -> Any:
    """Return the mean of |x - x'| + beta |q - q'/|q'||, primes being the labels.

    In training 0.3 times the loss of each auxiliary head is added.  `beta` weighs the two kinds of
    error: the paper has 120 to 750 in rooms, 250 to 2000 outside.

    Shapes:
        position: (N, 3)
        orientation: (N, 4)
        result: ()
    """
    if isinstance(outputs, PoseNetOutputs):
        main, *auxiliary = (pose_loss(pose, position, orientation, beta) for pose in outputs)
        return main + AUXILIARY * sum(auxiliary)
    unit = orientation / orientation.norm(dim=1, keepdim=True)
    errors = (outputs.position - position).norm(dim=1)
    return (errors + beta * (outputs.orientation - unit).norm(dim=1)).mean()


@published(
    2015,
    "Kendall: PoseNet: a convolutional network for real-time 6-DOF camera relocalization",
    parameters=12_057_781,
    multiply_adds=1_499_463_680,
)
def posenet(**settings: Any) -> PoseNet:
    """Build PoseNet with 12,057,781 parameters; the settings are those of the class."""
    return PoseNet(**settings)
