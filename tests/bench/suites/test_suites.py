"""The suites that come along, against the operations that papers and others give."""

from __future__ import annotations

import pytest

from minicnn.bench import suites
from minicnn.bench.kinds import KINDS
from minicnn.bench.problem import ConvProblem
from minicnn.errors import UsageError

GFLOP_PER_IMAGE = {  # of the convolutions, two operations for a multiply-add
    "alexnet": 1.31,  # 656 million multiply-adds
    "alexnet-original": 1.33,
    "vgg16": 30.7,
    "googlenet": 3.16,
    "resnet50-v1": 7.7,
    "resnet50": 8.17,  # torchvision: 4.09 billion multiply-adds
    "mobilenet": 1.136,  # the paper: 569 million multiply-adds, 1 million of them at the end
    "convnet-benchmarks": 7.14,
    "deepbench": 8.61,
}


def test_every_suite_has_a_known_total():
    assert suites.names("conv") == sorted(GFLOP_PER_IMAGE)


@pytest.mark.parametrize("name", GFLOP_PER_IMAGE)
def test_the_operations_of_a_suite(name):
    problems = suites.load("conv", name, ConvProblem.read)
    total = sum(problem.flops * problem.count / problem.batch for problem in problems)
    assert total / 1e9 == pytest.approx(GFLOP_PER_IMAGE[name], rel=0.005)
    assert all(problem.name for problem in problems)
    assert len({problem.name for problem in problems}) == len(problems)
    assert len({problem.key for problem in problems}) > len(problems) / 2


@pytest.mark.parametrize("kind", ["gemm", "pool"])
def test_other_suites_can_be_read(kind):
    for name in suites.names(kind):
        problems = suites.load(kind, name, KINDS[kind].read)
        assert len({problem.name for problem in problems}) == len(problems)


def test_a_file_of_ones_own(tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text('# mine\n\nic3ih5oc4kh3n"#1" # the first\nic4ih3oc4kh3\n')
    first, second = suites.load("conv", str(file), ConvProblem.read)
    assert (first.name, second.in_channels) == ("#1", 4)
    file.write_text("ic3ih5oc4kh3\nic3\n")
    with pytest.raises(UsageError, match=r"mine\.txt, line 2: .*lacks"):
        suites.load("conv", str(file), ConvProblem.read)
    file.write_text("# nothing\n")
    with pytest.raises(UsageError, match="holds no problem"):
        suites.load("conv", str(file), ConvProblem.read)


def test_a_name_that_is_not_there():
    with pytest.raises(UsageError, match="did you mean vgg16"):
        suites.load("conv", "vgg61", ConvProblem.read)
