"""Rows for `minicnn.ops.linear`, `minicnn.ops.einsum` and `minicnn.ops.embedding`."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.testing.cases.case import Case, both, functional, layer

WORDS = np.array([[1, 2, 2], [0, 2, 4]])


def product(name: str, function: Any, *inputs: tuple[int, ...]) -> Case:
    """Make a row for a product of matrices."""
    return both("matrix_product", name, function, *inputs)


def einsum(equation: str, *inputs: tuple[int, ...], op: str = "matrix_product") -> Case:
    """Make a row for a sum of products."""
    name = f"einsum {equation} of {', '.join(map(str, inputs))}"
    return both(op, name, lambda m, *tensors: m.einsum(equation, *tensors), *inputs)


def embedding(name: str, words: Any = WORDS, **settings: Any) -> Case:
    """Make a row for a table of vectors."""

    def function(m: Any, weight: Any) -> Any:
        return m.nn.functional.embedding(m.tensor(words), weight, **settings)

    return both("embed", name, function, (5, 2), through="embedding")


ROWS = [
    product("matrices", lambda m, a, b: a @ b, (2, 3), (3, 4)),
    both("inner_product", "vectors", lambda m, a, b: a @ b, (3,), (3,)),
    product("matrix and vector", lambda m, a, b: a @ b, (2, 3), (3,)),
    product("vector and matrix", lambda m, a, b: a @ b, (3,), (3, 4)),
    product("batches", lambda m, a, b: m.matmul(a, b), (2, 3, 2), (2, 2, 1)),
    product("stretched", lambda m, a, b: a @ b, (2, 1, 2, 3), (3, 3, 1)),
    product("batch and matrix", lambda m, a, b: a @ b, (2, 3, 2), (2, 2)),
    product("matrix and batch", lambda m, a, b: a @ b, (3, 2), (2, 2, 2)),
    product("vector and batch", lambda m, a, b: a @ b, (3,), (2, 3, 2)),
    product("batch and vector", lambda m, a, b: a @ b, (2, 3, 2), (2,)),
    product("nothing inside", lambda m, a, b: a @ b, (2, 0), (0, 3)),
    product("no rows", lambda m, a, b: a @ b, (0, 2), (2, 3)),
    product("no batch", lambda m, a, b: a @ b, (0, 3, 2), (2, 3)),
    product("with itself", lambda m, x: x @ x.T, (2, 3)),
    product("mm", lambda m, a, b: m.mm(a, b), (2, 3), (3, 1)),
    product("mv", lambda m, a, b: a.mv(b), (2, 3), (3,)),
    product("bmm", lambda m, a, b: m.bmm(a, b), (2, 3, 1), (2, 1, 4)),
    product("bmm of no batch", lambda m, a, b: a.bmm(b), (0, 2, 3), (0, 3, 1)),
    both("inner_product", "dot", lambda m, a, b: m.dot(a, b), (3,), (3,)),
    both("inner_product", "dot of nothing", lambda m, a, b: m.vdot(a, b), (0,), (0,)),
    product("inner", lambda m, a, b: m.inner(a, b), (2, 3), (2, 4, 3)),
    product("inner of vectors", lambda m, a, b: a.inner(b), (3,), (3,)),
    both("mul", "inner with a number", lambda m, a, b: m.inner(a, b), (2, 3), ()),
    both("mul", "outer", lambda m, a, b: m.outer(a, b), (2,), (3,)),
    both("mul", "ger", lambda m, a, b: a.ger(b), (2,), (1,)),
    both("mul", "kron", lambda m, a, b: m.kron(a, b), (2, 3), (1, 2)),
    both("mul", "kron of other dimensions", lambda m, a, b: a.kron(b), (2,), (2, 1, 3)),
    product("addmm", lambda m, x, a, b: m.addmm(x, a, b), (2, 4), (2, 3), (3, 4)),
    product("addmm, a row scaled", lambda m, x, a, b: x.addmm(a, b, beta=2, alpha=3),
            (4,), (2, 3), (3, 4)),
    product("addmm, beta 0", lambda m, x, a, b: m.addmm(x, a, b, beta=0), (2, 1), (2, 3), (3, 1)),
    product("addmv", lambda m, x, a, b: m.addmv(x, a, b, alpha=3), (2,), (2, 3), (3,)),
    both("mul", "addr", lambda m, x, a, b: m.addr(x, a, b), (2, 3), (2,), (3,)),
    both("matrix_product", "baddbmm", lambda m, x, a, b: m.baddbmm(x, a, b, beta=2),
         (2, 1, 4), (2, 3, 2), (2, 2, 4), through="baddbmm"),
    both("matrix_product", "addbmm", lambda m, x, a, b: x.addbmm(a, b, alpha=2),
         (3, 4), (2, 3, 2), (2, 2, 4), through="addbmm"),
    product("tensordot", lambda m, a, b: m.tensordot(a, b), (2, 3, 4), (3, 4, 2)),
    product("tensordot of lists", lambda m, a, b: m.tensordot(a, b, ([2, 0], [0, -1])),
            (2, 3, 4), (4, 1, 2)),
    both("mul", "tensordot of none", lambda m, a, b: m.tensordot(a, b, 0), (2, 3), (2,)),
    einsum("ij,jk", (2, 3), (3, 4)),
    einsum("ij,jk->ki", (2, 3), (3, 2)),
    einsum("bij,bkj->bik", (2, 3, 4), (2, 2, 4)),
    einsum("nchw,cd->nhwd", (2, 3, 2, 1), (3, 2)),
    einsum("...ij,...jk", (2, 1, 2, 3), (3, 3, 2)),
    einsum("i...,j...i->...j", (3, 2), (2, 2, 3)),
    einsum("bn,anm,bm->ba", (2, 3), (4, 3, 2), (2, 2)),
    einsum("ij,jk,kl,lm->im", (2, 3), (3, 4), (4, 2), (2, 3)),
    einsum("iij,jk->ik", (2, 2, 3), (3, 2)),
    einsum("ij,jk", (2, 1), (3, 4), op="mul"),
    einsum("aB,Bc", (2, 3), (3, 2)),
    einsum("i,i->i", (3,), (3,), op="mul"),
    einsum("i,j", (2,), (3,), op="mul"),
    einsum("bi,bj->bij", (2, 3), (2, 2), op="mul"),
    einsum(",ij->ji", (), (2, 3), op="mul"),
    einsum("ij->j", (2, 3), op="sum"),
    einsum("ij->", (0, 3), op="sum"),
    einsum("ii", (3, 3), op="index"),
    einsum("iji->ij", (2, 3, 2), op="index"),
    einsum("iii->i", (2, 2, 2), op="index"),
    einsum("...ij->...ji", (2, 3, 2), op="permute_dims"),
    einsum("ba", (2, 3), op="permute_dims"),
    product("einsum of lists", lambda m, a, b: m.einsum(a, [0, 1], b, [1, 2], [2, 0]),
            (2, 3), (3, 4)),
    product("einsum of lists with an ellipsis",
            lambda m, a, b: m.einsum(a, [..., 0, 5], b, [5, 2]), (2, 2, 3), (3, 4)),
    functional("affine", "batch", "linear", (4, 3), (2, 3), (2,)),
    functional("affine", "without bias", "linear", (4, 3), (2, 3)),
    functional("affine", "one sample", "linear", (3,), (2, 3), (2,)),
    functional("affine", "one sample, no bias", "linear", (3,), (2, 3)),
    functional("affine", "sequences", "linear", (2, 3, 2), (4, 2), (4,)),
    functional("affine", "batch 0", "linear", (0, 3), (2, 3), (2,)),
    functional("affine", "one by one", "linear", (1, 1), (1, 1), (1,)),
    functional("affine", "a bias per sample", "linear", (4, 3), (2, 3), (4, 2)),
    functional("affine", "a single bias", "linear", (2, 2, 3), (2, 3), ()),
    functional("matrix_product", "a vector of weights", "linear", (4, 3), (3,)),
    functional("inner_product", "a vector of weights, one sample", "linear", (3,), (3,), ()),
    functional("matrix_product", "bilinear", "bilinear", (4, 3), (4, 2), (5, 3, 2), (5,)),
    functional("matrix_product", "bilinear, one sample", "bilinear", (3,), (2,), (2, 3, 2)),
    functional("matrix_product", "bilinear, sequences", "bilinear",
               (2, 2, 3), (2, 2, 1), (1, 3, 1), (1,)),
    functional("matrix_product", "bilinear, batch 0", "bilinear", (0, 3), (0, 2), (2, 3, 2)),
    embedding("sentences"),
    embedding("one word", np.array(3)),
]  # fmt: skip

PLAIN = [  # what they call their gradient is not the derivative; torch cannot differentiate twice
    embedding("padding", padding_idx=-3),
    embedding("no words", np.zeros((0, 2), np.int64)),
    embedding("scaled by frequency", scale_grad_by_freq=True),
    embedding("padding, scaled", np.array([0, 1, 1, 0, 3], np.int32), padding_idx=0,
              scale_grad_by_freq=True),
]  # fmt: skip

LAYERS = [
    layer("with bias", lambda nn: nn.Linear(3, 2), (4, 3)),
    layer("without bias", lambda nn: nn.Linear(3, 2, bias=False), (4, 3)),
    layer("no bias, sequences", lambda nn: nn.Linear(5, 3, bias=False), (2, 1, 5)),
    layer("two features", lambda nn: nn.Bilinear(3, 2, 4), (4, 3), (4, 2)),
    layer("without bias", lambda nn: nn.Bilinear(3, 2, 1, bias=False), (3,), (2,)),
    layer("words", lambda nn: nn.Embedding(5, 3), WORDS),
    layer("padding", lambda nn: nn.Embedding(5, 3, padding_idx=-3), WORDS, order=0),
    layer("all settings", lambda nn: nn.Embedding(5, 3, 1, 0.4, 1.0, True), WORDS, order=0),
    layer("all but the batch", lambda nn: nn.Flatten(), (2, 3, 2)),
    layer("middle", lambda nn: nn.Flatten(1, 2), (1, 4, 5, 4)),
    layer("images", lambda nn: nn.Unflatten(1, (2, 3)), (2, 6)),
    layer("one size left open", lambda nn: nn.Unflatten(-2, (2, -1)), (4, 3)),
    layer("signed", lambda nn: nn.Identity(), (2, 3)),
    layer("with arguments", lambda nn: nn.Identity(54, name="x"), (2, 3)),
    layer("two layers", lambda nn: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)),
          (2, 3)),
]  # fmt: skip
