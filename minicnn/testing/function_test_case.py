'''A base class that tests a differentiable function from all sides.

::

    import numpy as np
    from minicnn.testing import FunctionTestCase

    class TestSoftplus(FunctionTestCase):
        batch_inputs = (0,)

        def function(self, x):
            return softplus(x)

        def sample_inputs(self, rng):
            return (rng.normal(size=(3, 4)),)

        def expected(self, x):
            return np.logaddexp(0, x)

    class TestMyConvolution(FunctionTestCase):
        """A backward in plain NumPy: forward(*arrays), backward(dy, *arrays)."""

        forward, backward = my_conv, my_conv_backward

        def sample_inputs(self, rng):
            return rng.normal(size=(2, 3, 5, 4)), rng.normal(size=(4, 3, 3, 2))

pytest then finds in each class the tests listed at `FunctionTestCase`.
'''

from __future__ import annotations

import inspect
import zlib
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from minicnn.errors import ArgumentError
from minicnn.gradcheck import Report, gradcheck, gradcheck_pair, gradgradcheck
from minicnn.gradcheck.promises import LAYOUTS
from minicnn.gradcheck.subject import as_list, from_function, from_pair
from minicnn.testing.operations import raise_if_refused
from minicnn_kernels.arrays import Array, is_floating

Arrays = Sequence[Array]


class FunctionTestCase:
    """Tests for a function with a gradient; a subclass names the function and its inputs.

    A subclass has `function`, or `forward` and `backward`, as methods or assigned, and
    `sample_inputs`.  It inherits these tests, or those that apply to it:

        test_forward            equals `expected`, if there is one
        test_gradient           passes `gradcheck`, on all layouts in memory
        test_second_derivative  passes `gradgradcheck`; for `function` only
        test_layouts            forward gives the same on all layouts in memory
        test_float32            float32 stays float32, and is as good as float32 can be
        test_batch_sizes        all of this for batches of 1 and 0, if `batch_inputs` says where

    Attributes:
        settings: settings for `gradcheck`, as `{"rtol": 1e-6}`.
        rtol, atol: how closely forward equals `expected`.
        float32_rtol: how closely float32 equals float64, relative to the largest value.
        second_order, float32: False where the function is not made for it.
        batch_inputs: positions of the inputs whose first dimension is the batch.
        batch_sizes: the sizes to try; `(1,)` for a function that no empty batch has a value for.
    """

    __test__ = False
    settings: ClassVar[dict[str, Any]] = {}
    rtol: ClassVar[float] = 1e-10
    atol: ClassVar[float] = 1e-12
    float32_rtol: ClassVar[float] = 1e-4
    second_order: ClassVar[bool] = True
    float32: ClassVar[bool] = True
    batch_inputs: ClassVar[tuple[int, ...]] = ()
    batch_sizes: ClassVar[tuple[int, ...]] = (1, 0)

    def function(self, *tensors: Any) -> Any:
        """Compute from Tensors; an operation or a Module can be assigned instead."""
        raise NotImplementedError

    def forward(self, *arrays: Any) -> Any:
        """Compute from arrays; may return `(out, cache)`."""
        raise NotImplementedError

    def backward(self, *arrays: Any) -> Any:
        """Return the gradients from `(dy, *arrays)`, or from `(dout, cache)`."""
        raise NotImplementedError

    def sample_inputs(self, rng: np.random.Generator) -> tuple[Any, ...]:
        """Return a tuple of arrays in float64; whole numbers, as labels, have no gradient."""
        raise NotImplementedError

    def expected(self, *arrays: Any) -> Any:
        """Compute the result in another way, from arrays."""
        raise NotImplementedError

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if "__test__" not in vars(cls):
            cls.__test__ = True
        for name in ("function", "forward", "backward", "expected"):
            if name in vars(cls) and not _is_method(vars(cls)[name]):
                setattr(cls, name, staticmethod(vars(cls)[name]))  # it shall not be given self
        wanted = {
            "test_forward": cls._has("expected"),
            "test_second_derivative": cls.second_order and cls._has("function"),
            "test_float32": cls.float32,
            "test_batch_sizes": bool(cls.batch_inputs),
        }
        for name, applies in wanted.items():
            if not applies:
                setattr(cls, name, None)  # pytest does not see it
            elif getattr(cls, name) is None:
                setattr(cls, name, vars(FunctionTestCase)[name])

    # --- the tests ---------------------------------------------------------------------------

    def test_forward(self) -> None:
        """The result equals the expected one."""
        self._compare_with_expected(self._samples())

    def test_gradient(self) -> None:
        """The gradient equals the slopes of forward, and keeps all promises."""
        self._gradcheck(self._samples())

    def test_second_derivative(self) -> None:
        """The gradient of the gradient equals the slopes of the gradient."""
        self._accept(gradgradcheck(self.function, tuple(self._samples()), **self._settings()))

    def test_layouts(self) -> None:
        """Forward gives the same however the inputs lie in memory, read-only ones included."""
        arrays = self._samples()
        outputs = self._run([x.copy() for x in arrays])
        for layout, arrange in {**LAYOUTS, "read-only": _read_only}.items():
            _compare(self._run([arrange(x) for x in arrays]), outputs, 1e-12, 1e-12, layout)

    def test_float32(self) -> None:
        """Inputs in float32 give outputs and gradients in float32, close to those in float64."""
        arrays = self._samples()
        narrow = [x.astype(np.float32) if is_floating(x.dtype) else x for x in arrays]
        outputs = self._run(narrow, np.float32)
        types = [str(y.dtype) for y in outputs if is_floating(y.dtype)]
        assert set(types) <= {"float32"}, f"float32 became {', '.join(types)}"
        exact = self._run([x.astype(np.float64) if is_floating(x.dtype) else x for x in narrow])
        largest = max((float(np.abs(y).max(initial=0)) for y in exact), default=0.0)
        _compare(outputs, exact, self.float32_rtol, self.float32_rtol * largest, "float32")
        self._gradcheck(narrow)

    def test_batch_sizes(self) -> None:
        """Batches of one and of none work like any other."""
        for size in self.batch_sizes:
            arrays = [
                x[:size] if position in self.batch_inputs else x
                for position, x in enumerate(self._samples())
            ]
            if self._has("expected"):
                self._compare_with_expected(arrays)
            self._gradcheck(arrays)

    # --- what they need ----------------------------------------------------------------------

    @classmethod
    def _has(cls, name: str) -> bool:
        return getattr(cls, name) is not getattr(FunctionTestCase, name)

    def _samples(self) -> list[Array]:
        cls = type(self)
        if not (self._has("function") or (self._has("forward") and self._has("backward"))):
            raise ArgumentError(f"{cls.__name__}: give it `function`, or `forward` and `backward`")
        rng = np.random.default_rng(zlib.crc32(cls.__name__.encode()))
        samples: Any = self.sample_inputs(rng)
        if not isinstance(samples, (tuple, list)):
            kind = type(samples).__name__
            raise ArgumentError(f"{cls.__name__}: sample_inputs must return a tuple, got {kind}")
        return [np.asarray(x) for x in samples]

    def _run(self, arrays: Arrays, dtype: Any = np.float64) -> list[Array]:
        """Compute the outputs from these very arrays."""
        if self._has("function"):
            subject = from_function(self.function, tuple(arrays), dtype=dtype)
        else:
            subject = from_pair(self.forward, self.backward, arrays, dtype=dtype)
        try:
            return subject.forward(arrays)
        finally:
            subject.replay.restore()  # the next run shall draw the same random numbers

    def _compare_with_expected(self, arrays: Arrays) -> None:
        expected = [np.asarray(y) for y in as_list(self.expected(*arrays))]
        _compare(self._run(arrays), expected, self.rtol, self.atol, "expected")

    def _gradcheck(self, arrays: Arrays) -> None:
        __tracebackhide__ = True
        if self._has("function"):
            report = gradcheck(self.function, tuple(arrays), **self._settings())
        else:
            report = gradcheck_pair(self.forward, self.backward, arrays, **self._settings())
        self._accept(report)

    def _settings(self) -> dict[str, Any]:
        again = f"pytest -k {type(self).__name__}"
        return {"repeat": again, "progress": False, **self.settings, "raise_exception": False}

    def _accept(self, report: Report) -> None:
        __tracebackhide__ = True  # of a failed check only the report is of interest
        raise_if_refused(report, self.settings)


def _is_method(given: Any) -> bool:
    """Say whether a class attribute was written as a method: a function of self."""
    if isinstance(given, (staticmethod, classmethod)):
        return True
    return (
        inspect.isfunction(given) and next(iter(inspect.signature(given).parameters), "") == "self"
    )


def _read_only(array: Array) -> Array:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def _compare(found: Arrays, expected: Arrays, rtol: float, atol: float, what: str) -> None:
    assert len(found) == len(expected), f"{len(found)} outputs, expected {len(expected)}"
    for y, correct in zip(found, expected, strict=True):
        assert y.shape == correct.shape, f"shape {y.shape}, expected {correct.shape}"
        np.testing.assert_allclose(y, correct, rtol=rtol, atol=atol, err_msg=what)
