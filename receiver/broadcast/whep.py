"""WHEP: one POST of an SDP offer starts a viewer, one DELETE ends it (draft-ietf-wish-whep, after RFC 9725)."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable

from aiohttp import web

from lrae.receiver.broadcast.broadcast import Broadcast
from lrae.receiver.broadcast.bucket import Bucket
from lrae.receiver.broadcast.offer import MAX_OFFER, OfferError

SDP = "application/sdp"
PATIENCE = 5.0  # seconds in which an offer must have arrived
BURST, PER_SECOND = 10, 1.0  # offers from one address: at once, and on average
RETRY_AFTER = "1"  # seconds
MAX_ADDRESSES = 256  # that are remembered
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Flood:
    """Too many requests from one address? A bucket for each."""

    def __init__(self, burst: float = BURST, per_second: float = PER_SECOND) -> None:
        self._burst, self._rate = burst, per_second
        self._buckets: dict[str, Bucket] = {}  # the longest unused first

    def take(self, address: str, now: float) -> bool:
        """False: one too many."""
        bucket = self._buckets.pop(address, None) or Bucket(self._burst, self._rate)
        while len(self._buckets) >= MAX_ADDRESSES:
            del self._buckets[next(iter(self._buckets))]
        self._buckets[address] = bucket
        return bucket.take(now)


def allowed(request: web.Request, token: str | None) -> bool:
    """True if no token is needed, or the request has it: `Authorization: Bearer TOKEN` or `?token=TOKEN`."""
    if token is None:
        return True
    kind, _, given = request.headers.get("Authorization", "").partition(" ")
    given = given.strip() if kind.lower() == "bearer" else request.query.get("token", "")
    return hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())


def same_origin(request: web.Request) -> bool:
    """False for a request that a page of another site has made."""
    origin = request.headers.get("Origin")
    return origin is None or origin.partition("://")[2].lower() == request.host.lower()


def refuse(status: int, text: str, **headers: str) -> web.Response:
    """A refusal in one line. headers: with _ for -."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.Response(status=status, text=text + "\n", headers=given)


def whep_routes(broadcast: Broadcast, token: str | None) -> list[web.RouteDef]:
    """POST /whep, DELETE /whep/{id} and OPTIONS for both, for an aiohttp application.

    With a token, pages of other sites may look too (CORS), since they have to know it; without one they may not.
    """
    offers, guesses = Flood(), Flood()
    crossing = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "Location"} if token else {}

    def guarded(handler: Handler) -> Handler:
        async def guard(request: web.Request) -> web.StreamResponse:
            if not allowed(request, token):
                if not guesses.take(request.remote or "", time.monotonic()):
                    return refuse(429, "too many wrong tokens", Retry_After=RETRY_AFTER)
                return refuse(401, "a token is needed: Authorization: Bearer TOKEN", WWW_Authenticate="Bearer")
            if token is None and not same_origin(request):
                return refuse(403, "pages of other sites may not look")
            response = await handler(request)
            response.headers.update(crossing)
            return response

        return guard

    async def offer(request: web.Request) -> web.StreamResponse:
        if request.content_type != SDP:
            return refuse(415, f"the offer must be {SDP}", Accept_Post=SDP)
        if not offers.take(request.remote or "", time.monotonic()):
            return refuse(429, "too many offers", Retry_After=RETRY_AFTER)
        try:
            viewer, answer = await broadcast.answer(await _body(request))
        except OfferError as error:
            headers = {"Retry_After": str(error.retry_after)} if error.retry_after else {}
            return refuse(error.status, str(error), **headers)
        location = f"{request.path.rstrip('/')}/{viewer}"
        return web.Response(status=201, text=answer, content_type=SDP, headers={"Location": location})

    async def hang_up(request: web.Request) -> web.StreamResponse:
        if not await broadcast.hang_up(request.match_info["viewer"]):
            return refuse(404, "no such viewer")
        return web.Response()

    async def options(request: web.Request) -> web.StreamResponse:
        headers = {"Accept-Post": SDP, "Allow": "POST, DELETE, OPTIONS", **crossing}
        if crossing:
            headers["Access-Control-Allow-Methods"] = "POST, DELETE"
            headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type"
        return web.Response(status=204, headers=headers)

    return [
        web.post("/whep", guarded(offer)),
        web.delete("/whep/{viewer}", guarded(hang_up)),
        web.options("/whep", options),
        web.options("/whep/{viewer}", options),
    ]


async def _body(request: web.Request) -> str:
    """The offer's text. Raises OfferError for too much, too slow or no text."""
    too_large = OfferError(f"an offer has at most {MAX_OFFER} bytes", 413)
    if (request.content_length or 0) > MAX_OFFER:
        raise too_large
    data = bytearray()
    try:
        async with asyncio.timeout(PATIENCE):
            while chunk := await request.content.readany():
                data += chunk
                if len(data) > MAX_OFFER:
                    raise too_large
    except TimeoutError:
        raise OfferError("the offer took too long to arrive", 408) from None
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise OfferError("the offer is not UTF-8 text") from None
