"""`minicnn gradcheck --kinks N`: random networks at and near their kinks raise no false alarm."""

from __future__ import annotations

import argparse

from minicnn.cli.progress import progress
from minicnn.errors import UsageError

MOST_UNDECIDED = 0.05  # of the directions


def run(options: argparse.Namespace) -> int:
    """Check the networks; return 0 if none is called wrong and few directions stay open."""
    from minicnn.testing.kinks import check_networks

    if options.kinks < 1:
        raise UsageError(f"--kinks takes how many networks to check, at least 1: {options.kinks}")
    first = options.seed
    with progress(options.kinks, "network") as (_, tick):
        tally = check_networks(range(first, first + options.kinks), tick)
    print(
        f"{options.kinks} networks with inputs at and near kinks, all of them right: "
        f"{tally.passed} pass, {len(tally.failed)} false alarms, "
        f"{len(tally.inconclusive)} inconclusive"
    )
    print(f"{tally.undecided} of {tally.directions} directions undecided ({tally.share:.2%})")
    for seed in tally.failed:
        print(f"  false alarm: repeat with --kinks 1 --seed {seed}")
    return 1 if tally.failed or tally.share > MOST_UNDECIDED else 0
