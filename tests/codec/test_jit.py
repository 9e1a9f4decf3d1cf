"""Compiled code is kept, but not beyond a change of the sources that it was made of."""

from __future__ import annotations

import importlib.util

import pytest

from lrae.codec import jit


@pytest.fixture
def compiled(tmp_path):
    """make(): a fresh kernel of the same file, called once."""
    (tmp_path / "one.py").write_text("from lrae.codec.jit import kernel\n\n@kernel\ndef more(x):\n    return x + 1\n")

    def make():
        spec = importlib.util.spec_from_file_location("one", tmp_path / "one.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        assert module.more(1) == 2
        return module.more.stats

    return make


def test_a_second_start_finds_what_the_first_one_compiled(compiled):
    assert sum(compiled().cache_misses.values()) == 1
    assert sum(compiled().cache_hits.values()) == 1


def test_a_change_anywhere_in_the_codec_compiles_anew(compiled, monkeypatch):
    compiled()
    monkeypatch.setattr(jit, "SOURCES", "other")
    assert sum(compiled().cache_misses.values()) == 1
