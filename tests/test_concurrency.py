"""Whole networks computed where several threads, libraries or processes meet.

The arrays are large enough for compiled kernels and for both threads of the pool; right is what one
thread computes alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import minicnn
from minicnn import nn
from minicnn.data import DataLoader
from minicnn.nn import functional as F


def network(seed=0):
    minicnn.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.GELU(), nn.Conv2d(16, 32, 1),
        nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(512, 10),
    )  # fmt: skip


def batch(seed):
    draw = np.random.default_rng(seed)
    return draw.standard_normal((8, 3, 32, 32)).astype(np.float32), draw.integers(0, 10, 8)


def gradients(seed, model=None):
    """Return the loss and all gradients of one batch, in one array."""
    model = model or network(seed)
    model.zero_grad()
    images, labels = batch(seed)
    loss = F.cross_entropy(model(minicnn.tensor(images)), minicnn.tensor(labels))
    loss.backward()
    parts = [loss.array, *(parameter.grad.array for parameter in model.parameters())]
    return np.concatenate([part.ravel() for part in parts])


def assert_close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def in_threads(*functions):
    """Call all functions at once, each in a thread of its own; return their results."""
    results: list = [None] * len(functions)
    start = threading.Barrier(len(functions))

    def call(i):
        start.wait(60)
        try:
            results[i] = functions[i]()
        except BaseException as error:
            results[i] = error

    threads = [threading.Thread(target=call, args=(i,)) for i in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


def test_networks_in_several_python_threads():
    models = [network(seed) for seed in range(3)]
    expected = [gradients(seed, model) for seed, model in enumerate(models)]

    def repeat(seed):
        return [gradients(seed, models[seed]) for _ in range(5)]

    found = in_threads(*(lambda seed=seed: repeat(seed) for seed in range(3)))
    for own, right in zip(found, expected, strict=True):
        for each in own:
            assert_close(each, right)


def test_optimizers_in_several_python_threads():
    def train(seed):
        w = nn.Parameter(np.random.default_rng(seed).standard_normal(50_000, np.float32))
        optimizer = minicnn.optim.Adam([w])
        for _ in range(10):
            w.grad = minicnn.tensor(w.array * 0.1)
            optimizer.step()
        return w.array

    expected = [train(seed) for seed in range(3)]
    for found, right in zip(
        in_threads(*(lambda seed=seed: train(seed) for seed in range(3))), expected, strict=True
    ):
        np.testing.assert_array_equal(found, right)


def test_no_grad_in_one_thread_leaves_the_other_recording():
    inside, done = threading.Event(), threading.Event()

    def without():
        with minicnn.no_grad():
            inside.set()
            assert done.wait(60)
        return True

    def recording():
        assert inside.wait(60)
        try:
            return gradients(0)
        finally:
            done.set()

    _, found = in_threads(without, recording)
    assert_close(found, gradients(0))


@pytest.mark.parametrize("prefetch", [0, 3])
def test_a_loader_may_compute_its_batches(prefetch):
    """The prefetch thread blurs images while the main thread trains on those before."""
    kernel = minicnn.tensor(np.full((3, 1, 3, 3), 1 / 9, np.float32))
    images, _ = batch(0)

    def blurred(samples):
        x = minicnn.tensor(np.stack([images * (1 + sample) for sample in samples])[0])
        return (F.conv2d(x, kernel, padding=1, groups=3),)

    model = network()
    losses = [
        [model(x).square().mean() for (x,) in DataLoader(range(6), collate_fn=blurred, prefetch=n)]
        for n in (0, prefetch)
    ]
    for first, second in zip(*losses, strict=True):
        np.testing.assert_allclose(first.item(), second.item(), rtol=1e-2)
        second.backward()
    assert all(np.isfinite(p.grad.numpy()).all() for p in model.parameters())


def run_script(code):
    """Run code in a process of its own that can import this file."""
    paths = [os.path.dirname(__file__), *filter(None, sys.path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    result = subprocess.run(
        [sys.executable, "-c", f"from test_concurrency import *\n{code}"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_computes_the_same():
    code = (
        "expected = gradients(0)\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    same = np.allclose(gradients(0), expected, rtol=1e-4, atol=1e-6)\n"
        "    os._exit(0 if same else 1)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
        "assert_close(gradients(0), expected)\n"
    )
    assert run_script(code) == "0\n"


@pytest.mark.parametrize("first", ["torch", "minicnn"])
def test_torch_computes_in_the_same_process(first):
    """Both libraries have threads of their own; whichever starts first, both stay right."""
    pytest.importorskip("torch")
    start = {"minicnn": "gradients(0)", "torch": "import torch; torch.ones(500, 500).mm(a)"}
    code = (
        "import torch\n"
        "a = torch.rand(500, 500)\n"
        f"{start[first]}\n"
        "expected = gradients(0)\n"
        "for _ in range(3):\n"
        "    product = a @ a\n"
        "    np.testing.assert_allclose(product.numpy(), a.numpy() @ a.numpy(), rtol=1e-4)\n"
        "    assert_close(gradients(0), expected)\n"
        "def multiply():\n"
        "    return [(a @ a).numpy() for _ in range(20)]\n"
        "products, found = in_threads(multiply, lambda: [gradients(0) for _ in range(5)])\n"
        "for each in found:\n"
        "    assert_close(each, expected)\n"
        "for each in products:\n"
        "    np.testing.assert_allclose(each, product.numpy(), rtol=1e-4)\n"
    )
    run_script(code)
