from __future__ import annotations

import threading
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest

from minicnn_kernels import kernels, registry, use_algorithms
from minicnn_kernels.errors import AlgorithmError
from minicnn_kernels.registry import Kernel, can_compile, compiler_is_wanted, only_numpy

X = np.zeros(3)


@pytest.fixture
def scale():
    """A kernel with a cheap algorithm for small factors, a dear one, and one only by name."""
    kernel = Kernel("scale_for_a_test")

    @kernel.algorithm("small", cost=lambda x, factor: 1, serves=lambda x, factor: factor < 10)
    def small(x, *, factor):
        """y = x * factor, for factors below 10.

        More text.
        """
        return "small"

    @kernel.algorithm("large", cost=lambda x, factor: 5 - factor / 100)
    def large(x, *, factor):
        return "large"

    @kernel.algorithm("loops")
    def loops(x, *, factor):
        return "loops"

    @kernel.algorithm("card", devices=("cuda",), cost=lambda x, factor: 1)
    def card(x, *, factor):
        return "card"

    yield kernel
    del kernels["scale_for_a_test"]


def test_the_cheapest_that_serves_is_taken(scale):
    assert scale(X, factor=2) == "small"
    assert scale(X, factor=20) == "large"
    assert scale(X, factor=20, algorithm="auto") == "large"


def test_the_cost_sees_the_call(scale):
    assert scale(X, factor=9) == "small"
    assert scale.choose(X, factor=450).cost(X, factor=450) == 0.5


def test_a_choice_is_remembered_for_arrays_that_lie_alike(scale):
    asked = []

    @scale.algorithm("wide", cost=lambda x, factor: 0, serves=lambda x, factor: asked.append(x))
    def wide(x, *, factor):
        return "wide"

    def questions(*arrays, **settings):
        asked.clear()
        scale(*arrays, **settings)
        return len(asked)

    assert questions(X, factor=2) == 1
    assert questions(X + 1, factor=2) == 0
    others = X[::2], np.zeros((3, 1)), X.astype(np.float32), np.zeros((1, 3)), np.zeros(6)[::2]
    assert [questions(other, factor=2) for other in others] == [1] * 5
    assert questions(X, factor=3) == questions(X, factor=2, algorithm="small") == 1
    with use_algorithms(scale_for_a_test="loops"):
        assert scale(X, factor=2) == "loops"
    assert scale(X, factor=2) == "small"


def test_what_has_no_hash_is_decided_each_time(scale):
    scale.algorithm("any", cost=lambda x, factor: 0)(lambda x, *, factor: "any")
    del scale.algorithms["small"], scale.algorithms["large"]
    assert [scale(X, factor=[1]) for _ in range(2)] == ["any", "any"]


def test_a_choice_is_forgotten_when_algorithms_come_or_go(scale):
    assert scale(X, factor=2) == "small"
    scale.algorithm("better", cost=lambda x, factor: 0)(lambda x, *, factor: "better")
    assert scale(X, factor=2) == "better"
    del scale.algorithms["better"]
    assert scale(X, factor=2) == "small"


def test_an_algorithm_is_taken_by_name(scale):
    assert scale(X, factor=2, algorithm="loops") == "loops"


def test_one_without_a_cost_is_taken_only_by_name(scale):
    scale.algorithms = {"loops": scale.algorithms["loops"]}
    with pytest.raises(
        AlgorithmError, match="scale_for_a_test: no algorithm serves this call on cpu"
    ):
        scale(X, factor=2)


def test_the_device_of_the_first_array_decides(scale):
    card_array = SimpleNamespace(device=SimpleNamespace(id=0))
    assert scale(card_array, factor=2) == "card"


def test_an_unknown_name_is_refused_with_those_there_are(scale):
    with pytest.raises(AlgorithmError, match=r"algorithm 'fast'; .*card, large, loops, small"):
        scale(X, factor=2, algorithm="fast")


@pytest.mark.parametrize(("name", "factor"), [("small", 20), ("card", 2)])
def test_one_that_does_not_serve_is_refused_with_those_that_do(scale, name, factor):
    with pytest.raises(
        AlgorithmError, match=f"'{name}' does not serve this call on cpu.*large, loops"
    ):
        scale(X, factor=factor, algorithm=name)


def test_the_formula_is_the_first_line_of_the_docstring(scale):
    assert scale.algorithms["small"].formula == "y = x * factor, for factors below 10."
    assert scale.algorithms["large"].formula == ""


def test_use_algorithms_holds_inside_the_block_only(scale):
    with use_algorithms(scale_for_a_test="loops"):
        assert scale(X, factor=2) == "loops"
        with use_algorithms(scale_for_a_test="large"):
            assert scale(X, factor=2) == "large"
        with use_algorithms(scale_for_a_test="auto"):
            assert scale(X, factor=2) == "small"
        with use_algorithms(conv="loops"):
            assert scale(X, factor=2) == "loops"
        assert scale(X, factor=2, algorithm="small") == "small"
    assert scale(X, factor=2) == "small"


def test_use_algorithms_ends_with_an_error_too(scale):
    with pytest.raises(KeyError), use_algorithms(scale_for_a_test="loops"):
        raise KeyError
    assert scale(X, factor=2) == "small"


def test_use_algorithms_does_not_reach_other_threads(scale):
    seen = []
    with use_algorithms(scale_for_a_test="loops"):
        thread = threading.Thread(target=lambda: seen.append(scale(X, factor=2)))
        thread.start()
        thread.join()
    assert seen == ["small"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"conv3d": "loops"}, "unknown kernel 'conv3d'; there are .*conv"),
        ({"conv": "fast"}, "conv: unknown algorithm 'fast'; there are .*im2col, .*loops"),
    ],
)
def test_use_algorithms_refuses_unknown_names(names, message):
    with pytest.raises(AlgorithmError, match=message), use_algorithms(**names):
        pytest.fail("the block must not run")


@pytest.fixture
def environment(monkeypatch):
    """Set MINICNN_ALGORITHMS."""
    yield lambda text: (
        monkeypatch.setenv("MINICNN_ALGORITHMS", text), registry.preferred.cache_clear()
    )  # fmt: skip
    registry.preferred.cache_clear()


def test_the_environment_is_followed_where_it_serves(scale, environment):
    environment(" conv = fft ,scale_for_a_test=large,")
    assert registry.preferred() == {"conv": "fft", "scale_for_a_test": "large"}
    assert scale(X, factor=2) == "large"
    assert scale(X, factor=2, algorithm="small") == "small"
    with use_algorithms(scale_for_a_test="loops"):
        assert scale(X, factor=2) == "loops"
    environment("scale_for_a_test=small")
    scale._choices.clear()
    assert scale(X, factor=20) == "large"
    environment("scale_for_a_test=loops")
    scale._choices.clear()
    assert scale(X, factor=2) == "loops"


@pytest.mark.parametrize(("text", "message"), [
    ("scale_for_a_test=fast", "MINICNN_ALGORITHMS: .*'fast'; there are card, large"),
    ("cnv=fft", "MINICNN_ALGORITHMS: unknown kernel 'cnv'; there are .*conv_weight"),
    ("conv", "MINICNN_ALGORITHMS: conv: unknown algorithm ''"),
])  # fmt: skip
def test_unknown_names_in_the_environment_are_refused(scale, environment, text, message):
    environment(text)
    for _ in range(2):
        with pytest.raises(AlgorithmError, match=message):
            scale(X, factor=2)


def test_every_kernel_can_be_chosen_for_and_every_algorithm_states_its_formula():
    for name, kernel in kernels.items():
        assert kernel.name == name
        assert any(a.cost is not None for a in kernel.algorithms.values()), name
        for algorithm in kernel.algorithms.values():
            assert algorithm.formula, f"{name}: {algorithm.name}"


# --- compiled algorithms --------------------------------------------------------------------------


@pytest.fixture
def fresh_answer():
    compiler_is_wanted.cache_clear()
    yield
    compiler_is_wanted.cache_clear()


def test_a_compiled_algorithm_is_imported_when_it_is_called(scale, monkeypatch, fresh_answer):
    module = SimpleNamespace(scale=lambda x, *, factor: f"compiled {factor}")
    monkeypatch.setattr(registry, "find_spec", lambda name: "there")
    monkeypatch.delenv("MINICNN_KERNELS", raising=False)
    scale.compiled("fast", "chosen.scale", "y = x * factor.", cost=lambda x, factor: 0)
    with pytest.raises(ModuleNotFoundError, match=r"minicnn_kernels\.cpu\.chosen"):
        scale(X, factor=2)
    monkeypatch.setattr(registry, "import_module", {"minicnn_kernels.cpu.chosen": module}.get)
    assert scale(X, factor=2) == "compiled 2"
    assert scale.algorithms["fast"].formula == "y = x * factor."


@pytest.mark.parametrize("reason", ["no Numba", "asked for NumPy", "inside a block"])
def test_without_numba_the_others_serve(scale, monkeypatch, fresh_answer, reason):
    monkeypatch.setattr(registry, "find_spec", lambda name: None if reason == "no Numba" else "it")
    monkeypatch.delenv("MINICNN_KERNELS", raising=False)
    if reason == "asked for NumPy":
        monkeypatch.setenv("MINICNN_KERNELS", "numpy")
    scale.compiled("fast", "chosen.scale", "y = x * factor.", cost=lambda x, factor: 0)
    with only_numpy() if reason == "inside a block" else nullcontext():
        assert scale(X, factor=2) == "small"
        with pytest.raises(AlgorithmError, match="'fast' does not serve this call"):
            scale(X, factor=2, algorithm="fast")
    assert can_compile() == (reason == "inside a block")
