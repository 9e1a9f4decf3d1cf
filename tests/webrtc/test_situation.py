"""Situations: whatever a URL or a page says is a valid one or one line of complaint."""

from __future__ import annotations

from dataclasses import asdict
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrae.codec.types import LAYOUTS
from lrae.errors import ConfigError
from lrae.webrtc.situation import FEC, LIMITS, PRESETS, TRACES, Situation, parse

situations = st.builds(
    Situation,
    loss=st.floats(*LIMITS["loss"]),
    burst=st.floats(*LIMITS["burst"]),
    delay_ms=st.floats(*LIMITS["delay_ms"]),
    bitrate_kbps=st.integers(*LIMITS["bitrate_kbps"]),
    fec=st.sampled_from(FEC),
    imputer=st.booleans(),
    resync=st.booleans(),
    layout=st.sampled_from(LAYOUTS),
    paused=st.booleans(),
    trace=st.sampled_from(TRACES),
)


@given(situations)
def test_a_situation_survives_its_url_and_its_json(situation):
    assert parse(dict(parse_qsl(situation.to_query()))) == situation
    assert parse(asdict(situation)) == situation


@given(st.dictionaries(st.sampled_from(list(asdict(Situation()))) | st.text(), st.text() | st.floats() | st.none()))
def test_nonsense_is_a_config_error(mapping):
    try:
        assert isinstance(parse(mapping), Situation)
    except ConfigError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    "mapping",
    [
        {"loss": "1.1"},
        {"loss": "nan"},
        {"loss": True},
        {"burst": 0},
        {"delay_ms": -1},
        {"bitrate_kbps": 10**400},
        {"fec": "much"},
        {"layout": 3},
        {"paused": "perhaps"},
        {"trace": "../secret"},
        {"colour": "red"},
    ],
)
def test_each_field_is_checked(mapping):
    with pytest.raises(ConfigError):
        parse(mapping)


def test_every_preset_has_a_link_and_they_differ():
    assert len({preset.to_query() for preset in PRESETS.values()}) == len(PRESETS) == 5
