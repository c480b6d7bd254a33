"""What text from outside has to be like before it is kept."""

import re

MENTIONED = re.compile(r"(?<![\w.@+-])@([\w.@+-]+)")  # what a name may consist of; not the end of a mail address


def wrong_with_text(value: str, most: int) -> str:
    if len(value) > most:
        return f"is longer than {most} characters"
    try:
        value.encode()
    except UnicodeEncodeError:
        return "is not valid text"
    if any(ord(character) < 32 or ord(character) == 127 for character in value):
        return "contains a control character"
    return ""


def wrong_with_note(note: str) -> str:
    return wrong_with_text(note.replace("\n", " ").replace("\r", " ").replace("\t", " "), 2_000)
