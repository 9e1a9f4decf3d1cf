"""The page of lrae-recv --webrtc: who may reach it, its headers, and a stream from end to end."""

from __future__ import annotations

import asyncio
import importlib.util
import re
import socket
from fractions import Fraction
from importlib import resources

import aiohttp
import pytest

from lrae import codec
from lrae.cli import parse_address
from lrae.codec.types import VideoFormat
from lrae.errors import ConfigError
from lrae.receiver import main as recv
from lrae.receiver.broadcast import site
from lrae.receiver.broadcast.view import WebView
from lrae.sender import main as send
from lrae.sender.source import open_source

ANY = ("127.0.0.1", 0)
SDP = {"Content-Type": "application/sdp"}


@pytest.fixture
def run():
    """run(test, token): a coroutine function that is given an HTTP client for a view's address, and the view."""

    def go(test, token=None):
        async def main():
            view = WebView(token)
            async with (
                asyncio.timeout(30),
                view.serve(ANY) as (host, port),
                aiohttp.ClientSession(f"http://{host}:{port}") as http,
            ):
                await test(http, view)

        asyncio.run(main())

    return go


def test_page_script_and_style_come_from_here_with_strict_headers(run):
    async def test(http, view):
        for path, kind in (("/", "html"), ("/static/viewer.js", "javascript"), ("/static/style.css", "css")):
            response = await http.get(path)
            assert response.status == 200 and kind in response.content_type
        policy = response.headers["Content-Security-Policy"]
        for part in ("default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'"):
            assert part in policy.split("; ")
        assert "unsafe" not in policy
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        for path in ("/static/../view.py", "/static/none.js", "/none"):
            assert (await http.get(path)).status == 404

    run(test)


def test_the_page_has_no_script_or_style_of_its_own_and_asks_no_other_host():
    page = resources.files("lrae.receiver.broadcast").joinpath("page")
    html = page.joinpath("index.html").read_text()
    assert not re.search(r"<style|style=|\son\w+=|javascript:|<script(?![^>]*src=)", html)
    for file in page.iterdir():
        assert "http://" not in file.read_text() and "https://" not in file.read_text()


def test_the_page_is_shown_to_all_but_status_and_picture_need_the_token(run):
    async def test(http, view):
        assert (await http.get("/")).status == 200
        assert (await http.get("/status")).status == 401
        assert (await http.post("/whep", data="v=0", headers=SDP)).status == 401
        authorized = {"Authorization": "Bearer secret-token"}
        assert (await http.get("/status", headers=authorized)).status == 200
        assert (await http.post("/whep", data="v=0", headers=SDP | authorized)).status == 400

    run(test, "secret-token")


def test_a_name_of_somebody_else_that_leads_here_is_refused(run):
    async def test(http, view):
        for host in ("evil.example", "evil.example:8090", "localhost.evil.example", "[nonsense", ""):
            response = await http.get("/status", headers={"Host": host})
            assert response.status in (400, 403)
        for host in ("localhost:8090", "127.0.0.1", "[::1]:8090"):
            assert (await http.get("/status", headers={"Host": host})).status == 200

    run(test)


def test_beyond_this_machine_only_with_a_token_that_is_worth_the_name():
    async def serve(address, token):
        async with WebView(token).serve(parse_address(address)):
            pass

    for address, token, says in (
        ("0.0.0.0:65000", None, "open to strangers: give --web-token"),
        ("[::]:65000", None, "open to strangers"),
        ("127.0.0.1:65000", "short", "8 to 128"),
        ("127.0.0.1:65000", "with space in it", "8 to 128"),
        ("no.such.host.invalid:65000", None, "cannot look up"),
    ):
        with pytest.raises(ConfigError, match=says) as caught:
            asyncio.run(serve(address, token))
        assert "\n" not in str(caught.value)


def test_a_port_in_use_is_one_line():
    async def serve(port):
        async with WebView(None).serve(("127.0.0.1", port)):
            pass

    with socket.socket() as taken:
        taken.bind(ANY)
        taken.listen()
        with pytest.raises(ConfigError, match="cannot listen on"):
            asyncio.run(serve(taken.getsockname()[1]))


def test_connections_are_bounded_and_the_server_lives_when_they_are_gone(run, monkeypatch):
    monkeypatch.setattr(site, "MAX_CONNECTIONS", 5)

    async def test(http, view):
        host, port = http._base_url.host, http._base_url.port
        held = [await asyncio.open_connection(host, port) for _ in range(20)]
        async with asyncio.timeout(10):
            for reader, _ in held[5:]:
                with pytest.raises((ConnectionError, EOFError)):
                    assert await reader.readexactly(1)
        for _, writer in held:
            writer.close()
        await asyncio.sleep(0.1)
        assert (await http.get("/status")).status == 200

    run(test)


def test_a_stream_reaches_a_viewer_through_the_view_in_the_streams_own_size(run, client, flat):
    async def test(http, view):
        view.describe = lambda: "frame 7"
        viewer = client()
        response = await http.post("/whep", data=await viewer.offer(), headers=SDP)
        await viewer.take(await response.text())
        for size in ((64, 48), (96, 80)):
            view.start(VideoFormat(*size, Fraction(25)))
            view.write(flat(90, 0.0, size), "info")
            async with asyncio.timeout(10):
                while (await viewer.picture()).width != size[0]:
                    pass
        status = await (await http.get("/status")).json()
        assert (status["line"], status["viewers"]) == ("frame 7", 1)
        await viewer.leave()

    run(test)


def test_what_lrae_send_sends_is_seen_by_a_viewer_of_lrae_recv(client, fake_codec, monkeypatch):
    monkeypatch.setattr(codec, "model_hash", lambda model: fake_codec.model_hash)
    monkeypatch.setattr(codec, "make_encoder", lambda model, video, *_: fake_codec(video, 6))
    monkeypatch.setattr(codec, "make_decoder", lambda model, video, *_: fake_codec(video, 6))

    async def main():
        web, udp = free(socket.SOCK_STREAM), free(socket.SOCK_DGRAM)
        receiver = recv.build_parser().parse_args(["--listen", udp, "--webrtc", web, "--once", "--quiet"])
        receiving = asyncio.create_task(recv.receive(receiver))
        await asyncio.sleep(0.3)
        viewer = client()
        async with aiohttp.ClientSession(f"http://{web}") as http:
            response = await http.post("/whep", data=await viewer.offer(), headers=SDP)
            await viewer.take(await response.text())
            options = ["--input", "synthetic:64x48@50x60", "--to", udp, "--q", "30", "--quiet"]
            sender = send.build_parser().parse_args(options)
            sending = asyncio.create_task(send.send(sender, open_source(sender.input, loop=False)))
            times = [(await viewer.picture()).pts for _ in range(10)]
            assert times == sorted(set(times))
            assert "frame" in (await (await http.get("/status")).json())["line"]
        assert await asyncio.gather(sending, receiving) == [0, 0]
        await viewer.leave()

    async def bounded():
        async with asyncio.timeout(30):
            await main()

    asyncio.run(bounded())


def free(kind):
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(ANY)
        return f"127.0.0.1:{sock.getsockname()[1]}"


def test_without_its_packages_webrtc_says_what_to_install(monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "aiortc" else find(name))
    assert recv.main(["--webrtc", "8090"]) == 1
    assert "pip install 'lrae-vc[web]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--web-token", "secret-token"], "--web-token is for --webrtc"),
        (["--webrtc", "0.0.0.0:0"], "a port is 1 to 65535"),
        (["--webrtc", "0.0.0.0:64999"], "open to strangers: give --web-token"),
        (["--webrtc", "nonsense"], "malformed address"),
    ],
)
def test_wrong_options_are_one_line(options, says, capsys):
    assert recv.main(["--listen", free(socket.SOCK_DGRAM), *options]) == 1
    told = capsys.readouterr().err
    assert says in told and told.strip().splitlines()[-1].startswith("error: ")
