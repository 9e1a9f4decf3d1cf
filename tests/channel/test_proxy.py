"""The proxy and its program over real loopback sockets; ports are chosen by the system."""

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys

import pytest
import uvloop

from lrae.channel.config import ChannelConfig, LinkConfig
from lrae.channel.link import LinkCounts
from lrae.channel.loss import Bernoulli
from lrae.channel.loss_trace import LossTrace
from lrae.channel.main import main, status_line, summary
from lrae.channel.proxy import Proxy
from lrae.errors import ConfigError

PATIENCE = 20.0  # seconds until a test gives up; never reached where all is well


class Peer:
    """A UDP socket that awaits datagrams."""

    def __init__(self, host="127.0.0.1"):
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.socket.setblocking(False)
        self.socket.bind((host, 0))
        self.address = self.socket.getsockname()[:2]

    async def receive(self):
        for _ in range(int(PATIENCE / 0.002)):  # uvloop has no sock_recvfrom
            try:
                return self.socket.recvfrom(65536)
            except BlockingIOError:
                await asyncio.sleep(0.002)
        raise AssertionError("nothing arrived")

    def send(self, data, address):
        self.socket.sendto(data, address)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


def on_loop(test):
    """Runs an async test on uvloop, as the program does."""

    def run():
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(asyncio.wait_for(test(), 2 * PATIENCE))

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


async def until(condition):
    for _ in range(int(PATIENCE / 0.005)):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("nothing happened")


@on_loop
async def test_datagrams_travel_both_ways_and_each_client_gets_its_own_answers():
    config = ChannelConfig(LinkConfig(delay_ms=5), LinkConfig(delay_ms=3))
    with Peer() as target, Peer() as one, Peer() as two:
        proxy = Proxy(config, ("127.0.0.1", 0), target.address)
        listen = proxy.open()
        try:
            for client, text in ((one, b"one"), (two, b"two")):
                client.send(text, listen)
            for _ in range(2):
                data, address = await target.receive()
                target.send(b"to " + data, address)
            assert await one.receive() == (b"to one", listen)
            assert await two.receive() == (b"to two", listen)
            counts = proxy.counts()
            assert (counts["clients"], counts["served"], counts["send_errors"]) == (2, 2, 0)
            for direction in ("up", "down"):
                assert (counts[direction]["sent"], counts[direction]["delivered"]) == (2, 2)
        finally:
            proxy.close()
        assert proxy.counts()["up"]["delivered"] == 2


@on_loop
async def test_the_links_decide_what_is_lost_in_each_direction():
    up, down = LinkConfig(loss=LossTrace(b"\x00\x01")), LinkConfig(loss=Bernoulli(1.0))
    with Peer() as target, Peer() as client:
        proxy = Proxy(ChannelConfig(up, down), ("127.0.0.1", 0), target.address)
        listen = proxy.open()
        try:
            for i in range(10):
                client.send(bytes([i]), listen)
            received = [await target.receive() for _ in range(5)]
            assert [data for data, _ in received] == [bytes([i]) for i in (0, 2, 4, 6, 8)]
            target.send(b"answer", received[0][1])
            await until(lambda: proxy.counts()["down"]["lost"] == 1)
        finally:
            proxy.close()


@on_loop
async def test_a_burst_of_a_large_frame_survives_a_perfect_channel():
    with Peer() as target, Peer() as client:
        proxy = Proxy(ChannelConfig(LinkConfig(delay_ms=2), LinkConfig()), ("127.0.0.1", 0), target.address)
        listen = proxy.open()
        try:
            for i in range(300):
                client.send(i.to_bytes(2, "big") + bytes(1198), listen)
            numbers = [int.from_bytes((await target.receive())[0][:2], "big") for _ in range(300)]
            assert numbers == list(range(300))
        finally:
            proxy.close()


@on_loop
async def test_the_client_silent_for_longest_makes_room_and_its_counts_stay():
    with Peer() as target, Peer() as a, Peer() as b, Peer() as c:
        proxy = Proxy(ChannelConfig(), ("127.0.0.1", 0), target.address, max_clients=2)
        listen = proxy.open()
        try:
            for client, text in ((a, b"a"), (b, b"b"), (a, b"a"), (c, b"c")):
                client.send(text, listen)
                await target.receive()
            counts = proxy.counts()
            assert (counts["clients"], counts["served"], counts["up"]["delivered"]) == (2, 3, 4)
            a.send(b"a", listen)  # was not the one to go
            await target.receive()
            assert proxy.counts()["served"] == 3
        finally:
            proxy.close()


@on_loop
async def test_a_target_that_starts_later_is_reached():
    with Peer() as target:
        address = target.address
    with Peer() as client:
        proxy = Proxy(ChannelConfig(), ("127.0.0.1", 0), address)
        listen = proxy.open()
        try:
            for _ in range(3):
                client.send(b"early", listen)
                await asyncio.sleep(0.01)
            late = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            late.setblocking(False)
            late.bind(address)
            with late:
                client.send(b"late", listen)
                data = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(late, 100), PATIENCE)
                assert data == b"late"
        finally:
            proxy.close()


@on_loop
async def test_ipv6_loopback_works():
    try:
        target = Peer("::1")
    except OSError:
        pytest.skip("no IPv6 here")
    with target, Peer("::1") as client:
        proxy = Proxy(ChannelConfig(), ("::1", 0), target.address)
        client.send(b"six", proxy.open())
        try:
            assert (await target.receive())[0] == b"six"
        finally:
            proxy.close()


@on_loop
async def test_addresses_that_cannot_work_are_config_errors():
    with Peer() as busy:
        with pytest.raises(ConfigError, match=r"cannot listen on 127\.0\.0\.1:.*already in use"):
            Proxy(ChannelConfig(), busy.address, ("127.0.0.1", 9)).open()
        free = busy.address
    with pytest.raises(ConfigError, match="the proxy itself listens there"):
        Proxy(ChannelConfig(), free, free).open()
    with pytest.raises(ConfigError, match=r"cannot look up a\.\.b: not a host name"):
        Proxy(ChannelConfig(), ("127.0.0.1", 0), ("a..b", 9)).open()


def run_program(*words):
    command = [sys.executable, "-m", "lrae.channel.main", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_program_forwards_and_ends_with_a_summary_on_a_signal(tmp_path, number):
    stats = tmp_path / "stats.jsonl"
    with Peer() as target, Peer() as client:
        target.socket.settimeout(PATIENCE)
        forward = f"127.0.0.1:{target.address[1]}"
        program = run_program("--listen", "127.0.0.1:0", "--forward", forward, "--delay", "1", "--stats", str(stats))
        try:
            port = int(re.search(r"127\.0\.0\.1:(\d+) -> ", program.stderr.readline())[1])
            client.send(b"hello", ("127.0.0.1", port))
            assert target.socket.recv(100) == b"hello"
            program.send_signal(number)
            out, err = program.communicate(timeout=PATIENCE)
        finally:
            program.kill()
            program.wait()
    assert program.returncode == 0, err
    assert "forward: 1 sent, 0 lost (0.0 %), 1 delivered" in out
    last = json.loads(stats.read_text().splitlines()[-1])
    assert (last["event"], last["up"]["delivered"], last["down"]["sent"]) == ("channel-summary", 1, 0)


def test_the_program_ends_after_its_duration_and_says_nothing_if_quiet(capfd):
    assert main(["--listen", "127.0.0.1:0", "--forward", "9", "--duration", "0.05", "--quiet"]) == 0
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "the following arguments are required"),
        (("--listen", "x", "--forward", "1"), "malformed address 'x'"),
        (("--listen", "127.0.0.1:0", "--forward", "::1"), r"an IPv6 address is written \[::1\]:PORT"),
        (("--listen", "127.0.0.1:0", "--forward", "9", "--loss", "trace:/nonexistent"), "cannot read trace"),
        (("--listen", "127.0.0.1:0", "--forward", "9", "--stats", "/nonexistent/f"), "cannot write /nonexist"),
        (("--listen", "127.0.0.1:0", "--forward", "9", "--duration", "-1"), "--duration -1"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_1(capsys, words, message):
    assert main(list(words)) == 1
    *_, line = capsys.readouterr().err.splitlines()
    assert re.match(f"error: .*{message}", line)


def test_a_port_in_use_is_one_line_and_exit_code_1(capsys):
    with Peer() as busy:
        assert main(["--listen", str(busy.address[1]), "--forward", "9"]) == 1
    assert capsys.readouterr().err == f"error: cannot listen on 127.0.0.1:{busy.address[1]}: Address already in use\n"


def test_a_bad_trace_names_file_and_line(capsys, tmp_path):
    trace = tmp_path / "bad.down"
    trace.write_text("1\ntwo\n")
    assert main(["--listen", "127.0.0.1:0", "--forward", "9", "--rate", f"mahimahi:{trace}"]) == 1
    assert capsys.readouterr().err == f"error: {trace}, line 2: 'two' is not a whole number of milliseconds\n"


def test_status_and_summary_say_what_became_of_the_datagrams():
    none = vars(LinkCounts()) | {"in_flight": 0}
    up = vars(LinkCounts(sent=10, lost=2, queue_dropped=1, delivered=6, delivered_bytes=1000)) | {"in_flight": 1}
    before = {"clients": 1, "served": 1, "send_errors": 0, "up": none, "down": none}
    now = before | {"up": up, "send_errors": 3}
    assert status_line(now, before, 2.0) == (
        "1 client | forward 10 sent, 2 lost (20.0 %), 4 kbit/s | back 0 sent, 0 lost, 0 kbit/s"
    )
    assert summary(now, 2.0).splitlines() == [
        "1 client in 2.0 s",
        "forward: 10 sent, 2 lost (20.0 %), 6 delivered, 1 queue dropped, 1 in flight",
        "back: 0 sent, 0 lost, 0 delivered",
        "3 datagrams could not be sent on",
    ]
