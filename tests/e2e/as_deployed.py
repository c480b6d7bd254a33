"""Settings of a desk that sends its files as they are collected, into a folder of the test's own."""

import os
from pathlib import Path

from tests.e2e.settings import *  # noqa: F403

STATIC_ROOT = Path(os.environ["COLLECTED"])
