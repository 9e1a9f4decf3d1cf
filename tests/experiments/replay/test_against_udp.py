"""A run in virtual time is what the programs do over UDP, but for the timing."""

import asyncio
import socket

import pytest

from lrae.channel.config import ChannelConfig, LinkConfig
from lrae.channel.loss import parse_loss
from lrae.channel.proxy import Proxy
from lrae.codec.y4m import Y4mReader
from lrae.experiments.clips import read_clip
from lrae.experiments.metrics import mean_psnr_yuv
from lrae.experiments.stream import Network, Setup, run_stream
from lrae.receiver import main as recv
from lrae.sender import main as send
from lrae.sender.source import open_source

CLIP = "synthetic:96x64@10x24"  # 10 fps: a busy machine keeps up
RTT, DEADLINE, BITRATE = 0.04, 0.4, "60k"


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def over_udp(loss, file):
    """(frames that the programs wrote, bytes that were sent)."""
    inner, outer = free_port(), free_port()
    link = LinkConfig(loss=parse_loss(loss), delay_ms=RTT * 500)
    arguments = ["--input", CLIP, "--to", f"127.0.0.1:{outer}", "--bitrate", BITRATE, "--seed", "1", "--quiet"]
    sending = send.build_parser().parse_args(arguments)
    listening = ["--listen", f"127.0.0.1:{inner}", "--once", "--deadline", f"{DEADLINE * 1e3:g}", "--output", str(file)]
    receiving = recv.build_parser().parse_args([*listening, "--quiet"])

    async def programs():
        proxy = Proxy(ChannelConfig(link, link), ("127.0.0.1", outer), ("127.0.0.1", inner))
        proxy.open()
        try:
            async with asyncio.timeout(60), asyncio.TaskGroup() as group:
                group.create_task(recv.receive(receiving))
                group.create_task(send.send(sending, open_source(CLIP)))
        finally:
            proxy.close()
        return proxy.counts()["up"]["delivered_bytes"]

    sent = asyncio.run(programs())
    with file.open("rb") as stream:
        return list(Y4mReader(stream)), sent


@pytest.mark.parametrize("pattern", [None, "000000010000"])
def test_the_programs_over_udp_show_what_the_run_in_virtual_time_shows(pattern, tmp_path):
    loss = "none"
    if pattern:  # one that does not depend on who draws it
        (tmp_path / "lost").write_text(pattern)
        loss = f"trace:{tmp_path / 'lost'}"
    clip = read_clip(CLIP, skip_flat=False)
    shown, sent = over_udp(loss, tmp_path / "out.y4m")
    if len(shown) < len(clip.frames):
        pytest.skip("this machine is too busy for real time")
    setup = Setup(int(BITRATE[:-1]) * 1000, deadline=DEADLINE)
    virtual, outcome = run_stream(clip, setup, Network(loss, RTT))
    assert mean_psnr_yuv(clip.frames, shown) == pytest.approx(virtual.psnr_yuv, abs=0.5)
    if not pattern:
        kinds = ("data", "parity", "retransmit", "control")
        assert sent == pytest.approx(sum(outcome.sizes[kind, "bytes"] for kind in kinds), rel=0.05)
