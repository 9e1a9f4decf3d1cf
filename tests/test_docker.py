"""What docker/ starts is what the tests run: the compose file's commands, as processes on loopback."""

from __future__ import annotations

import json
import re
import time
import tomllib
from pathlib import Path

import av

from lrae.experiments.demo_programs import Programs, free_ports

ROOT = Path(__file__).parents[1]
COMPOSE = (ROOT / "docker" / "compose.yaml").read_text()
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
SECONDS = 60.0  # until the test gives up


def services() -> dict[str, str]:
    """{name: its block of the compose file}, in the order of the file."""
    _, *parts = re.split(r"^  (\w+):\n", COMPOSE.partition("\nservices:\n")[2], flags=re.M)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def commands() -> dict[str, list[str]]:
    return {name: json.loads(re.search(r"command: (\[.*\])", block)[1]) for name, block in services().items()}


def test_every_program_that_docker_names_is_a_console_script():
    named = set()
    for path in sorted((ROOT / "docker").iterdir()):
        if path.is_file():
            text = re.sub(r"#.*", "", path.read_text())
            named |= {json.loads(found)[0] for found in re.findall(r"(?:CMD|command:) (\[.*\])", text)}
    assert named == {"lrae-recv", "lrae-channel", "lrae-send", "lrae-demo"}
    assert named <= set(SCRIPTS)


def test_the_images_have_extras_that_exist_and_all_that_browsers_need():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for path in sorted((ROOT / "docker").glob("Dockerfile.*")):
        named = re.search(r"pip install .*'\.\[([\w,]+)\]'", path.read_text())[1].split(",")
        assert "web" in named
        assert set(named) <= set(extras)


def test_the_services_meet_on_a_loopback_of_their_own():
    assert list(services()) == ["receiver", "channel", "sender"]
    modes = [re.search(r'network_mode: "?([\w:]+)"?', block)[1] for block in services().values()]
    assert modes == ["none", "service:receiver", "service:receiver"]
    assert "ports:" not in COMPOSE


def test_the_commands_of_the_compose_file_bring_a_video_through_a_lossy_channel(tmp_path):
    receiver, channel = free_ports(2)
    stand_ins = {
        "8080": str(receiver),
        "127.0.0.1:8080": f"127.0.0.1:{receiver}",
        "9000": str(channel),
        "127.0.0.1:9000": f"127.0.0.1:{channel}",
        "/out/received.mp4": str(tmp_path / "received.mp4"),
        "sample": "synthetic:64x64@15x30",
    }
    used = set()
    with Programs(tmp_path) as programs:
        for name, (program, *arguments) in commands().items():
            used |= set(arguments) & set(stand_ins)
            module, _ = SCRIPTS[program].split(":")
            programs.start(name, module, *(stand_ins.get(word, word) for word in arguments))
        until = time.monotonic() + SECONDS
        while not programs.done("sender"):
            assert not programs.done("channel") and time.monotonic() < until
            time.sleep(0.1)
        programs.finish("receiver", 20.0)
        programs.finish("channel", 0.0)
    assert used == set(stand_ins)
    with av.open(str(tmp_path / "received.mp4")) as video:
        frames = list(video.decode(video=0))
    assert len(frames) >= 5
    assert {(frame.width, frame.height) for frame in frames} == {(64, 64)}
