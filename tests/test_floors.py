"""Each floor of the house imports only lower ones; the wire, the channel and the floor of settings know no torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = {  # the longest prefix counts
    "lrae": 0,
    "lrae.codec.types": 0.5,  # the vocabulary of everything above
    "lrae.models": 1,
    "lrae.channel": 1,
    "lrae.codec.wire": 1,
    "lrae.codec.fec": 1.5,  # makes and reads the wire's parity
    "lrae.codec": 2,
    "lrae.sender": 3,
    "lrae.receiver": 3,
    "lrae.experiments.metrics": 3,
    "lrae.webrtc": 3.5,  # lrae-bench measures it
    "lrae.experiments": 4,
    "lrae.training": 5,  # validates with the measures of experiments
}
FOLDERS = ("models", "channel", "codec", "sender", "receiver", "training", "experiments", "webrtc")
FREE_OF_TORCH = ("lrae", "lrae.channel", "lrae.codec.types", "lrae.codec.wire", "lrae.codec.fec")
ALLOWED_BELOW = {"numpy", "rich", "uvloop"}  # floor 0 and the vocabulary, beside the standard library


def files():
    for folder in ("lrae", *FOLDERS):
        yield from sorted((ROOT / folder).rglob("*.py"))


def module_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    return ".".join(parts if parts[0] == "lrae" else ("lrae", *parts))


def home(module):
    """The entry of FLOORS that a module belongs to."""
    return max((p for p in FLOORS if module == p or module.startswith(p + ".")), key=len)


def imports(path):
    """Modules that a file imports, also inside functions; `from a import b` names a.b where that is a module."""
    known = {module_of(p) for p in files()}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in known else node.module


@pytest.mark.parametrize("path", list(files()), ids=module_of)
def test_a_module_imports_only_lower_floors_and_its_own_folder(path):
    module = module_of(path)
    own = home(module)
    for name in imports(path):
        if name.split(".")[0] != "lrae":
            continue
        other = home(name)
        assert other == own or FLOORS[other] < FLOORS[own], f"{module} must not import {name}"


@pytest.mark.parametrize("path", [p for p in files() if home(module_of(p)) in ("lrae", "lrae.codec.types")])
def test_the_ground_floor_needs_little_beyond_the_standard_library(path):
    outside = {n.split(".")[0] for n in imports(path)} - set(sys.stdlib_module_names) - {"lrae"}
    assert outside <= ALLOWED_BELOW


def test_wire_channel_and_settings_load_without_torch():
    modules = sorted(module_of(p) for p in files() if home(module_of(p)) in FREE_OF_TORCH)
    code = f"import importlib, sys\nfor m in {modules!r}: importlib.import_module(m)\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
