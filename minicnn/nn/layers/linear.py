"""Linear layers and tables of vectors, and the layers without a formula."""

from __future__ import annotations

from math import sqrt
from typing import Any

from minicnn import factories
from minicnn.backprop import no_grad
from minicnn.errors import ArgumentError, DTypeError, ShapeError
from minicnn.nn import functional as F
from minicnn.nn import init
from minicnn.nn.module import Module
from minicnn.nn.parameter import Parameter
from minicnn.ops.shape import flatten, unflatten

__all__ = ["Bilinear", "Embedding", "Flatten", "Identity", "Linear", "Unflatten"]


class Linear(Module):
    """y[..,o] = sum_i x[..,i] * weight[o,i] + bias[o].

    Shapes: (..., in_features) to (..., out_features).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = Parameter(factories.zeros(out_features, in_features))
        self.register_parameter("bias", Parameter(factories.zeros(out_features)) if bias else None)
        init.fill_layer_(self.weight, self.bias)
        self.to(device=device, dtype=dtype)

    def forward(self, x: Any) -> Any:
        """Return x @ weight.T + bias."""
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Name the sizes."""
        bias = self.bias is not None
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={bias}"


class Bilinear(Module):
    """y[..,o] = sum_ij x1[..,i] * weight[o,i,j] * x2[..,j] + bias[o].

    Shapes: (..., in1_features) and (..., in2_features) to (..., out_features).
    """

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if in1_features < 1:
            raise ArgumentError(f"Bilinear: in1_features must be positive, got {in1_features}")
        self.in1_features, self.in2_features = in1_features, in2_features
        self.out_features = out_features
        self.weight = Parameter(factories.zeros(out_features, in1_features, in2_features))
        self.register_parameter("bias", Parameter(factories.zeros(out_features)) if bias else None)
        bound = 1 / sqrt(in1_features)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)
        self.to(device=device, dtype=dtype)

    def forward(self, input1: Any, input2: Any) -> Any:
        """Return the bilinear form of both inputs."""
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Name the sizes."""
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={self.bias is not None}"
        )


class Embedding(Module):
    """y[..,d] = weight[x[..],d]: a table with a learned vector for each of num_embeddings words.

    Shapes: whole numbers (...) to (..., embedding_dim).  First values are normal; those of
    `padding_idx`, which is not learned, are 0.  The other settings are those of
    `nn.functional.embedding`.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Any = None,
        _freeze: bool = False,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if padding_idx is not None:
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise ArgumentError(
                    f"Embedding: padding_idx {padding_idx} is no row of {num_embeddings}"
                )
            padding_idx %= num_embeddings
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx, self.max_norm, self.norm_type = padding_idx, max_norm, norm_type
        self.scale_grad_by_freq, self.sparse = scale_grad_by_freq, sparse
        if _weight is None:
            self.weight = Parameter(factories.zeros(num_embeddings, embedding_dim))
            init.normal_(self.weight)
            if padding_idx is not None:
                with no_grad():
                    self.weight[padding_idx] = 0.0
        else:
            self.weight = Parameter(_weight, requires_grad=not _freeze)
        self.to(device=device, dtype=dtype)

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Any,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Embedding:
        """Make a layer of a given table, (num_embeddings, embedding_dim), whose memory it shares.

        Raises:
            ShapeError: the table is no matrix.
        """
        if embeddings.ndim != 2:
            raise ShapeError(f"Embedding: the table must be a matrix, got {embeddings.shape}")
        rows, columns = embeddings.shape
        settings = (padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse)
        return cls(rows, columns, *settings, _weight=embeddings, _freeze=freeze)

    def forward(self, x: Any) -> Any:
        """Return the vector of each word."""
        return F.embedding(
            x,
            self.weight,
            self.padding_idx,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.sparse,
        )

    def extra_repr(self) -> str:
        """Name the sizes, and the settings that differ from the defaults."""
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        defaults = {
            "padding_idx": None, "max_norm": None, "norm_type": 2, "scale_grad_by_freq": False,
            "sparse": False,
        }  # fmt: skip
        for name, default in defaults.items():
            if (value := getattr(self, name)) != default:
                text += f", {name}={value}"
        return text


class Flatten(Module):
    """Make the dimensions from start_dim to end_dim one."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Any) -> Any:
        """Return x flattened."""
        return flatten(x, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        """Name the dimensions."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Make several dimensions of one; one of their sizes may be -1, to be worked out."""

    def __init__(self, dim: int, unflattened_size: tuple[int, ...] | list[int]) -> None:
        super().__init__()
        sizes = unflattened_size
        if not isinstance(sizes, (tuple, list)) or not all(isinstance(n, int) for n in sizes):
            raise DTypeError(f"Unflatten: unflattened_size must be a tuple of ints, got {sizes!r}")
        self.dim, self.unflattened_size = dim, sizes

    def forward(self, x: Any) -> Any:
        """Return x unflattened."""
        return unflatten(x, self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        """Name the dimension and the sizes."""
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


class Identity(Module):
    """y = x.  Arguments are accepted and have no meaning, as in PyTorch."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, x: Any) -> Any:
        """Return x itself."""
        return x
