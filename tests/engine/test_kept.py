"""What commands compile is kept in the user's cache folder, and only there."""

import os
import stat

import pytest

from assocmem_jax.commands import kept

PLACE = "JAX_COMPILATION_CACHE_DIR"


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A user with a cache folder of their own, who told JAX nothing."""
    for name in (
        PLACE,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES",
    ):
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def test_a_folder_of_the_users_for_this_jaxlib_and_processor(bare):
    kept.programs()
    place = os.environ[PLACE]
    assert place.startswith(str(bare / "cache" / "assocmem_jax" / "jaxlib-"))
    assert stat.S_IMODE(os.stat(place).st_mode) == 0o700


def test_what_the_user_said_stands(bare, monkeypatch):
    monkeypatch.setenv(PLACE, "elsewhere")
    kept.programs()
    assert os.environ[PLACE] == "elsewhere"
    assert not (bare / "cache").exists()


def test_without_a_place_it_compiles_as_ever(bare, monkeypatch):
    (bare / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(bare / "file"))
    kept.programs()
    assert PLACE not in os.environ


@pytest.mark.parametrize("bound", [{"_ROOM": 25}, {"_FILES": 2}])
def test_the_oldest_go(bare, monkeypatch, bound):
    for name, value in bound.items():
        monkeypatch.setattr(kept, name, value)
    kept.programs()
    place = bare / os.environ[PLACE]
    for age, name in enumerate(("new", "old", "oldest")):
        (place / name).write_bytes(bytes(10))
        os.utime(place / name, (1e9 - age, 1e9 - age))
    monkeypatch.delenv(PLACE)
    kept.programs()
    assert sorted(file.name for file in place.iterdir()) == ["new", "old"]
