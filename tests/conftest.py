"""Float64, every annotation of the package checked at run time, and compiled programs kept on disk."""

import gc
import os
from importlib import metadata
from pathlib import Path

# Most of the time of a test is compilation: programs are kept from one run to the next. As variables
# of the environment, for the processes that tests start; before JAX and equinox, which read them once.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".jax_cache"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
# The checks inside diffrax and optimistix are host callbacks, with which no program can be kept: here
# what fails a check is NaN, and fails the comparison. Tests of the raise itself ask for it (on_error).
os.environ.setdefault("EQX_ON_ERROR", "nan")
# XLA's older way to write loops compiles in two thirds of the time and runs as fast. XLA_FLAGS that are set,
# empty too, stand (`make wheel` has what users have). A jaxlib that does not know a flag ends the process: so
# this is for those that do.
if metadata.version("jaxlib").startswith("0.10."):
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false")

import jax
import pytest
from hypothesis import HealthCheck, settings
from jaxtyping import install_import_hook

jax.config.update("jax_enable_x64", True)

with install_import_hook("assocmem_jax", "beartype.beartype"):
    import assocmem_jax.dynamics
    import assocmem_jax.theory  # noqa: F401
    from assocmem_jax.dynamics import programs

settings.register_profile(
    "ci", deadline=None, max_examples=25, derandomize=True, suppress_health_check=list(HealthCheck)
)
settings.load_profile("ci")


def pytest_addoption(parser):
    parser.addoption("--once", action="store_true", help="of every test its first case only")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    """Every test is there, on an installation that is looked at once more; cases have been run elsewhere."""
    if config.getoption("once"):
        first = {item.nodeid.partition("[")[0]: item for item in reversed(items)}
        items[:] = reversed(first.values())


# Traced programs are millions of objects that live as long as the process. Looking at them again and again
# is a quarter of the time of the tests: what a module leaves is looked at once.
gc.set_threshold(100_000, 20, 100)


@pytest.fixture(autouse=True, scope="module")
def settled():
    yield
    programs.bounded(look=True)
    gc.collect()
    gc.freeze()


@pytest.fixture
def float32():
    jax.config.update("jax_enable_x64", False)
    yield
    jax.config.update("jax_enable_x64", True)


@pytest.fixture(params=["float64", "float32"])
def rounding(request):
    """ε of each precision in turn, which is then that of JAX."""
    jax.config.update("jax_enable_x64", request.param == "float64")
    yield float(jax.numpy.finfo(request.param).eps)
    jax.config.update("jax_enable_x64", True)


@pytest.fixture
def uncached(monkeypatch):
    """Processes that are killed leave nothing half written in the cache, and take as long every time."""
    monkeypatch.setenv("JAX_ENABLE_COMPILATION_CACHE", "false")
