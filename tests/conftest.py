"""Float64, and every annotation of the package checked at run time."""

import jax
import pytest
from hypothesis import HealthCheck, settings
from jaxtyping import install_import_hook

jax.config.update("jax_enable_x64", True)

with install_import_hook("assocmem_jax", "beartype.beartype"):
    import assocmem_jax.dynamics
    import assocmem_jax.theory  # noqa: F401

settings.register_profile(
    "ci", deadline=None, max_examples=25, derandomize=True, suppress_health_check=list(HealthCheck)
)
settings.load_profile("ci")


@pytest.fixture
def float32():
    jax.config.update("jax_enable_x64", False)
    yield
    jax.config.update("jax_enable_x64", True)
