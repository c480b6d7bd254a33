"""`python -m tests.screenshots`: take the README's pictures of a desk with made-up orders, on free ports.

`--all FOLDER` takes every page and state instead, at three widths, light and dark, to be looked at.
"""

import argparse
import os
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from tests.e2e.stack import BASE, Stack, Visitors, chromium, running
from tests.e2e.walk import WIDE, Look, fill, walk
from tests.servers import environment_of_the_run

expect.set_options(timeout=60_000)

README = BASE / "docs" / "screenshots"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", type=Path, metavar="FOLDER", help="every page and state, into this folder")
    folder = parser.parse_args().all
    with tempfile.TemporaryDirectory() as logs, environment_of_the_run() as found:
        os.environ |= found
        with (
            running(
                Path(logs), TEMPORAL_UI_URL="http://127.0.0.1:8233", ATTENTION_DEADLINE="25m", SECOND_FACTOR="1"
            ) as stack,
            chromium() as browser,
        ):
            fill(stack)
            if folder is None:
                take_readme(stack, browser)
            else:
                take_all(stack, browser, folder)


def live(page: Page, path: str) -> None:
    page.goto(path)
    expect(page.locator("#live-sign")).to_have_text("Live")


def take_readme(stack: Stack, browser: Browser) -> None:
    README.mkdir(parents=True, exist_ok=True)
    visitors = Visitors(browser, stack)
    size = {"width": WIDE.width, "height": WIDE.height}
    page = visitors.browser_of("alice", viewport=size, color_scheme="light").new_page()
    live(page, "/")
    page.screenshot(path=README / "queue.png")
    order = stack.hands("with_status", status="in_review")[0]
    live(page, f"/orders/{order['id']}/")
    page.screenshot(path=README / "order.png")
    visitors.leave()


def take_all(stack: Stack, browser: Browser, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    visitors = Visitors(browser, stack)

    def shoot(page: Page, name: str, look: Look) -> None:
        page.screenshot(path=folder / f"{name}-{look}.png", full_page=name.startswith("order-"), animations="disabled")

    walk(stack, visitors, shoot)
    visitors.leave()


if __name__ == "__main__":
    main()
