"""The real programs over a real network: two namespaces, a veth pair, and what tc or lrae-channel does to it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
from contextlib import ExitStack, contextmanager

import pytest

from lrae import codec
from lrae.codec.wire.keys import write_key
from lrae.receiver import main as recv
from lrae.sender import main as send
from lrae.sender.source import open_source

HERE, THERE, PORT = "10.231.77.1", "10.231.77.2", 8080
FRAMES = 45
BAD_LINK = {
    "everything": "delay 20ms 4ms loss 5% duplicate 2% corrupt 1% reorder 5% 25%",
    "rate": "delay 10ms rate 1mbit limit 60",
}
BAD_CHANNEL = "--loss 0.1 --delay 20 --jitter 3 --reorder 0.05 --duplicate 0.1 --corrupt 0.05"


def command(*words, **options):
    return subprocess.run(words, capture_output=True, text=True, timeout=20, **options)


@contextmanager
def namespaces():
    """Names of two namespaces with a cable between `near` in the one (HERE) and `far` in the other (THERE)."""
    one, other = (f"lrae-{os.getpid()}-{side}" for side in ("near", "far"))
    with ExitStack() as stack:
        for name in (one, other):
            if command("ip", "netns", "add", name).returncode:
                pytest.skip("network namespaces are not allowed here")
            stack.callback(command, "ip", "netns", "del", name)
        steps = [
            f"ip -n {one} link add near type veth peer name far netns {other}",
            f"ip -n {one} address add {HERE}/24 dev near",
            f"ip -n {other} address add {THERE}/24 dev far",
            *(f"ip -n {name} link set {device} up" for name, device in ((one, "near"), (other, "far"))),
            *(f"ip -n {name} link set lo up" for name in (one, other)),
        ]
        for step in steps:
            done = command(*step.split())
            if done.returncode:
                pytest.skip(f"veth pairs are not allowed here: {done.stderr.strip()}")
        yield one, other


@pytest.fixture(scope="module")
def network():
    if sys.platform != "linux" or not (shutil.which("ip") and shutil.which("tc")):
        pytest.skip("needs Linux with ip and tc")
    with namespaces() as names:
        yield names


@contextmanager
def queue(namespace, device, *discipline):
    """tc at work on what leaves a device."""
    done = command("ip", "netns", "exec", namespace, "tc", "qdisc", "add", "dev", device, "root", *discipline)
    if done.returncode:
        pytest.skip(f"this kernel has no {discipline[0]}: {done.stderr.strip()}")
    try:
        yield
    finally:
        command("ip", "netns", "exec", namespace, "tc", "qdisc", "del", "dev", device, "root")


def start(stack, namespace, program, *arguments):
    """A program of the package in a namespace; it ends with the stack at the latest."""
    code = f"import sys; from lrae.{program} import main; sys.exit(main())"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        ["ip", "netns", "exec", namespace, sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
    )  # fmt: skip
    stack.enter_context(process)
    stack.callback(process.kill)
    return process


def stream(network, tmp_path, *options, channel=(), to=(THERE, PORT)):
    """Sends FRAMES frames from the one namespace to the other; (sender's lines, receiver's lines) of statistics."""
    near, far = network
    key, sent, shown = tmp_path / "key", tmp_path / "sent.jsonl", tmp_path / "shown.jsonl"
    write_key(key)
    with ExitStack() as stack:
        listen = f"{THERE}:{PORT}"
        receiver = start(
            stack, far, "receiver.main", "--listen", listen, "--once", "--key", str(key), "--stats", str(shown)
        )
        if channel:
            start(stack, near, "channel.main", "--listen", f"127.0.0.1:{PORT}", "--forward", listen, *channel)
        source = f"synthetic:128x96@30x{FRAMES}"
        sender = start(
            stack, near, "sender.main", "--input", source, "--to", "{}:{}".format(*to), "--key", str(key),
            "--stats", str(sent), "--packets", "4", *options,
        )  # fmt: skip
        said = [process.communicate(timeout=60)[0] for process in (sender, receiver)]
        assert [sender.returncode, receiver.returncode] == [0, 0], said
    return tuple([json.loads(line) for line in path.read_text().splitlines()] for path in (sent, shown))


def assert_went_well(sent, shown):
    """The stream ended properly, nearly every frame was shown, and most of them with something of their own in them."""
    end, received = sent[-1], shown[-1]
    assert end["event"] == "sender-summary" and received["event"] == "receiver-summary"
    assert end["confirmed"] and received["clean"]
    assert received["frames"] >= 0.9 * end["frames"] and end["frames"] + end["dropped"] + end["skipped"] == FRAMES
    assert received["lost"] <= 0.25 * received["frames"]


@pytest.mark.parametrize("impairment", BAD_LINK)
def test_a_stream_crosses_what_netem_does_to_a_link(network, tmp_path, impairment):
    with ExitStack() as stack:
        for namespace, device in zip(network, ("near", "far"), strict=True):
            stack.enter_context(queue(namespace, device, "netem", *BAD_LINK[impairment].split()))
        assert_went_well(*stream(network, tmp_path))


def test_a_stream_crosses_a_slow_link_and_keeps_to_its_rate(network, tmp_path):
    slow = "tbf", "rate", "400kbit", "burst", "3000", "latency", "100ms"
    with queue(network[0], "near", *slow):
        sent, shown = stream(network, tmp_path, "--bitrate", "200k")
    assert_went_well(sent, shown)


def test_a_stream_crosses_a_cable_behind_a_bad_channel(network, tmp_path):
    sent, shown = stream(network, tmp_path, channel=BAD_CHANNEL.split(), to=("127.0.0.1", PORT))
    assert_went_well(sent, shown)
    assert {"key", "replayed"} <= set(shown[-1]["reasons"]), "damaged and doubled datagrams, by reason"


# a NAT that rebinds, in this process: the sender's datagrams come from another port all of a sudden


class Rebinding(asyncio.DatagramProtocol):
    """A relay on loopback whose outer port may change."""

    def __init__(self, target):
        self.target, self.client, self.outer = target, None, None

    async def open(self):
        loop = asyncio.get_running_loop()
        self.inner, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        await self.rebind()
        return self.inner.get_extra_info("sockname")

    async def rebind(self):
        if self.outer:
            self.outer.close()

        class Outer(asyncio.DatagramProtocol):
            def datagram_received(_, data, address):
                if self.client:
                    self.inner.sendto(data, self.client)

        loop = asyncio.get_running_loop()
        self.outer, _ = await loop.create_datagram_endpoint(Outer, remote_addr=self.target)

    def datagram_received(self, data, address):
        self.client = address
        self.outer.sendto(data)

    def close(self):
        self.inner.close()
        self.outer.close()


@pytest.mark.parametrize("secret", [True, False], ids=["key", "no-key"])
def test_a_stream_goes_on_when_a_nat_gives_its_sender_another_port(tmp_path, monkeypatch, fake_codec, secret):
    monkeypatch.setattr(codec, "model_hash", lambda model: fake_codec.model_hash)
    monkeypatch.setattr(codec, "make_encoder", lambda model, video, *_: fake_codec(video, 6))
    monkeypatch.setattr(codec, "make_decoder", lambda model, video, *_: fake_codec(video, 6))
    key, shown = tmp_path / "key", tmp_path / "shown.jsonl"
    write_key(key)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        target = probe.getsockname()
    keyed = ["--key", str(key)] if secret else []
    source = "synthetic:64x48@30x105"

    async def run():
        options = ["--listen", f"127.0.0.1:{target[1]}", "--quiet", "--stats", str(shown), *keyed]
        receiver = asyncio.create_task(recv.receive(recv.build_parser().parse_args(options)))
        relay = Rebinding(target)
        host, port = await relay.open()
        options = ["--input", source, "--to", f"{host}:{port}", "--q", "30", "--quiet", *keyed]
        args = send.build_parser().parse_args(options)
        try:
            async with asyncio.timeout(20):
                sender = asyncio.create_task(send.send(args, open_source(args.input)))
                await asyncio.sleep(1.0)
                await relay.rebind()
                assert await sender == 0
                while '"clean": true' not in shown.read_text():
                    await asyncio.sleep(0.05)
        finally:
            relay.close()
            receiver.cancel()
            await asyncio.gather(receiver, return_exceptions=True)

    asyncio.run(run())
    lines = [json.loads(line) for line in shown.read_text().splitlines()]
    numbers = [line["number"] for line in lines if line["event"] == "shown"]
    ends = [line for line in lines if line["event"] == "receiver-summary"]
    assert numbers[-1] >= 100 and ends[-1]["clean"]
    if secret:  # nobody noticed
        assert len(ends) == 1 and len(numbers) >= 90
    else:  # the sender asked after a second of silence, and took up its stream from the new address
        assert len(ends) == 2 and len(numbers) >= 40
