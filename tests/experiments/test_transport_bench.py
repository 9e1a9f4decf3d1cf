"""lrae-bench wire and soak: what they write, and that sessions leave nothing behind."""

import json

import pytest

from lrae.experiments import bench, soak


def test_wire_writes_its_documented_keys(tmp_path, capsys):
    out = tmp_path / "wire.json"
    assert bench.main(["wire", "--frames", "40", "--json", str(out)]) == 0
    result = json.loads(out.read_text())
    assert set(result["us_per_packet"]) == {"no key", "key"}
    for row in result["us_per_packet"].values():
        assert set(row) == {"seal", "open_parse", "sender", "receiver"} and all(us > 0 for us in row.values())
    assert set(result["virtual_session"]) == {"no loss", "10 % lost"}
    assert all(speed > 0 for speed in result["virtual_session"].values())
    told = capsys.readouterr().out
    assert "Microseconds" in told and "× real time" in told


@pytest.mark.parametrize("secret", [True, False])
def test_a_short_soak_ends_all_its_streams_and_closes_its_files(secret):
    before = soak.usage()["files"]
    result = soak.measure(0.1, 3.0, secret)
    assert result["streams"]["begun"] >= result["streams"]["clean"] > 0
    assert result["frames"]["whole"] > 0 and result["sent"]["data_packets"] > 0 and result["key"] is secret
    assert set(result["heap_mb"]) == {"start", "end", "max"} and len(result["samples"]) > 0
    if before is not None:
        assert result["files"]["max"] <= result["files"]["start"] + 1  # a sample may fall between two senders
        assert soak.usage()["files"] == before


def test_the_fast_loop_keeps_its_own_time():
    import asyncio
    import time

    async def nap():
        loop = asyncio.get_running_loop()
        start, real = loop.time(), time.monotonic()
        await asyncio.sleep(1.0)
        return loop.time() - start, time.monotonic() - real

    with asyncio.Runner(loop_factory=lambda: soak.FastLoop(20.0)) as runner:
        fast, real = runner.run(nap())
    assert fast >= 0.99 and real < fast
