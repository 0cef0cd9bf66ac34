from __future__ import annotations

import threading

import numpy as np
import pytest

import minicnn
import minicnn.nn.functional as F
from minicnn import nn
from minicnn.errors import ArgumentError
from minicnn.gradcheck import GradcheckError, gradcheck, gradcheck_pair, gradgradcheck

X = np.random.default_rng(0).normal(size=(3, 4))


def tensor(array, **settings):
    return minicnn.tensor(array, dtype=minicnn.float64, **settings)


def clean(dy, x):
    return dy * np.cos(x)


def double(dy, x):
    return 2 * dy * np.cos(x)


# --- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "slow"}, "mode must be one of auto, full, fast, got 'slow'"),
        ({"eps": -1e-3}, "eps must not be negative"),
        ({"eps": 0}, "eps must be larger than 0"),
        ({"atol": -1}, "atol must not be negative, got -1"),
        ({"rtol": float("nan")}, "rtol must not be negative, got nan"),
        ({"nondet_tol": -1e-9}, "nondet_tol must not be negative"),
        ({"budget": -1}, "budget must not be negative"),
    ],
)
@pytest.mark.parametrize("check", [gradcheck, gradgradcheck, gradcheck_pair])
def test_settings_out_of_range_are_named(check, settings, message):
    arguments = (np.sin, clean, [X]) if check is gradcheck_pair else (F.relu, tensor(X))
    with pytest.raises(ArgumentError, match=message):
        check(*arguments, **settings)


def test_an_unknown_setting_is_refused():
    with pytest.raises(TypeError, match="tolerance"):
        gradcheck(F.relu, tensor(X), tolerance=1)


def test_a_failure_raises_and_an_inconclusive_check_only_if_it_is_not_allowed():
    with pytest.raises(GradcheckError):
        gradcheck_pair(np.sin, double, [X])
    drowned = (lambda x: 1e14 + np.real(x), lambda dy, x: dy, [X])
    with pytest.raises(GradcheckError) as caught:
        gradcheck_pair(*drowned)
    assert caught.value.report.verdict == "inconclusive"
    assert gradcheck_pair(*drowned, allow_inconclusive=True).verdict == "inconclusive"
    assert gradcheck_pair(*drowned, raise_exception=False).verdict == "inconclusive"
    with pytest.raises(GradcheckError):
        gradcheck_pair(np.sin, double, [X], allow_inconclusive=True)


def test_the_error_of_a_backward_is_chained():
    def backward(dy, x):
        raise KeyError("weights")

    with pytest.raises(GradcheckError) as caught:
        gradcheck_pair(np.sin, backward, [X])
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize(
    ("settings", "mode"),
    [
        ({}, "full"),
        ({"mode": "full"}, "full"),
        ({"mode": "fast"}, "fast"),
        ({"fast_mode": True}, "fast"),
        ({"budget": 0}, "fast"),
        ({"budget": 0, "mode": "full"}, "full"),
    ],
)
def test_the_mode_is_the_one_asked_for_or_what_fits_into_the_budget(settings, mode):
    report = gradcheck_pair(np.sin, clean, [X], **settings)
    assert report.mode == mode
    assert report.verdict == "pass"


def test_the_report_counts_calls_and_seconds_and_keeps_the_line_to_repeat():
    calls = []

    def forward(x):
        calls.append(1)
        return np.sin(x)

    report = gradcheck_pair(forward, clean, [X], cache=False, repeat="again")
    assert report.calls == len(calls)
    assert report.seconds > 0
    assert report.repeat == "again"


# --- what it leaves behind ------------------------------------------------------------------------


def global_states():
    legacy = np.random.get_state()
    return legacy[1].tobytes(), legacy[2], minicnn.random.default.get_state()


@pytest.mark.parametrize("mode", ["full", "fast"])
def test_a_check_reproduces_bit_by_bit_and_touches_no_global_generator(mode, seeded):
    before = global_states()
    reports = [
        gradcheck_pair(np.sin, clean, [X], mode=mode, seed=5, raise_exception=False)
        for _ in range(2)
    ]
    assert global_states() == before
    one, two = (report.to_dict() | {"seconds": 0} for report in reports)
    assert one == two
    other = gradcheck_pair(np.sin, clean, [X], mode=mode, seed=6)
    assert other.to_dict()["inputs"] != one["inputs"]


def test_a_function_that_draws_leaves_the_generators_as_they_were(seeded):
    before = global_states()

    def function(x):
        return F.dropout(x, 0.5) * float(np.random.normal())

    assert gradcheck(function, tensor(X)).verdict == "pass"
    assert gradcheck(function, minicnn.tensor(X.astype(np.float32))).verdict == "pass"
    assert gradgradcheck(function, tensor(X)).verdict == "pass"
    assert global_states() == before


@pytest.mark.parametrize("after", [0, 1, 2, 5, 20, 40])
@pytest.mark.parametrize("stop", [KeyboardInterrupt, MemoryError, ZeroDivisionError])
def test_an_interruption_leaves_generators_and_modules_as_they_were(after, stop, seeded):
    norm = nn.BatchNorm2d(2).to(dtype=minicnn.float64)
    before = global_states()
    calls = []

    def function(x):
        y = norm(F.dropout(x, 0.5))
        calls.append(1)
        if len(calls) == after + 1:
            raise stop
        return y

    x = tensor(np.random.default_rng(0).normal(size=(3, 2, 2, 1)))
    raised = False
    try:
        gradcheck(function, x, raise_exception=False)
    except stop:
        raised = True
    assert len(calls) > after
    assert raised or stop is not KeyboardInterrupt or after == 0
    assert global_states() == before
    assert not norm.running_mean.numpy().any()
    assert norm.training


def test_a_pair_that_raises_at_once_leaves_the_generators_as_they_were():
    before = global_states()

    def forward(x):
        np.random.normal()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        gradcheck_pair(forward, clean, [X])
    assert global_states() == before


def test_checks_in_several_threads_do_not_disturb_each_other():
    verdicts = []

    def run(seed):
        for _ in range(3):
            report = gradcheck_pair(np.sin, clean, [X], seed=seed, raise_exception=False)
            model = gradcheck(nn.Linear(4, 2), tensor(X), seed=seed, raise_exception=False)
            verdicts.append((report.verdict, model.verdict))

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verdicts == [("pass", "pass")] * 6


# --- the bar --------------------------------------------------------------------------------------


def test_there_is_no_bar_where_there_is_no_terminal(capfd):
    gradcheck_pair(np.sin, clean, [X])
    gradcheck_pair(np.sin, clean, [X], progress=False)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("mode", ["full", "fast"])
def test_a_bar_that_is_asked_for_counts_directions(capfd, mode):
    gradcheck_pair(np.sin, clean, [X], progress=True, mode=mode)
    shown = capfd.readouterr().err
    assert "sin" in shown
    assert "directions" in shown


# --- diagnosis ------------------------------------------------------------------------------------


def test_a_wrong_gradient_is_diagnosed_under_the_name_of_its_input():
    report = gradcheck_pair(
        lambda image, scale: image * scale,
        lambda dy, image, scale: (dy * scale, -dy * image),
        [X, X + 2],
        raise_exception=False,
    )
    assert report.hints[0].cause == "sign"
    assert report.hints[0].text.startswith("dscale: ")


def test_a_gradient_of_the_wrong_shape_is_diagnosed_though_it_cannot_be_compared():
    report = gradcheck_pair(
        np.add, lambda dy, x, b: (dy, dy), [X, np.ones(4)], raise_exception=False
    )
    assert report.found("shape")
    assert [row.place.position for row in report.rows] == [0]
    assert report.hints[0].cause == "broadcast"
