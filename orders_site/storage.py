"""The desk's static files as they are collected: without what stands in them for those who read the source."""

from pathlib import PurePath

from django.core.files.base import ContentFile, File
from rcssmin import cssmin
from rjsmin import jsmin
from whitenoise.storage import CompressedManifestStaticFilesStorage

LEAN = {".css": cssmin, ".js": jsmin}


class DeskStaticFiles(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    """Named by their content and compressed. Files of packages stay as they came."""

    def _save(self, name: str, content: "File[bytes]") -> str:
        path = PurePath(name)
        if path.parent == PurePath() and path.suffix in LEAN:
            content.seek(0)  # whoever named it by what it holds has read it
            content = ContentFile(LEAN[path.suffix](content.read()))
        return str(super()._save(name, content))
