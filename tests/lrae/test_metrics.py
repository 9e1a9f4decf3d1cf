"""lrae/metrics: the names are frozen, the text is Prometheus', the server bears with anybody."""

import asyncio
import contextlib
import re
import socket
from pathlib import Path

import pytest

from lrae import codec
from lrae import metrics as module
from lrae.errors import ConfigError
from lrae.metrics import MAX_CONNECTIONS, MAX_REQUEST, MAX_SERIES, METRICS, LastMinute, Metrics, serve
from lrae.receiver import main as recv
from lrae.sender import main as send
from lrae.sender.source import open_source

# whoever changes a line here changes other people's dashboards
FROZEN = """
lrae_info gauge version
lrae_sender_connected gauge
lrae_sender_packets_total counter kind data parity retransmit control
lrae_sender_bytes_total counter kind data parity retransmit control
lrae_sender_frames_total counter fate sent skipped dropped
lrae_sender_replayed_frames_total counter
lrae_sender_drops_total counter reason
lrae_sender_rtt_seconds gauge
lrae_sender_loss_ratio gauge
lrae_sender_rate_bits_per_second gauge
lrae_sender_target_bits_per_second gauge
lrae_sender_q gauge
lrae_sender_queue_packets gauge
lrae_sender_queue_seconds gauge
lrae_sender_fec_overhead_ratio gauge
lrae_sender_encode_seconds gauge quantile 0.5 0.95
lrae_receiver_streaming gauge
lrae_receiver_streams_total counter
lrae_receiver_packets_total counter kind received recovered
lrae_receiver_bytes_total counter
lrae_receiver_sent_packets_total counter kind feedback control
lrae_receiver_sent_bytes_total counter kind feedback control
lrae_receiver_frames_total counter fate whole partial lost
lrae_receiver_late_packets_total counter
lrae_receiver_drops_total counter reason
lrae_receiver_q gauge
lrae_receiver_delay_seconds gauge quantile 0.5 0.95
lrae_receiver_decode_seconds gauge quantile 0.5 0.95
"""


def test_names_types_and_labels_are_frozen():
    lines = [
        " ".join([name, m.type, *([m.label] if m.label else []), *(m.values if name != "lrae_info" else ())])
        for name, m in METRICS.items()
    ]
    assert lines == FROZEN.split("\n")[1:-1]


def test_names_follow_prometheus_rules_and_are_all_documented():
    document = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    for name, metric in METRICS.items():
        assert re.fullmatch(r"lrae(_[a-z]+)+", name) and metric.help.endswith((".", "63.", "limit."))
        assert name.endswith("_total") == (metric.type == "counter")
        assert f"`{name}`" in document and metric.help in document
        for value in (metric.label, *metric.values) if metric.label and name != "lrae_info" else ():
            assert f"`{value}`" in document
    assert set(re.findall(r"`(lrae_[a-z_]+)`", document)) == set(METRICS)


def samples(text):
    """{'name{label="value"}': number} of a text, which must be well formed."""
    found, typed = {}, set()
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            typed.add(line.split()[2])
        elif not line.startswith("# HELP "):
            name, label, value = re.fullmatch(r'(\w+)(\{\w+="(?:[^"\\\n]|\\.)*"\})? (\S+)', line).groups()
            assert name in typed
            found[name + (label or "")] = float(value)
    return found


def test_counters_begin_at_zero_and_gauges_appear_when_they_are_known():
    m = Metrics("sender")
    found = samples(m.render())
    assert found['lrae_sender_packets_total{kind="parity"}'] == 0
    assert "lrae_sender_rtt_seconds" not in found and not any("receiver" in name for name in found)
    m.add("lrae_sender_packets_total", 3, kind="data")
    m.add("lrae_sender_packets_total", kind="data")
    m.set("lrae_sender_rtt_seconds", 0.025)
    m.set("lrae_sender_drops_total", 7, reason='a"b\\c\nd')
    found = samples(m.render())
    assert found['lrae_sender_packets_total{kind="data"}'] == 4
    assert found["lrae_sender_rtt_seconds"] == 0.025
    assert found['lrae_sender_drops_total{reason="a\\"b\\\\c\\nd"}'] == 7
    m.set("lrae_sender_rtt_seconds", None)
    assert "lrae_sender_rtt_seconds" not in samples(m.render())


def test_numbers_are_written_as_prometheus_reads_them():
    m = Metrics("sender")
    inf, nan = float("inf"), float("nan")
    for value, written in ((1e21, "1" + 21 * "0"), (0.1, "0.1"), (inf, "+Inf"), (nan, "NaN"), (-2.0, "-2")):
        m.set("lrae_sender_q", value)
        assert f"\nlrae_sender_q {written}\n" in m.render()


def test_what_is_not_in_the_table_is_refused():
    m = Metrics("receiver")
    for name, labels in (
        ("lrae_sender_q", {}),
        ("lrae_receiver_x", {}),
        ("lrae_receiver_q", {"kind": "x"}),
        ("lrae_receiver_frames_total", {}),
        ("lrae_receiver_frames_total", {"kind": "whole"}),
        ("lrae_receiver_frames_total", {"fate": "strange"}),
    ):
        with pytest.raises(ValueError):
            m.set(name, 1, **labels)


def test_series_do_not_grow_without_bound():
    m = Metrics("receiver")
    for n in range(MAX_SERIES):
        m.add("lrae_receiver_drops_total", reason=str(n))
    m.add("lrae_receiver_drops_total", reason="0")
    with pytest.raises(ValueError, match="already"):
        m.add("lrae_receiver_drops_total", reason="one more")


def test_values_are_collected_when_they_are_asked_for():
    asked = []

    def collect(m):
        asked.append(m)
        m.set("lrae_sender_q", len(asked))

    m = Metrics("sender", collect)
    assert [samples(m.render())["lrae_sender_q"] for _ in range(2)] == [1, 2]


def test_quantiles_are_of_the_last_minute():
    m, recent = Metrics("receiver"), LastMinute()
    for n in range(100):
        recent.add(float(n), now=n)
    m.set_quantiles("lrae_receiver_delay_seconds", recent, now=99)
    found = samples(m.render())
    assert found['lrae_receiver_delay_seconds{quantile="0.5"}'] == pytest.approx(69, abs=1)
    assert found['lrae_receiver_delay_seconds{quantile="0.95"}'] == pytest.approx(96, abs=1)
    m.set_quantiles("lrae_receiver_delay_seconds", recent, now=1000)
    assert not any("delay" in name for name in samples(m.render()))
    for _ in range(10_000):
        recent.add(0.0, now=2000)
    assert len(recent.values(2000)) == 8192


def ask(request, metrics=None, answers=1):
    """The answers to a request as they come over a socket."""

    async def run():
        async with serve(metrics or Metrics("sender"), "127.0.0.1", 0) as address:
            return [await one(address) for _ in range(answers)]

    async def one(address):
        reader, writer = await asyncio.open_connection(*address)
        try:
            writer.write(request)
            return await asyncio.wait_for(reader.read(), 10)
        except ConnectionError:
            return b""
        finally:
            writer.transport.abort()

    return asyncio.run(run())[-1]


def test_a_scrape_gets_the_text_with_its_type_and_length():
    head, _, body = ask(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Type: text/plain; version=0.0.4; charset=utf-8" in head
    assert f"Content-Length: {len(body)}".encode() in head
    assert samples(body.decode())["lrae_info" + f'{{version="{module.VERSION}"}}'] == 1


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /metrics?x=1 HTTP/1.0\r\n\r\n", b"200"),
        (b"GET / HTTP/1.1\r\n\r\n", b"404"),
        (b"GET /metrics/../x HTTP/1.1\r\n\r\n", b"404"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"405"),
        (b"GET /metrics\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x00\xff\r\n\r\n", b"400"),
        (b"\r\n\r\n", b"400"),
    ],
)
def test_other_requests_get_an_answer_that_says_so(request_, status):
    assert ask(request_).split()[1] == status


def test_a_request_that_is_too_long_gets_nothing():
    assert ask(b"GET /metrics HTTP/1.1\r\n" + b"X: y\r\n" * MAX_REQUEST) == b""


def test_a_slow_request_is_cut_off(monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    assert ask(b"GET /metrics HTTP/1.1\r\n") == b""


def test_a_crowd_is_turned_away_and_the_next_scrape_after_it_is_served(monkeypatch):
    async def run():
        async with serve(Metrics("sender"), "127.0.0.1", 0) as address:
            crowd = [await asyncio.open_connection(*address) for _ in range(MAX_CONNECTIONS)]
            await asyncio.sleep(0.05)
            reader, writer = await asyncio.open_connection(*address)
            with pytest.raises(ConnectionError):
                writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
                if not await asyncio.wait_for(reader.read(), 10):
                    raise ConnectionResetError
            for _, other in (*crowd, (reader, writer)):
                other.transport.abort()
            await asyncio.sleep(0.05)
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
            assert (await asyncio.wait_for(reader.read(), 10)).startswith(b"HTTP/1.1 200")
            writer.transport.abort()

    asyncio.run(run())


def test_a_server_that_ends_ends_its_connections_too():
    async def run():
        async with serve(Metrics("sender"), "127.0.0.1", 0) as address:
            reader, writer = await asyncio.open_connection(*address)
            await asyncio.sleep(0.05)
        with pytest.raises(ConnectionError):
            if not await asyncio.wait_for(reader.read(), 10):
                raise ConnectionResetError
        writer.transport.abort()
        assert len(asyncio.all_tasks()) <= 2

    asyncio.run(run())


def test_an_address_that_is_taken_or_no_address_is_a_config_error():
    async def run():
        async with serve(Metrics("sender"), "127.0.0.1", 0) as (host, port):
            for address in ((host, port), ("no.such.host.invalid", 1)):
                with pytest.raises(ConfigError, match="cannot serve metrics on") as caught:
                    async with serve(Metrics("sender"), *address):
                        pass
                assert "\n" not in str(caught.value)

    asyncio.run(run())


def free_port(kind):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_both_programs_show_what_goes_on_while_it_goes_on(monkeypatch, fake_codec):
    monkeypatch.setattr(codec, "model_hash", lambda model: fake_codec.model_hash)
    monkeypatch.setattr(codec, "make_encoder", lambda model, video, *_: fake_codec(video, 6))
    monkeypatch.setattr(codec, "make_decoder", lambda model, video, *_: fake_codec(video, 6))
    media, *ports = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_STREAM), free_port(socket.SOCK_STREAM)

    async def scrape(port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
        text = (await reader.read()).partition(b"\r\n\r\n")[2].decode()
        writer.close()
        return samples(text)

    async def run():
        quiet = ["--quiet", "--metrics"]
        listen, to = ["--listen", f"127.0.0.1:{media}", "--once"], ["--to", f"127.0.0.1:{media}"]
        receiving = recv.receive(recv.build_parser().parse_args([*listen, *quiet, f"127.0.0.1:{ports[1]}"]))
        arguments = ["--input", "synthetic:64x48@30", "--loop", "--q", "30", *to, *quiet, f"127.0.0.1:{ports[0]}"]
        args = send.build_parser().parse_args(arguments)
        tasks = [asyncio.create_task(p) for p in (receiving, send.send(args, open_source(args.input, loop=True)))]
        try:
            async with asyncio.timeout(20):
                while True:
                    await asyncio.sleep(0.1)
                    with contextlib.suppress(ConnectionError):
                        sent, shown = await scrape(ports[0]), await scrape(ports[1])
                        if shown.get('lrae_receiver_delay_seconds{quantile="0.95"}'):
                            return sent, shown
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    sent, shown = asyncio.run(run())
    assert sent["lrae_sender_connected"] == 1 and shown["lrae_receiver_streaming"] == 1
    assert shown["lrae_receiver_streams_total"] == 1
    counted = ('packets_total{kind="data"}', 'bytes_total{kind="data"}', 'frames_total{fate="sent"}')
    for name in (*counted, "q", "rtt_seconds"):
        assert sent[f"lrae_sender_{name}"] > 0, name
    for name in ('packets_total{kind="received"}', "bytes_total", 'sent_packets_total{kind="feedback"}', "q"):
        assert shown[f"lrae_receiver_{name}"] > 0, name
    assert shown['lrae_receiver_frames_total{fate="whole"}'] > 0
    named = {line.split("{")[0] for line in (*sent, *shown)}
    quiet = {"lrae_sender_drops_total", "lrae_receiver_drops_total", "lrae_sender_fec_overhead_ratio"}
    assert set(METRICS) - named <= quiet, "the programs fill every name of the table"
