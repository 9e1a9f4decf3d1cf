"""The gateway's HTTP: who gets in, what pages may say, what they are told, and cameras; with a loop without a codec."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from dataclasses import asdict
from html.parser import HTMLParser
from importlib import resources

import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("aiortc")

from aiohttp import ClientSession, WSMsgType

from lrae.receiver.broadcast.site import serve_site
from lrae.webrtc import hub as hubs
from lrae.webrtc.access import Access
from lrae.webrtc.clip import Clip
from lrae.webrtc.gateway import Gateway
from lrae.webrtc.main import main
from lrae.webrtc.server import make_app
from lrae.webrtc.situation import Situation

SIZE, TOKEN = (64, 48), "correct-horse"
PAGE = resources.files("lrae.webrtc").joinpath("page")
SDP = {"Content-Type": "application/sdp"}


class Site:
    """A server at work: loop (the fake one), gateway, and a client that asks it."""

    def __init__(self, gateway, access, client):
        self.gateway, self.access, self.client, self.loop = gateway, access, client, gateway.loop

    @contextlib.asynccontextmanager
    async def page(self, query=""):
        """A page's socket, with what it was told first as `hello`."""
        async with self.client.ws_connect(f"/ws?{query}") as socket:
            socket.hello = (await socket.receive_json(timeout=20))["hello"]
            yield socket

    async def told(self, socket, kind, true=lambda _: True):
        """The next message of that kind for which something is true."""
        async with asyncio.timeout(20):
            async for message in socket:
                said = json.loads(message.data)
                if kind in said and true(said[kind]):
                    return said[kind]


@pytest.fixture
def site(fake_loop, clip_file):
    """site(test, token): runs an async test against a server."""

    def run(test, token=None):
        async def inner():
            gateway = Gateway(lambda size, show: Clip(clip_file, size, None, show), SIZE, fake_loop)
            access = Access(token)
            try:
                app = make_app(gateway, access)
                async with (
                    serve_site(app, ("127.0.0.1", 0), token, "--token") as (host, port),
                    ClientSession(f"http://{host}:{port}") as client,
                ):
                    await test(Site(gateway, access, client))
            finally:
                await gateway.close()
            assert gateway.loop.closed and not len(gateway.hub)

        asyncio.run(inner())

    return run


class Markup(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.ids = [], set()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.ids |= {value for name, value in attributes if name == "id"}


@pytest.fixture
def markup():
    parser = Markup()
    parser.feed(PAGE.joinpath("index.html").read_text())
    return parser


def test_the_page_has_no_script_or_style_of_its_own_and_asks_nobody_else(markup):
    for tag, attributes in markup.tags:
        assert tag != "style" and "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        assert tag != "script" or attributes["src"]
        for name in ("src", "href"):
            if name in attributes:
                assert PAGE.joinpath(attributes[name].removeprefix("/static/")).is_file()
    for file in PAGE.iterdir():
        text = re.sub(r'xmlns="[^"]*"', "", file.read_text())
        assert not re.search(r"(?:https?:)?//[a-z0-9]+\.[a-z]", text), file.name


def test_the_scripts_name_only_modules_and_elements_that_exist(markup):
    for file in (file for file in PAGE.iterdir() if file.name.endswith(".js")):
        text = file.read_text()
        for module in re.findall(r'from "\./([^"]+)"', text):
            assert PAGE.joinpath(module).is_file(), module
        for name in re.findall(r'(?:\$|getElementById|put|pair)\("([a-z0-9_-]+)"', text):
            assert name in markup.ids, f"{file.name}: {name}"


def test_every_control_has_a_label(markup):
    labelled = {attributes.get("for") for tag, attributes in markup.tags if tag == "label"}
    for tag, attributes in markup.tags:
        if tag in ("input", "select") and attributes.get("type") != "checkbox":
            assert attributes["id"] in labelled


def test_page_and_assets_come_with_strict_headers_and_nothing_else_is_served(site):
    async def test(site):
        for path in ("/", "/static/main.js", "/static/nothing.js"):
            answer = await site.client.get(path)
            assert answer.status == (404 if "nothing" in path else 200)
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
            assert "unsafe" not in answer.headers["Content-Security-Policy"]
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
        for path in ("/static/../main.py", "/static/%2e%2e%2fmain.py", "/static/", "/etc/passwd"):
            assert (await site.client.get(path)).status == 404

    site(test)


def test_other_sites_and_other_names_for_this_machine_are_refused(site):
    async def test(site):
        assert (await site.client.get("/", headers={"Host": "rebound.example"})).status == 403
        for path in ("/ws", "/access", "/"):
            foreign = {"Origin": "https://elsewhere.example"}
            assert (await site.client.get(path, headers=foreign)).status == 403
        assert (await site.client.post("/whep", data="", headers=SDP | {"Origin": "null"})).status == 403

    site(test)


def test_without_the_token_there_is_only_the_page(site):
    async def test(site):
        assert (await site.client.get("/")).status == 200
        for query in ("", "?token=wrong-horse"):
            assert (await site.client.get(f"/access{query}")).status == 401
            assert (await site.client.get(f"/ws{query}")).status == 401
            assert (await site.client.post(f"/whep{query}", data="v=0", headers=SDP)).status == 401
            assert (await site.client.post(f"/camera{query}", data="v=0", headers=SDP)).status == 401
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        assert await (await site.client.get("/access", headers=bearer)).json() == {"role": "control"}
        guesses = [await site.client.get(f"/access?token=guess-{n}") for n in range(12)]
        assert guesses[-1].status == 429 and guesses[-1].headers["Retry-After"]

    site(test, TOKEN)


def test_the_view_token_and_view_pages_watch_but_do_not_control(site):
    async def test(site):
        view = f"token={site.access.view_token}"
        for query in (view, f"view=1&token={TOKEN}"):
            assert await (await site.client.get(f"/access?{query}")).json() == {"role": "view"}
            assert (await site.client.post(f"/camera?{query}", data="v=0", headers=SDP)).status == 403
            async with site.page(query) as page:
                assert page.hello["role"] == "view"
                await page.send_json({"drop": 1.0})
                assert "watch" in await site.told(page, "error")
                assert await site.told(page, "stats")
        assert not site.loop.drops

    site(test, TOKEN)


def test_what_one_page_sets_acts_and_every_page_is_told(site):
    async def test(site):
        async with site.page() as one, site.page() as two:
            assert one.hello["situation"] == asdict(Situation())
            assert one.hello["presets"]["tunnel"]["burst"] > 1
            await one.send_json({"set": {"loss": 0.3, "imputer": False}})
            seen = await site.told(two, "stats", lambda s: s["situation"]["loss"] == 0.3)
            assert site.loop.situation == Situation(loss=0.3, imputer=False)
            assert seen["situation"]["imputer"] is False
            await one.send_json({"drop": 0.5})
            await site.told(two, "stats", lambda s: s["state"]["lrae"] == "extrapolated")
            assert site.loop.drops == [0.5]

    site(test)


NONSENSE = (
    "{",
    "[]",
    "[" * 2000,
    '{"set": {"loss": 7}}',
    '{"set": {"loss": NaN}}',
    '{"set": {"los": 0.1}}',
    '{"set": 3}',
    '{"drop": "long"}',
    '{"drop": 1e9}',
    '{"drop": true}',
    '{"source": "elsewhere"}',
    '{"source": "camera"}',
    '{"steal": 1}',
)


def test_a_message_that_makes_no_sense_is_answered_in_one_line_and_changes_nothing(site):
    async def test(site):
        async with site.page() as page:
            for text in NONSENSE:
                await page.send_str(text)
                error = await site.told(page, "error")
                assert error and "\n" not in error
            await page.send_json({"set": {"loss": 0.5}})  # the page is still heard
            await site.told(page, "stats", lambda s: s["situation"]["loss"] == 0.5)
        assert not site.loop.drops

    site(test)


def test_a_page_that_says_too_much_is_closed_and_others_go_on(site):
    async def test(site):
        async with site.page() as good:
            for flood in (["x" * 5000], ['{"set": {}}'] * 200, [b"\x00" * 10]):
                async with site.page() as bad:
                    with contextlib.suppress(ConnectionError):
                        for text in flood:
                            await (bad.send_bytes if isinstance(text, bytes) else bad.send_str)(text)
                    async with asyncio.timeout(20):
                        while (await bad.receive()).type is WSMsgType.TEXT:
                            pass
                assert await site.told(good, "stats")

    site(test)


def test_only_so_many_pages_fit(site, monkeypatch):
    monkeypatch.setattr(hubs, "MAX_PAGES", 2)

    async def test(site):
        async with site.page(), site.page():
            answer = await site.client.get("/ws", headers={"Upgrade": "websocket", "Connection": "Upgrade"})
            assert answer.status == 503 and answer.headers["Retry-After"]

    site(test)


def test_statistics_come_at_most_15_times_a_second_and_no_frame_is_left_out():
    page = hubs.Page(None, "view")
    said = []
    page.say = said.append
    hub = hubs.Hub(dict, print)
    hub._pages["page"] = page
    for number in range(300):  # ten seconds
        hub.publish({"frame": number, "packets": {"lrae": [0, 3], "h264": [1]}, "psnr": float("inf")}, number / 30)
    stats = [json.loads(text)["stats"] for text in said]
    assert 120 <= len(stats) <= 151
    frames = [entry[0] for s in stats for entry in s["recent"]]
    assert frames == list(range(frames[-1] + 1)) and frames[-1] >= 297
    assert stats[0]["recent"][0] == [0, [0, 3], [1]] and stats[0]["psnr"] is None


def test_a_page_that_takes_nothing_keeps_only_the_newest():
    page = hubs.Page(None, "view")
    for number in range(100):
        page.say(str(number))
    assert list(page._waiting) == ["97", "98", "99"]


def test_nothing_plays_while_nobody_is_there(site, monkeypatch):
    monkeypatch.setattr("lrae.webrtc.gateway.IDLE", 0.1)
    monkeypatch.setattr("lrae.webrtc.gateway.WATCH", 0.05)

    async def test(site):
        await asyncio.sleep(0.3)
        assert site.loop.number == 0
        async with site.page() as page:
            await site.told(page, "stats")
        async with asyncio.timeout(20):
            before = -1
            while site.loop.number != before:
                before = site.loop.number
                await asyncio.sleep(0.5)

    site(test)


def test_the_gateway_leaves_no_thread_behind(site):
    before = set(threading.enumerate())

    async def test(site):
        async with site.page() as page:
            await site.told(page, "stats")

    site(test)
    assert not [t for t in set(threading.enumerate()) - before if t.is_alive() and not t.name.startswith("asyncio")]


def test_lrae_webrtc_refuses_in_one_line_what_cannot_be(capsys):
    for arguments in (["--size", "63x48"], ["--size", "huge"], ["--listen", "x y"], ["--fps", "fast"],
                      ["--input", "/nowhere.mp4"], ["--listen", "0.0.0.0:8090"], ["--listen", "[::]:8090"],
                      ["--token", "short"], ["--token", "with space in it"], ["--model", "nope"]):  # fmt: skip
        assert main(arguments) == 1
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1


def test_the_program_serves_its_page_and_leaves_when_told():
    code = "import sys; from lrae.webrtc.main import main; sys.exit(main())"
    arguments = ["--listen", "0", "--input", "synthetic:96x64@10x10", "--size", "96x64"]
    program = subprocess.Popen([sys.executable, "-P", "-c", code, *arguments], stderr=subprocess.PIPE, text=True)
    try:
        told = program.stderr.readline()
        address = re.fullmatch(r"open (http://localhost:[0-9]+/)\n", told)[1]
        with urllib.request.urlopen(address, timeout=30) as answer:
            assert answer.status == 200 and b"<title>LRAE-VC" in answer.read()
        program.send_signal(signal.SIGINT)
        assert program.wait(60) == 0
        assert program.stderr.read() == ""
    finally:
        program.kill()
        program.wait()
