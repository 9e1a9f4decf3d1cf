"""lrae-send and lrae-recv over real UDP on loopback, with the small exact codec: what a user sees of them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket

import pytest

from lrae import codec
from lrae.codec.y4m import Y4mReader
from lrae.errors import ConfigError, LraeError, ModelError, SinkError, SourceError
from lrae.receiver import main as recv
from lrae.sender import main as send
from lrae.sender.source import open_source
from lrae.stats import KEYS


@pytest.fixture
def address():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{sock.getsockname()[1]}"


@pytest.fixture(autouse=True)
def small_codec(monkeypatch, fake_codec):
    monkeypatch.setattr(codec, "model_hash", lambda model: fake_codec.model_hash)
    monkeypatch.setattr(codec, "make_encoder", lambda model, video, *_: fake_codec(video, 6))
    monkeypatch.setattr(codec, "make_decoder", lambda model, video, *_: fake_codec(video, 6))


def sender(address, *options, source="synthetic:64x48@100x20"):
    args = send.build_parser().parse_args(["--input", source, "--to", address, "--q", "30", *options])
    send.check_numbers(args)
    return send.send(args, open_source(args.input, loop=args.loop))


def receiver(address, *options):
    return recv.receive(recv.build_parser().parse_args(["--listen", address, "--once", *options]))


async def together(*programs, first=0.0):
    """Exit codes or errors of programs of which the first has a start."""
    tasks = []
    for program in programs:
        tasks.append(asyncio.create_task(program))
        await asyncio.sleep(first)
    async with asyncio.timeout(20):
        results = await asyncio.gather(*tasks, return_exceptions=True)
    return [bare(r) for r in results]


def bare(result):
    while isinstance(result, BaseExceptionGroup):
        result = result.exceptions[0]
    return result


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("receiver_first", [True, False])
def test_every_frame_arrives_in_the_file_whoever_starts_first(address, tmp_path, receiver_first):
    out = tmp_path / "out.y4m"
    programs = [receiver(address, "--output", str(out)), sender(address, "--fast")]
    if not receiver_first:
        programs.reverse()
    assert asyncio.run(together(*programs, first=0.2)) == [0, 0]
    sent = list(open_source("synthetic:64x48@100x20"))
    with out.open("rb") as stream:
        got = list(Y4mReader(stream))
    assert len(got) == 20
    assert all((a.y == b.y).all() for a, b in zip(sent, got, strict=True))


def test_in_real_time_every_frame_that_was_sent_is_shown(address, tmp_path):
    stats = tmp_path / "send.jsonl"
    outcome = asyncio.run(together(receiver(address, "--output", str(tmp_path / "x.mp4")), sender(
        address, "--stats", str(stats), source="synthetic:64x48@30x15"
    )))  # fmt: skip
    assert outcome == [0, 0]
    summary = rows(stats)[-1]
    assert summary["frames"] + summary["dropped"] == 15


def test_statistics_have_exactly_the_documented_keys_in_order(address, tmp_path):
    a, b = tmp_path / "send.jsonl", tmp_path / "recv.jsonl"
    programs = receiver(address, "--stats", str(b)), sender(address, "--stats", str(a), "--fast")
    assert asyncio.run(together(*programs)) == [0, 0]
    lines = rows(a) + rows(b)
    assert [r["event"] for r in lines] == ["sent"] * 20 + ["sender-summary"] + ["shown"] * 20 + ["receiver-summary"]
    assert all(tuple(r) == ("event", *KEYS[r["event"]]) for r in lines)
    assert lines[20]["confirmed"] is True and lines[-1]["clean"] is True
    frames = sum(r["bytes"] for r in lines[:20])
    assert frames < lines[20]["bytes"] < frames + 1000, "the rest is the handshake"


def test_the_receiver_conceals_as_the_sender_says(address, monkeypatch, fake_codec):
    told = []

    def make(model, video, device, impute):
        told.append(impute)
        return fake_codec(video)

    monkeypatch.setattr(codec, "make_encoder", make)
    monkeypatch.setattr(codec, "make_decoder", make)
    assert asyncio.run(together(receiver(address), sender(address, "--fast", "--impute", "zero"))) == [0, 0]
    assert told == ["zero", "zero"]


def test_one_port_serves_one_receiver(address):
    async def both():
        first = asyncio.create_task(receiver(address))
        await asyncio.sleep(0.2)
        second = (await asyncio.gather(receiver(address), return_exceptions=True))[0]
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        return second

    error = bare(asyncio.run(both()))
    assert isinstance(error, ConfigError) and "Address already in use" in str(error)


def test_other_weights_are_refused_with_a_line_on_both_sides(address, monkeypatch, fake_codec, capsys):
    class Other(fake_codec):
        model_hash = "f" * 16

    monkeypatch.setattr(codec, "make_decoder", lambda model, video, *_: Other(video))
    got, sent = asyncio.run(together(receiver(address), sender(address)))
    assert got == 1
    assert isinstance(sent, LraeError) and "weights of 'm' differ" in str(sent)
    assert "weights of 'm' differ" in capsys.readouterr().err


def test_an_unknown_model_is_refused(address, monkeypatch):
    def missing(model, *_):
        raise ModelError(f"unknown model {model!r}")

    monkeypatch.setattr(codec, "make_decoder", missing)
    assert "unknown model 'm'" in str(asyncio.run(together(receiver(address), sender(address)))[1])


def test_an_output_that_fails_ends_the_receiver_with_an_error_and_tells_the_sender(address, monkeypatch):
    from lrae.receiver.sink import NullSink

    written = []

    def write(self, frame, info=""):
        written.append(frame)
        if len(written) == 5:
            raise SinkError("disk full")

    monkeypatch.setattr(NullSink, "write", write)
    got, sent = asyncio.run(together(receiver(address), sender(address)))
    assert isinstance(got, SinkError) and str(got) == "disk full"
    assert "disk full" in str(sent)


def test_a_source_that_breaks_ends_the_stream_properly_with_an_error(address, monkeypatch):
    from lrae.sender.source import Source

    read = Source.__next__

    def broken(self, count=[0]):  # noqa: B006
        count[0] += 1
        if count[0] > 10:
            raise SourceError("the input broke")
        return read(self)

    monkeypatch.setattr(Source, "__next__", broken)
    got, sent = asyncio.run(together(receiver(address), sender(address)))
    assert got == 0
    assert isinstance(sent, SourceError)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_receiver_cleanly_and_the_sender_is_told(address, tmp_path, number):
    out = tmp_path / "out.y4m"

    async def run():
        sending = asyncio.create_task(sender(address, "--loop"))
        await asyncio.sleep(0.1)
        receiving = asyncio.create_task(receiver(address, "--output", str(out)))
        await asyncio.sleep(0.5)
        os.kill(os.getpid(), number)
        async with asyncio.timeout(10):
            return await asyncio.gather(receiving, sending, return_exceptions=True)

    got, sent = asyncio.run(run())
    assert got == 0
    assert "stopped" in str(bare(sent))
    with out.open("rb") as stream:
        assert len(list(Y4mReader(stream))) > 5


def test_a_signal_ends_the_sender_cleanly_and_the_receiver_too(address):
    async def run():
        receiving = asyncio.create_task(receiver(address))
        await asyncio.sleep(0.1)
        sending = asyncio.create_task(sender(address, "--loop"))
        await asyncio.sleep(0.5)
        os.kill(os.getpid(), signal.SIGINT)
        async with asyncio.timeout(10):
            return await asyncio.gather(receiving, sending, return_exceptions=True)

    assert asyncio.run(run()) == [1, 0], "a stream that was cut short is not a success for a receiver told --once"


@pytest.mark.parametrize(
    ("program", "argv", "text"),
    [
        (send, ["--input", "/no/such/file.mp4"], "/no/such/file.mp4"),
        (send, ["--input", "sample", "--q", "64"], "--q 64"),
        (send, ["--input", "sample", "--q", "1", "--bitrate", "1M"], "exclude"),
        (send, ["--input", "sample", "--bitrate", "fast"], "bitrate 'fast'"),
        (send, ["--input", "sample", "--packets", "65"], "--packets 65"),
        (send, ["--input", "sample", "--size", "big"], "size 'big'"),
        (send, ["--input", "synthetic:", "--to", "nowhere"], "malformed address"),
        (send, ["--input", "synthetic:", "--to", "a..b:80"], "cannot look up a..b: not a host name"),
        (send, [], "--input"),
        (recv, ["--deadline", "nan"], "--deadline nan"),
        (recv, ["--output", "film.gif"], "film.gif"),
        (recv, ["--listen", "99999"], "malformed address"),
        (recv, ["--listen", "127.0.0.1:38461", "--stats", "/no/such/dir/x.jsonl"], "/no/such/dir/x.jsonl"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_one(program, argv, text, capsys):
    assert program.main(argv) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ") and text in error


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_statistics_that_cannot_be_written_end_either_program_with_an_error_and_the_peer_knows(address):
    got, sent = asyncio.run(together(receiver(address, "--stats", "/dev/full"), sender(address, "--loop")))
    assert isinstance(got, SinkError) and "No space left" in str(got)
    assert "No space left" in str(sent)
    got, sent = asyncio.run(together(receiver(address), sender(address, "--stats", "/dev/full")))
    assert isinstance(sent, SinkError) and "No space left" in str(sent)
    assert got == 0


def test_bursts_of_whole_frames_of_64_packets_all_arrive(address, tmp_path):
    stats = tmp_path / "recv.jsonl"
    sending = sender(address, "--fast", "--packets", "64", source="synthetic:128x96@100x20")
    assert asyncio.run(together(receiver(address, "--stats", str(stats)), sending)) == [0, 0]
    summary = rows(stats)[-1]
    assert (summary["frames"], summary["packets"], summary["partial"]) == (20, 20 * 64, 0)
