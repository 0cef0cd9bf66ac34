"""Put gradient checkers side by side: on known mistakes, the same repaired, and tricky right code.

Every checker gets the same pairs of NumPy functions, `forward` and `backward`, wrapped the way its
library wants custom gradients: minicnn.gradcheck.gradcheck_pair, torch.autograd.gradcheck (a
torch.autograd.Function), jax.test_util.check_grads (custom_vjp around pure_callback, 64 bits),
HIPS autograd's check_grads (primitive with defvjp) and the plain check of the course cs231n.
What is not installed is left out.

    python benchmarks/gradcheckers.py [--only torch] [--json FILE] [--markdown FILE]

How it is kept fair:

* The pairs get float64, small inputs of size about 1, which is what all the checkers ask for.
* Random numbers are put back before every forward, for all, by minicnn's own Replay: without that
  none of the others can check dropout at all.
* Each checker has its best documented settings.  torch: element types too; fast_mode both ways.
  autograd: each argument by itself, reverse mode.  jax: reverse mode.
* The wrapping refuses a wrong number, shape or element type of the gradients, for all: torch would
  sum or cast some of them without a word, which makes them right there.  A missing gradient is 0.
* A crash counts as caught: a backward that raises, or writes into an array that jax has made
  read-only, shows outside the comparison, and a user would notice.
* Every mistake is also tried repaired.  A checker that refuses the repaired pair, too, has not
  caught the mistake but dislikes the function; the table counts that as a false alarm.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib.metadata
import importlib.util
import json
import logging
import os
import platform
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import threadpoolctl

from minicnn.gradcheck import gradcheck_pair
from minicnn.gradcheck.planted import Pair, all_planted, all_tricky
from minicnn.gradcheck.replay import Replay

Arrays = Sequence[Any]
PASS, FAIL, INCONCLUSIVE, CRASH = "pass", "fail", "inconclusive", "crash"


class Numpy:
    """A pair as other libraries need it: floats in, lists of outputs, random numbers replayed."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.replay = Replay(pair.forward, pair.backward)
        self.floats = [i for i, x in enumerate(pair.inputs) if x.dtype.kind == "f"]
        self.inputs = [np.array(pair.inputs[i]) for i in self.floats]

    def forward(self, floats: Arrays) -> tuple[list[Any], Callable[[Arrays], list[Any]]]:
        """Return the outputs, and the backward that takes one dy for each."""
        self.replay.restore()
        given = [np.array(x) for x in self.pair.inputs]
        for i, x in zip(self.floats, floats, strict=True):
            given[i] = x
        result = self.pair.forward(*given)
        cached = isinstance(result, tuple) and isinstance(result[-1], (tuple, dict))
        outputs, saved = (result[0], (result[1],)) if cached else (result, given)

        def backward(upstream: Arrays) -> list[Any]:
            found = as_list(self.pair.backward(*upstream, *saved))
            if len(found) == len(given) != len(self.floats):
                found = [found[i] for i in self.floats]
            if len(found) != len(self.floats):
                raise ValueError(f"{len(found)} gradients for {len(self.floats)} inputs")
            found = [
                np.zeros_like(x) if g is None else g for g, x in zip(found, floats, strict=True)
            ]
            for g, x in zip(found, floats, strict=True):
                if (np.shape(g), np.asarray(g).dtype) != (x.shape, x.dtype):
                    raise ValueError(f"{np.shape(g)}, {np.asarray(g).dtype} for {x.shape}")
            return found

        return as_list(outputs), backward


def as_promised(dx: Any, x: Any) -> Any:
    if dx is None:
        return np.zeros_like(x)
    if (np.shape(dx), np.asarray(dx).dtype) != (x.shape, x.dtype):
        raise ValueError(f"a gradient {np.shape(dx)}, {np.asarray(dx).dtype} for {x.shape}")
    return dx


def as_list(result: Any) -> list[Any]:
    return list(result) if isinstance(result, (tuple, list)) else [result]


# --- the checkers: each returns a verdict for a pair ----------------------------------------------


def minicnn_checker(pair: Pair) -> str:
    return gradcheck_pair(*pair, raise_exception=False, progress=False).verdict


def torch_checker(pair: Pair, fast: bool = False) -> str:
    import torch
    from torch.autograd.gradcheck import GradcheckError

    functions = Numpy(pair)

    class Wrapped(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *tensors: Any) -> Any:
            outputs, ctx.numpy_backward = functions.forward([t.detach().numpy() for t in tensors])
            made = tuple(torch.as_tensor(np.array(y)) for y in outputs)
            return made if len(made) > 1 else made[0]

        @staticmethod
        def backward(ctx: Any, *upstream: Any) -> Any:
            found = ctx.numpy_backward([dy.numpy() for dy in upstream])
            return tuple(torch.as_tensor(np.asarray(dx, order="C")) for dx in found)

    torch.manual_seed(0)
    inputs = [torch.tensor(x, requires_grad=True) for x in functions.inputs]
    try:
        torch.autograd.gradcheck(Wrapped.apply, inputs, fast_mode=fast, check_grad_dtypes=True)
    except GradcheckError:
        return FAIL
    return PASS


def torch_fast_checker(pair: Pair) -> str:
    return torch_checker(pair, fast=True)


def jax_checker(pair: Pair) -> str:
    import jax
    from jax.test_util import check_grads

    jax.config.update("jax_enable_x64", True)
    functions = Numpy(pair)
    outputs, _ = functions.forward(functions.inputs)
    result = [jax.ShapeDtypeStruct(np.shape(y), np.float64) for y in outputs]
    shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in functions.inputs]

    def run(*floats: Any) -> list[Any]:
        return [np.asarray(y) for y in functions.forward([np.asarray(x) for x in floats])[0]]

    def run_back(upstream: Any, floats: Any) -> list[Any]:
        _, backward = functions.forward([np.asarray(x) for x in floats])
        return backward([np.asarray(dy) for dy in upstream])

    @jax.custom_vjp
    def wrapped(*floats: Any) -> Any:
        return jax.pure_callback(run, result, *floats)

    def forward(*floats: Any) -> Any:
        return wrapped(*floats), floats

    def backward(floats: Any, upstream: Any) -> Any:
        return tuple(jax.pure_callback(run_back, shapes, upstream, floats))

    wrapped.defvjp(forward, backward)
    try:
        check_grads(wrapped, tuple(functions.inputs), order=1, modes=["rev"])
    except AssertionError:
        return FAIL
    return PASS


def autograd_checker(pair: Pair) -> str:
    from autograd.extend import defvjp_argnums, primitive
    from autograd.test_util import check_grads

    functions = Numpy(pair)

    @primitive
    def wrapped(*floats: Any) -> Any:
        return joined(functions.forward(floats)[0])

    def gradient(argnums: Any, y: Any, floats: Any, settings: Any) -> Any:
        outputs, backward = functions.forward(floats)

        def run(dy: Any) -> list[Any]:
            found = backward(split(dy, outputs))
            return [found[i] for i in argnums]

        return run

    defvjp_argnums(wrapped, gradient)
    np.random.seed(0)
    try:
        for k in range(len(functions.inputs)):
            check_grads(wrapped, k, modes=["rev"], order=1)(*functions.inputs)
    except AssertionError:
        return FAIL
    return PASS


def cs231n_checker(pair: Pair) -> str:
    """The course's centred differences; below 1e-7 is fine, above 1e-2 wrong, between unclear."""
    functions = Numpy(pair)
    outputs, backward = functions.forward(functions.inputs)
    draw = np.random.default_rng(231)
    upstream = [draw.standard_normal(np.shape(y)) for y in outputs]
    claimed = backward([dy.copy() for dy in upstream])
    worst = 0.0
    for x, dx in zip(functions.inputs, claimed, strict=True):
        measured = np.zeros_like(x)
        for i in np.ndindex(x.shape):
            before, ends = x[i], []
            for h in (1e-5, -1e-5):
                x[i] = before + h
                ends.append([np.array(y) for y in functions.forward(functions.inputs)[0]])
            x[i] = before
            gaps = [(a - b) * dy for a, b, dy in zip(*ends, upstream, strict=True)]
            measured[i] = sum(gap.sum() for gap in gaps) / 2e-5
        error = np.abs(dx - measured) / np.maximum(1e-8, np.abs(dx) + np.abs(measured))
        worst = float(np.maximum(worst, np.max(error, initial=0.0)))  # NaN stays
    if worst <= 1e-7:
        return PASS
    return INCONCLUSIVE if worst <= 1e-2 else FAIL  # NaN compares False


def joined(outputs: Arrays) -> Any:
    """Return several outputs as one vector, which is all that autograd's primitives return."""
    if len(outputs) == 1:
        return np.asarray(outputs[0])
    return np.concatenate([np.ravel(y) for y in outputs])


def split(dy: Any, outputs: Arrays) -> list[Any]:
    if len(outputs) == 1:
        return [dy]
    parts = np.split(dy, np.cumsum([np.size(y) for y in outputs])[:-1])
    return [part.reshape(np.shape(y)) for part, y in zip(parts, outputs, strict=True)]


@dataclass(frozen=True)
class Contender:
    title: str
    package: str
    check: Callable[[Pair], str]


CONTENDERS = {
    "minicnn": Contender("minicnn `gradcheck_pair`", "minicnn", minicnn_checker),
    "torch": Contender("`torch.autograd.gradcheck`", "torch", torch_checker),
    "torch-fast": Contender("the same, `fast_mode=True`", "torch", torch_fast_checker),
    "jax": Contender("`jax.test_util.check_grads`", "jax", jax_checker),
    "autograd": Contender("autograd `check_grads`", "autograd", autograd_checker),
    "cs231n": Contender("cs231n differences, 1e-7 / 1e-2", "numpy", cs231n_checker),
}


# --- counting -------------------------------------------------------------------------------------


def verdict(contender: Contender, build: Callable[[], Pair]) -> str:
    """Return what a checker says about a pair; an error outside its comparison is a crash."""
    state = np.random.get_state()
    try:
        return contender.check(build())
    except Exception:
        return CRASH
    finally:
        np.random.set_state(state)


def measure(contender: Contender) -> dict[str, Any]:
    """Return the verdicts over all pairs and the CPU time for the wrong and the tricky ones."""
    from planted_checks import repaired  # a helper of the tests: rewrites the marked lines

    wrong, tricky = all_planted(), all_tricky()
    with contextlib.suppress(Exception):
        contender.check(tricky[0].build())  # imports and compilers warm up
    start = time.process_time()
    for_wrong = {case.name: verdict(contender, case.build) for case in wrong}
    middle = time.process_time()
    for_tricky = {case.name: verdict(contender, case.build) for case in tricky}
    end = time.process_time()
    return {
        "seconds": [middle - start, end - middle],
        "wrong": for_wrong,
        "tricky": for_tricky,
        "repaired": {case.name: verdict(contender, repaired(case)) for case in wrong},
    }


def row(contender: Contender, result: dict[str, Any]) -> list[str]:
    """Return the cells of one line of the table."""
    wrong, right = result["wrong"], result["repaired"]
    stopped = [name for name, said in wrong.items() if said in (FAIL, CRASH)]
    really = [name for name in stopped if right[name] not in (FAIL, CRASH)]
    tricky, repaired_said = list(result["tricky"].values()), list(right.values())
    return [
        contender.title,
        f"{len(really)}",
        f"{len(stopped) - len(really)}",
        f"{list(wrong.values()).count(PASS)}",
        f"{list(wrong.values()).count(INCONCLUSIVE)}",
        f"{tricky.count(FAIL) + tricky.count(CRASH)}",
        f"{repaired_said.count(FAIL) + repaired_said.count(CRASH)}",
        f"{tricky.count(INCONCLUSIVE) + repaired_said.count(INCONCLUSIVE)}",
        *(f"{seconds:.1f} s" for seconds in result["seconds"]),
    ]


def markdown(results: dict[str, dict[str, Any]]) -> str:
    """Return the table, its circumstances, and the names behind the figures."""
    first = next(iter(results.values()))
    wrong, tricky = len(first["wrong"]), len(first["tricky"])
    packages = dict.fromkeys(["numpy", *(CONTENDERS[name].package for name in results)])
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    heads = [
        "checker",
        f"caught, of {wrong}",
        "stopped, but repaired too",
        "passed",
        "inconclusive",
        f"false alarms, of {tricky} tricky",
        f"false alarms, of {wrong} repaired",
        "right, but inconclusive",
        f"CPU time, {wrong} wrong",
        f"CPU time, {tricky} tricky",
    ]
    lines = [heads, ["---"] * len(heads)]
    lines += [row(CONTENDERS[name], result) for name, result in results.items()]
    today = datetime.date.today().isoformat()
    where = f"{platform.machine()}, {os.cpu_count()} cores, one thread"
    return "\n".join(
        [
            "# Gradient checkers on known mistakes",
            "",
            "`python benchmarks/gradcheckers.py`, whose first lines tell how it is kept fair.",
            f"{today}; Python {platform.python_version()}, {versions}; {where}.",
            "",
            *("| " + " | ".join(cells) + " |" for cells in lines),
            "",
            "## Names",
            "",
            *(line for name, result in results.items() for line in named(name, result)),
        ]
    )


def named(name: str, result: dict[str, Any]) -> list[str]:
    """Return a list item for each set of pairs that a checker did not get right."""
    right = {**result["tricky"], **{f"{k} (repaired)": v for k, v in result["repaired"].items()}}
    sets = {
        "wrong, passed": [k for k, said in result["wrong"].items() if said == PASS],
        "wrong, inconclusive": [k for k, said in result["wrong"].items() if said == INCONCLUSIVE],
        "right, false alarm": [k for k, said in right.items() if said in (FAIL, CRASH)],
        "right, inconclusive": [k for k, said in right.items() if said == INCONCLUSIVE],
    }
    return [f"* {name}: {what}: {', '.join(found)}" for what, found in sets.items() if found]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=tuple(CONTENDERS), action="append", help="repeat it")
    parser.add_argument("--json", type=Path, help="also write every verdict here")
    parser.add_argument("--markdown", type=Path, help="also write the table here")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable()  # jax logs each error of a callback
    np.seterr(all="ignore")
    threadpoolctl.threadpool_limits(1)
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "helpers"))
    results = {}
    for name in options.only or CONTENDERS:
        if importlib.util.find_spec(CONTENDERS[name].package) is None:
            print(f"{name}: {CONTENDERS[name].package} is not installed, left out")
            continue
        results[name] = measure(CONTENDERS[name])
        print(f"{name}: {sum(results[name]['seconds']):.1f} s", flush=True)
    table = markdown(results)
    print(f"\n{table}")
    for path, text in (
        (options.markdown, table),
        (options.json, json.dumps(results, indent=2)),
    ):
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
