"""codec/warm: after it no frame waits for a compiler."""

from __future__ import annotations

import importlib
import pkgutil

from numba.core.dispatcher import Dispatcher

import lrae.codec
from lrae.codec import make_decoder, make_encoder, warm
from lrae.codec.types import LAYOUTS, EncodeHints
from lrae.sender.source import open_source


def kernels() -> dict[str, Dispatcher]:
    """All that is compiled on its own, by name."""
    found = {}
    for module in pkgutil.iter_modules(lrae.codec.__path__, "lrae.codec."):
        if not module.ispkg:
            for name, value in vars(importlib.import_module(module.name)).items():
                if isinstance(value, Dispatcher) and value.targetoptions.get("inline", "never") == "never":
                    found[f"{value.py_func.__module__}.{name}"] = value
    return found


def compiled() -> dict[str, int]:
    return {name: len(kernel.signatures) for name, kernel in kernels().items()}


def live(size: str) -> None:
    """A stream of another size than the warm-up's, whole and damaged, of arrays that may not be written."""
    source = open_source(f"synthetic:{size}@30x4")
    encoder, decoder = make_encoder("m", source.format), make_decoder("m", source.format)
    state, shown = encoder.initial_state(), decoder.initial_state()
    for number, frame in enumerate(source):
        for plane in (frame.y, frame.u, frame.v):
            plane.flags.writeable = False
        for layout in range(len(LAYOUTS)):
            refresh = frozenset({0}) if number == 2 else frozenset()
            hints = EncodeHints(number == 0, 2, layout, max_payload=9000, loss=0.2, refresh=refresh)
            encoded, after = encoder.encode(state, frame, number, 40, hints)
            encoder.worth(encoded, state, after)
            received = {index: encoded.payloads[index] for index in range(1 + number % 2)}
            _, next_shown = decoder.decode(shown, encoded.header, received)
        state, shown = after, next_shown


def test_no_kernel_is_compiled_in_a_stream():
    warm.warm_up.cache_clear()
    make_encoder("m", open_source("synthetic:64x64@30x1").format)
    before = compiled()
    assert any(before.values())
    for size in ("192x128", "200x120"):
        live(size)
    assert compiled() == before


def test_who_waits_long_is_told_why_and_others_are_not(monkeypatch, capsys):
    for patience, told in ((1000.0, False), (0.0, True)):
        warm.warm_up.cache_clear()
        monkeypatch.setattr(warm, "PATIENCE", patience)
        warm.main()
        assert (warm.NOTICE in capsys.readouterr().err) == told
