"""`make chaos` in short: the same processes, the same strikes, the same judge."""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.chaos.desk import ROOT
from tests.chaos.strikes import KINDS, schedule

pytestmark = pytest.mark.timeout(600)


def test_nothing_is_lost_and_nothing_is_doubled(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos", "--seed=57", "--seconds=28", "--strikes=8", "--rate=1.5"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"seed 57: 42 orders, [78] of [78] strikes struck, calm after \d+ s, 0 violations$", done.stdout)


def test_a_seed_strikes_the_same_way_again_and_another_one_does_not() -> None:
    first, again, other = (schedule(seed, seconds=600, many=70) for seed in (1, 1, 2))

    assert first == again
    assert first != other


def test_all_kinds_strike_before_any_comes_again_and_in_time() -> None:
    strikes = schedule(3, seconds=600, many=3 * len(KINDS))

    kinds = Counter(f"{strike.kind} {'at a place' if strike.place else strike.target}" for strike in strikes)
    assert kinds["kill -9 PostgreSQL"] == kinds["kill -9 Temporal"] == kinds["take every connection"] == 3
    assert kinds["kill -9 at a place"] == 12
    assert [strike.at for strike in strikes] == sorted(strike.at for strike in strikes)
    assert strikes[0].at > 0
    assert strikes[-1].at < 600
