"""The command lines are frozen: a change of any option shows as a change in tests/golden/.

After a change that is meant: `LRAE_WRITE_GOLDEN=1 pytest tests/test_cli_frozen.py`, and look at the difference.
"""

from __future__ import annotations

import argparse
import importlib
import os
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden"
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]


def describe(parser, prog):
    """One line per option: names, metavar or choices, how often, default."""
    yield f"{prog}"
    below = []
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction):
            continue
        if isinstance(action, argparse._SubParsersAction):
            below = list(action.choices.items())
            continue
        parts = [", ".join(action.option_strings) or action.dest]
        if action.choices:
            parts.append("|".join(map(str, action.choices)))
        elif action.nargs != 0:
            parts.append(action.metavar or action.dest.upper())
        if action.nargs not in (None, 0):
            parts.append(f"nargs={action.nargs}")
        if isinstance(action, argparse._AppendAction):
            parts.append("repeatable")
        parts.append("required" if action.required else f"default {action.default}")
        yield "    " + "  ".join(map(str, parts))
    for name, sub in below:
        yield from describe(sub, f"{prog} {name}")


@pytest.mark.parametrize("program", SCRIPTS)
def test_no_option_of_a_program_has_changed(program):
    parser = importlib.import_module(SCRIPTS[program].partition(":")[0]).build_parser()
    assert parser.prog == program
    now = "\n".join(describe(parser, program)) + "\n"
    golden = GOLDEN / f"{program}.txt"
    if os.environ.get("LRAE_WRITE_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(now)
    assert now == golden.read_text()
