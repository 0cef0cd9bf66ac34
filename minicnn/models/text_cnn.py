"""Text CNN: windows of three, four and five words slide over a sentence, the largest answer counts.

Paper: Kim 2014, "Convolutional neural networks for sentence classification", section 2 and Table 1,
arXiv:1408.5882.
"""

from __future__ import annotations

from typing import Any

from minicnn import nn
from minicnn.factories import rand, zeros
from minicnn.models.catalogue import published
from minicnn.nn import functional as F
from minicnn.ops.shape import cat, transpose

__all__ = ["text_cnn"]

WINDOWS, MAPS, DIMENSION = (3, 4, 5), 100, 300
VOCABULARY = 18_765  # words of the film reviews MR


class TextCNN(nn.Module):
    """Word vectors, a convolution for each size of window, maximum over time, dropout, one layer.

    Word 0 is padding, its vector 0; a sentence needs as many places as the largest window has.
    `vectors` (vocabulary, dimension) are pretrained word vectors, and `static` keeps them as they
    are: the paper's CNN-static; without it CNN-non-static, without vectors CNN-rand.
    `width` is the part of the maps to have.

    Left out is the limit of 3 on the length of the last layer's weight vectors.
    """

    def __init__(
        self,
        num_classes: int = 2,
        vocabulary: int = VOCABULARY,
        dimension: int = DIMENSION,
        dropout: float = 0.5,
        vectors: Any = None,
        static: bool = False,
        width: float = 1.0,
    ) -> None:
        super().__init__()
        maps = round(MAPS * width)
        if vectors is None:
            drawn = rand(vocabulary - 1, dimension) * 0.5 - 0.25
            vectors = cat([zeros(1, dimension), drawn])
        self.vectors = nn.Embedding.from_pretrained(vectors, freeze=static, padding_idx=0)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(self.vectors.embedding_dim, maps, window) for window in WINDOWS
        )
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(len(WINDOWS) * maps, num_classes)

    def forward(self, words: Any) -> Any:
        """Return one logit per class for word numbers (N, places)."""
        x = transpose(self.vectors(words), 1, 2)  # (N, dimension, places)
        features = [F.relu(convolution(x)).amax(2) for convolution in self.convolutions]
        return self.fc(self.dropout(cat(features, 1)))


@published(
    2014,
    "Kim: Convolutional neural networks for sentence classification",
    parameters=5_990_402,
    multiply_adds=6_060_600,
    input_shape=(20,),
)
def text_cnn(**settings: Any) -> TextCNN:
    """Build CNN-rand for film reviews: 360,902 parameters, and 5,629,500 in word vectors."""
    return TextCNN(**settings)
