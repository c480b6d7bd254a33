"""The desk's static files as they are collected: without what stands in them for those who read the source."""

import re
from pathlib import PurePath

from django.core.files.base import ContentFile, File
from whitenoise.storage import CompressedManifestStaticFilesStorage

# What is left out of each kind of file, and what stands in its place.
FOR_READERS = {
    ".css": [
        (re.compile(rb"/\*.*?\*/", re.DOTALL), b""),
        (re.compile(rb"\s*([{};,])\s*"), rb"\1"),
        (re.compile(rb": "), b":"),
    ],
    ".js": [
        (re.compile(rb"^/\*.*?\*/\n", re.DOTALL), b""),
        # A comment beside code that holds a quote stays: what looks like one may be a part of a text.
        (re.compile(rb"^ *//[^\n]*$| +//[^\n`\"']*$", re.MULTILINE), b""),
        (re.compile(rb"\n\s+"), b"\n"),
    ],
}


class DeskStaticFiles(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    """Files of packages stay as they came."""

    def _save(self, name: str, content: "File[bytes]") -> str:
        path = PurePath(name)
        if path.parent == PurePath() and path.suffix in FOR_READERS:
            content.seek(0)  # whoever named it by what it holds has read it
            lean = content.read()
            for pattern, instead in FOR_READERS[path.suffix]:
                lean = pattern.sub(instead, lean)
            content = ContentFile(lean)
        return str(super()._save(name, content))
