"""One picture for many browsers: encoded once, handed out by WebRTC (needs the `web` extra)."""

from lrae.receiver.broadcast.broadcast import Broadcast
from lrae.receiver.broadcast.offer import OfferError
from lrae.receiver.broadcast.whep import whep_routes

__all__ = ["Broadcast", "OfferError", "whep_routes"]
