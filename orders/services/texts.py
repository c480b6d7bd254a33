"""What text from outside has to be like before it is kept."""

import re

MENTIONED = re.compile(r"(?<![\w.@+-])@([\w.@+-]+)")  # what a name may consist of; not the end of a mail address

# What moves a cursor or begins a line, and what turns the writing around for all that stands behind it. The marks by
# which Arabic and Hebrew are written among others turn nothing but themselves, and stay.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_BETWEEN_LINES = re.compile(r"[\n\r\t\u2028\u2029]")


def wrong_with_text(value: str, most: int) -> str:
    if len(value) > most:
        return f"is longer than {most} characters"
    try:
        value.encode()
    except UnicodeEncodeError:
        return "is not valid text"
    if _CONTROLS.search(value):
        return "contains a control character"
    return ""


def wrong_with_note(note: str) -> str:
    return wrong_with_text(_BETWEEN_LINES.sub(" ", note), 2_000)
