"""The HTTP around an offer: what is answered, and with what everything else is refused."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from lrae.receiver.broadcast import Broadcast, whep_routes
from lrae.receiver.broadcast import whep as module
from lrae.receiver.broadcast.whep import BURST, MAX_ADDRESSES, Flood

SDP = {"Content-Type": "application/sdp"}


@pytest.fixture
def run():
    """run(test, token): a coroutine function that is given an HTTP client and the Broadcast."""

    def go(test, token=None, **options):
        async def main():
            broadcast = Broadcast((64, 48), 50.0, **options)
            app = web.Application()
            app.add_routes(whep_routes(broadcast, token))
            try:
                async with asyncio.timeout(30), TestClient(TestServer(app)) as http:
                    await test(http, broadcast)
            finally:
                await broadcast.close()

        asyncio.run(main())

    return go


async def line(response):
    text = await response.text()
    assert text.endswith("\n") and text.count("\n") == 1
    return text


def test_post_delete_and_the_headers_of_the_standard(run, client, feeding):
    async def test(http, broadcast):
        async with feeding(broadcast):
            viewer = client()
            response = await http.post("/whep", data=await viewer.offer(), headers=SDP)
            assert response.status == 201
            assert response.content_type == "application/sdp"
            location = response.headers["Location"]
            assert location.startswith("/whep/")
            await viewer.take(await response.text())
            assert len({await viewer.level() for _ in range(5)}) > 2
            assert (await http.get(location)).status == 405
            assert (await http.patch(location)).status == 405
            assert (await http.delete(location)).status == 200
            assert (await http.delete(location)).status == 404
            assert broadcast.stats()["viewers"] == 0
            await viewer.leave()

    run(test)


def test_options_name_what_is_taken(run):
    async def test(http, broadcast):
        for path in ("/whep", "/whep/x"):
            response = await http.options(path)
            assert response.status == 204
            assert response.headers["Accept-Post"] == "application/sdp"
            assert "Access-Control-Allow-Origin" not in response.headers

    run(test)


@pytest.mark.parametrize(
    ("data", "headers", "status"),
    [
        (b"v=0\r\n", SDP, 400),
        (b"", SDP, 400),
        (b"\xff\xfe\x00", SDP, 400),
        (b"v=0\r\n", {"Content-Type": "text/plain"}, 415),
        (b"v=0\r\n", {"Content-Type": "nonsense"}, 415),
        (b"x" * (64 * 1024 + 1), SDP, 413),
    ],
)
def test_what_is_no_offer_is_refused_in_one_line(run, data, headers, status):
    async def test(http, broadcast):
        response = await http.post("/whep", data=data, headers=headers)
        assert response.status == status
        await line(response)
        assert broadcast.stats()["connecting"] == 0

    run(test)


def test_a_body_without_a_length_is_read_no_further_than_allowed(run):
    async def endless():
        while True:
            yield b"x" * 4096

    async def test(http, broadcast):
        try:
            response = await http.post("/whep", data=endless(), headers=SDP)
            assert response.status == 413
        except aiohttp.ClientError:  # it hung up while we were still writing
            pass

    run(test)


def test_a_body_that_does_not_come_is_not_waited_for(run, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.2)

    async def slow():
        yield b"v=0"
        await asyncio.sleep(30)

    async def test(http, broadcast):
        response = await http.post("/whep", data=slow(), headers=SDP)
        assert response.status == 408
        await line(response)

    run(test)


def test_a_flood_of_offers_is_stopped_and_the_server_lives(run, client):
    async def test(http, broadcast):
        statuses = [(await http.post("/whep", data=b"v=0", headers=SDP)).status for _ in range(3 * BURST)]
        assert statuses[:BURST] == [400] * BURST
        assert set(statuses[BURST:]) <= {400, 429} and statuses.count(429) > BURST
        assert (await http.options("/whep")).status == 204

    run(test)


def test_a_full_house_is_503_and_says_when_to_come_again(run, client):
    async def test(http, broadcast):
        one, other = client(), client()
        await broadcast.answer(await one.offer())
        response = await http.post("/whep", data=await other.offer(), headers=SDP)
        assert response.status == 503
        assert int(response.headers["Retry-After"]) > 0
        await line(response)
        await one.leave()
        await other.leave()

    run(test, max_viewers=1)


def test_without_the_token_nothing_is_answered(run):
    async def test(http, broadcast):
        for headers, query in (
            ({}, ""),
            ({"Authorization": "Bearer wrong"}, ""),
            ({"Authorization": "Basic secret-token"}, ""),
            ({}, "?token=wrong"),
            ({}, "?token=%ff"),
        ):
            response = await http.post("/whep" + query, data=b"v=0", headers=SDP | headers)
            assert response.status == 401
            assert response.headers["WWW-Authenticate"] == "Bearer"
            await line(response)
            assert (await http.delete("/whep/x" + query, headers=headers)).status == 401
        for _ in range(BURST):
            response = await http.post("/whep", data=b"v=0", headers=SDP)
        assert response.status == 429  # guessing is slow

    run(test, token="secret-token")


def test_with_the_token_offers_are_read_and_other_sites_may_look_too(run):
    async def test(http, broadcast):
        for headers, query in (({"Authorization": "Bearer secret-token"}, ""), ({}, "?token=secret-token")):
            response = await http.post(
                "/whep" + query, data=b"v=0", headers=SDP | headers | {"Origin": "https://a.example"}
            )
            assert response.status == 400
            assert response.headers["Access-Control-Allow-Origin"] == "*"
        response = await http.options("/whep")
        assert "Authorization" in response.headers["Access-Control-Allow-Headers"]

    run(test, token="secret-token")


def test_without_a_token_pages_of_other_sites_are_kept_out(run):
    async def test(http, broadcast):
        foreign = {"Origin": "https://elsewhere.example"}
        assert (await http.post("/whep", data=b"v=0", headers=SDP | foreign)).status == 403
        own = {"Origin": f"http://{http.host}:{http.port}"}
        assert (await http.post("/whep", data=b"v=0", headers=SDP | own)).status == 400

    run(test)


def test_one_address_does_not_use_up_the_offers_of_another_and_few_are_remembered():
    flood = Flood(burst=3, per_second=1.0)
    assert [flood.take("a", 0.0) for _ in range(5)] == [True, True, True, False, False]
    assert flood.take("b", 0.0)
    assert flood.take("a", 1.0) and not flood.take("a", 1.0)
    for number in range(10_000):
        flood.take(str(number), 2.0)
    assert len(flood._buckets) <= MAX_ADDRESSES
