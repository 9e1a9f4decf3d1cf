"""Shared by the tests of lrae-replay: matrices from a few lines, and runs that cost next to nothing."""

import pytest

from lrae.experiments.replay.matrix import load_matrix, plan

TINY = """
sequences = ["synthetic:64x48@25x8"]
codecs = ["h264"]
bitrates = ["100k"]
losses = ["none", "20%"]
rtts_ms = 40
retransmit = false
[codec_ms]
h264 = [5, 1]
"""


@pytest.fixture
def matrix_of(tmp_path):
    """matrix_of(toml="", **changes) -> Matrix. toml: instead of TINY; changes: texts in it to replace."""

    def make(toml=TINY, changes=()):
        for old, new in changes:
            assert old in toml
            toml = toml.replace(old, new)
        path = tmp_path / "matrix.toml"
        path.write_text(toml)
        return load_matrix(str(path))

    return make


@pytest.fixture
def jobs_of(matrix_of):
    """jobs_of(…) -> the runs of matrix_of(…)."""
    return lambda *args, **kwargs: plan(matrix_of(*args, **kwargs))[0]


@pytest.fixture
def tiny():
    return TINY
