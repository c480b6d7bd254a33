"""What production serves of the style sheet and the scripts is less, and says the same."""

import re

import pytest
from playwright.sync_api import Browser

from orders_site.storage import LEAN
from tests.e2e.stack import BASE

RULES = """(text) => {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(text);
  return [...sheet.cssRules].map((rule) => rule.cssText);
}"""


@pytest.fixture(autouse=True)
def _an_empty_queue() -> None:
    """Not here: no desk is asked."""


@pytest.mark.parametrize("name", ["desk.css", "records.css"])
def test_a_browser_reads_the_same_rules(chromium_browser: Browser, name: str) -> None:
    written = (BASE / "static" / name).read_text()
    page = chromium_browser.new_page()

    rules, lean = (page.evaluate(RULES, text) for text in (written, LEAN[".css"](written)))

    assert rules
    assert [without_blanks(rule) for rule in lean] == [without_blanks(rule) for rule in rules]
    page.close()


@pytest.mark.parametrize("name", ["desk.js", "live.js"])
def test_a_browser_can_read_the_scripts(chromium_browser: Browser, name: str) -> None:
    written = (BASE / "static" / name).read_text()
    lean = LEAN[".js"](written)
    page = chromium_browser.new_page()

    page.evaluate("(text) => new Function(text) && null", lean)

    assert len(lean) < len(written) * 0.8
    page.close()


def without_blanks(rule: str) -> str:
    """Of those that separate nothing: between a selector and a pseudo-class a blank does."""
    return re.sub(r" *([,(){};]) *", r"\1", re.sub(r"\s+", " ", rule))
