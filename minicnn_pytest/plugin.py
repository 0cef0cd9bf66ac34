"""Hooks for pytest: the fixture `gradcheck`, its marker and options, and a summary at the end."""

from __future__ import annotations

import shlex
import zlib
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from minicnn.testing.fixture import GradcheckFixture

OPTIONS = ("mode", "seed", "budget")  # those that are settings of gradcheck
CHECKS = pytest.StashKey["GradcheckFixture"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer the options that hold for every check of a session."""
    group = parser.getgroup("minicnn", "gradient checks (minicnn)")
    group.addoption(
        "--gradcheck-mode",
        choices=("auto", "full", "fast"),
        help="look along each element, along directions, or decide by the time it takes",
    )
    group.addoption(
        "--gradcheck-seed",
        type=int,
        metavar="N",
        help="seed of all checks; by default each test has one of its own, made from its id",
    )
    group.addoption(
        "--gradcheck-budget",
        type=float,
        metavar="SECONDS",
        help="how long a check may look along each element before it takes directions",
    )
    group.addoption(
        "--gradcheck-report",
        metavar="DIR",
        help="write the reports of checks that did not pass to DIR, as JSON and HTML",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        "gradcheck(**settings): settings for the gradient checks of a test, as rtol=1e-6 or "
        "mode='full'; what a call names itself counts more.",
    )


@pytest.fixture
def gradcheck(request: pytest.FixtureRequest) -> GradcheckFixture:
    """Check gradients: `gradcheck(f, inputs)`, `gradcheck.second(...)`, `gradcheck.pair(...)`.

    Takes the settings of `minicnn.gradcheck.gradcheck`.  The seed comes from the test's id, so that
    a failure happens again when the test runs alone.
    """
    from minicnn.testing.fixture import GradcheckFixture

    item, config = request.node, request.config
    options = {name: config.getoption(f"--gradcheck-{name}") for name in OPTIONS}
    asked = {name: value for name, value in options.items() if value is not None}
    repeat = " ".join(
        ["pytest", shlex.quote(item.nodeid), *(f"--gradcheck-{k}={v}" for k, v in asked.items())]
    )
    settings = {"seed": zlib.crc32(item.nodeid.encode()), "repeat": repeat, "progress": False}
    folder = config.getoption("--gradcheck-report")
    checks = GradcheckFixture(
        item.nodeid,
        {**settings, **asked, **_marked(item)},
        config.invocation_params.dir / folder if folder else None,
    )
    item.stash[CHECKS] = checks
    return checks


def _marked(item: pytest.Item) -> dict[str, Any]:
    """Return the settings of the markers; those nearest to the test count most."""
    settings: dict[str, Any] = {}
    for mark in item.iter_markers("gradcheck"):
        if mark.args:
            raise pytest.UsageError(
                f"{item.nodeid}: the marker gradcheck takes settings by name, got {mark.args}"
            )
        settings = {**mark.kwargs, **settings}
    return settings


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Hang what the checks found on the test's last report, which reaches us from any process."""
    report = yield
    if call.when == "teardown" and CHECKS in item.stash:
        vars(report)["gradcheck"] = item.stash[CHECKS].records
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Tell what was checked, if anything was."""
    reports = [report for group in terminalreporter.stats.values() for report in group]
    records = [record for report in reports for record in getattr(report, "gradcheck", ())]
    if records:
        from minicnn.testing.fixture import summary

        terminalreporter.section("gradient checks")
        for line in summary(records):
            terminalreporter.line(line)
