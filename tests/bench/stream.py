"""Orders that come in at a rate, whatever becomes of those before.

python -m tests.bench.stream PER_SECOND    until it is ended
"""

import sys
import time

import django

django.setup()

from tests.bench.lifecycle import place  # noqa: E402


def main(per_second: float) -> None:
    began, placed = time.monotonic(), 0
    while True:
        place(1)
        placed += 1
        time.sleep(max(0.0, began + placed / per_second - time.monotonic()))


if __name__ == "__main__":
    main(float(sys.argv[1]))
