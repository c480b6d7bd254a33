"""How hard Hypothesis tries: the same few examples in every run, or with HYPOTHESIS_PROFILE=long many new ones."""

import os

from hypothesis import HealthCheck, Phase, settings

UNBOTHERED = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]

settings.register_profile(
    "run",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=20,
    stateful_step_count=25,
    phases=[Phase.explicit, Phase.generate],  # what failed is made smaller only in the long profile: it takes minutes
    suppress_health_check=UNBOTHERED,
)
settings.register_profile("long", database=None, deadline=None, max_examples=1_000, suppress_health_check=UNBOTHERED)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "run"))
