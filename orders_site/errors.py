"""What is shown with DEBUG on, where errors show their traceback."""

from django.db import OperationalError
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django.views.debug import ExceptionReporter


class Reporter(ExceptionReporter):
    """A database that is away is no mistake in the code: it gets the page that operators would see."""

    def get_traceback_html(self) -> SafeString:
        if isinstance(self.exc_value, OperationalError):
            return render_to_string("500.html")
        return super().get_traceback_html()
