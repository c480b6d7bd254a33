"""The desk's static files as they are collected: without what stands in them for those who read the source."""

import re
from pathlib import PurePath

from django.core.files.base import ContentFile, File
from whitenoise.storage import CompressedManifestStaticFilesStorage

# Comments that begin a line, and how far lines of a style sheet are set in. Whatever else holds a slash stays.
FOR_READERS = {
    ".css": re.compile(rb"^ *(/\*.*?\*/\n)?", re.MULTILINE | re.DOTALL),
    ".js": re.compile(rb"^/\*.*?\*/\n|^ *//[^\n]*\n", re.MULTILINE | re.DOTALL),
}


class DeskStaticFiles(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    """Files of packages stay as they came."""

    def _save(self, name: str, content: "File[bytes]") -> str:
        path = PurePath(name)
        if path.parent == PurePath() and (for_readers := FOR_READERS.get(path.suffix)):
            content.seek(0)  # whoever named it by what it holds has read it
            content = ContentFile(for_readers.sub(b"", content.read()))
        return str(super()._save(name, content))
