"""pyproject.toml installs exactly the packages that are in the tree, and every program it names exists."""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
TOP = ("lrae", "models", "channel", "codec", "sender", "receiver", "training", "experiments", "webrtc")


def in_tree():
    found = {}
    for top in TOP:
        for init in (ROOT / top).rglob("__init__.py"):
            folder = init.parent.relative_to(ROOT)
            name = ".".join(folder.parts)
            found[name if top == "lrae" else f"lrae.{name}"] = folder.as_posix()
    return found


def test_the_list_of_packages_is_the_tree():
    assert sorted(PROJECT["tool"]["setuptools"]["packages"]) == sorted(in_tree())


def test_every_package_is_mapped_to_its_folder():
    assert PROJECT["tool"]["setuptools"]["package-dir"] == in_tree()


def test_every_program_has_an_entry_point():
    for name, target in PROJECT["project"]["scripts"].items():
        module, _, function = target.partition(":")
        assert callable(getattr(importlib.import_module(module), function)), name


def test_no_package_of_the_tree_is_imported_by_its_bare_name():
    banned = PROJECT["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"]
    assert set(banned) == {top for top in TOP if top != "lrae" and (ROOT / top).is_dir()}
