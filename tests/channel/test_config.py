"""Presets, user-made presets, and the options that programs share."""

import argparse
from dataclasses import replace

import pytest

from lrae.channel.config import ChannelConfig, LinkConfig, load_preset, preset_names
from lrae.channel.loss import Bernoulli, parse_loss
from lrae.channel.options import add_channel_options, channel_config
from lrae.channel.rate import FixedRate
from lrae.errors import ConfigError, TraceError


def options(*words):
    parser = argparse.ArgumentParser()
    add_channel_options(parser)
    return channel_config(parser.parse_args(words))


def test_every_shipped_preset_loads_and_describes_itself():
    assert {"clean", "cafe-wifi", "lte", "tunnel"} <= set(preset_names())
    for name in preset_names():
        preset = load_preset(name)
        assert "loss" in str(preset.up) and preset.up.delay_ms > 0 and preset.down.delay_ms > 0


def test_down_starts_from_up(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('[up]\nloss = "20%"\ndelay_ms = 7\nrate = 500\n[down]\ndelay_ms = 9.5\n')
    up = LinkConfig(loss=Bernoulli(0.2), rate=FixedRate(500), delay_ms=7)
    assert load_preset(str(file)) == ChannelConfig(up, replace(up, delay_ms=9.5))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[up]\nspeed = 3\n", r"\[up\]: unknown key 'speed'"),
        ('[down]\ndelay_ms = "3"\n', r"\[down\]: delay_ms = '3' has the wrong type"),
        ("[up]\nqueue_bytes = 1.5\n", "wrong type"),
        ("[up]\ncorrupt = true\n", "wrong type"),
        ("[up]\nloss = []\n", "wrong type"),
        ("[up]\nloss = 3\n", "not between 0 and 1"),
        ("[sideways]\n", "only the tables"),
        ("up = 3\n", "only the tables"),
        ("[up\n", "preset"),
    ],
)
def test_bad_presets_are_config_errors(tmp_path, content, message):
    file = tmp_path / "bad.toml"
    file.write_text(content)
    with pytest.raises(ConfigError, match=message):
        load_preset(str(file))


def test_an_unknown_preset_names_the_known_ones(tmp_path):
    with pytest.raises(ConfigError, match="cafe-wifi"):
        load_preset("moon")
    with pytest.raises(ConfigError, match="cannot read preset"):
        load_preset(str(tmp_path / "no.toml"))


def test_an_option_holds_for_both_directions_unless_the_way_back_has_its_own():
    config = options("--loss", "0.2", "--delay", "40", "--down-delay", "10", "--queue", "50", "--jitter", "2")
    assert config.up == LinkConfig(Bernoulli(0.2), delay_ms=40, jitter_ms=2, queue_bytes=50)
    assert config.down == LinkConfig(Bernoulli(0.2), delay_ms=10, jitter_ms=2, queue_bytes=50)


def test_options_override_the_preset_in_both_directions():
    config = options("--preset", "lte", "--loss", "ge:tambur", "--down-rate", "unlimited")
    preset = load_preset("lte")
    assert config.up.loss == config.down.loss == parse_loss("ge:tambur")
    assert config.up.rate == preset.up.rate != config.down.rate
    assert config.down.delay_ms == preset.down.delay_ms


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--delay", "x"), "--delay 'x' is not a number"),
        (("--down-queue", "1.5"), "--down-queue '1.5' is not a whole number"),
        (("--duplicate", "3"), "--duplicate 3 is not between 0 and 1"),
        (("--rate", "trace:/nonexistent"), "cannot read trace /nonexistent"),
    ],
)
def test_wrong_options_are_named(words, message):
    with pytest.raises((ConfigError, TraceError), match=message):
        options(*words)
