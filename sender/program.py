"""What lrae-send does while it runs: source -> encoder thread -> session -> socket, and what it reports."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor

from lrae.codec.types import EncodedFrame, Frame
from lrae.console import Display
from lrae.errors import LraeError
from lrae.metrics import LastMinute, Metrics
from lrae.sender.encoding import FrameEncoder
from lrae.sender.events import Connected, Disconnected, Ended, Notice, Refused
from lrae.sender.reading import FrameReader
from lrae.sender.session import SenderSession
from lrae.sender.source import Source
from lrae.stats import StatsFile
from lrae.udp import SessionPort, on_signal

WINDOW = 12  # unconfirmed frames that a sender without a clock of its own allows
WINDOW_PATIENCE = 0.5  # seconds
RATE_OVER = 6  # status lines over which rates are averaged


class Program:
    """One sending run. paced: frames go at their own pace."""

    def __init__(
        self,
        session: SenderSession,
        encoder: FrameEncoder,
        source: Source,
        paced: bool,
        display: Display,
        stats: StatsFile,
        peer: str,
    ) -> None:
        self._session, self._encoder, self._source = session, encoder, source
        self._paced, self._display, self._stats, self._peer = paced, display, stats, peer
        self._loop = asyncio.get_running_loop()
        self._unix = time.time() - self._loop.time()
        self._reader = FrameReader(source, paced, source.live)
        self._port = SessionPort(session, self._on_change)
        self._changed = asyncio.Event()
        self._worker = ThreadPoolExecutor(1, "encoder")
        self._connected_once = self._stopped = False
        self._refused: str | None = None
        self._failed: LraeError | None = None
        self._ended: Ended | None = None
        self._frames = self._intra = self._dropped = self._q = 0
        self._first = self._last = 0.0
        self._recent_encode = LastMinute()

    async def run(self, sock: socket.socket) -> int:
        """Until the source, the user or the receiver ends it; returns the exit code. Raises LraeError."""
        on_signal(self._stop)
        try:
            await self._port.open(sock)
            async with asyncio.TaskGroup() as group:
                status = group.create_task(self._show_status())
                work = group.create_task(self._send_frames())
                await self._until(lambda: self._over)
                self._reader.stop()
                for task in (status, work):
                    task.cancel()
        finally:
            self._reader.stop()
            self._port.close()
            self._worker.shutdown()
            if not self._reader.running:
                self._source.close()
        self._finish()
        if self._refused is not None:
            raise LraeError(f"the receiver at {self._peer} refused: {self._refused}")
        if self._failed is not None:
            raise self._failed
        arrived = self._connected_once and (self._stopped or not self._session.in_flight)
        return 0 if self._ended.confirmed or arrived else 1

    async def _send_frames(self) -> None:
        self._display.say(f"calling the receiver at {self._peer}")
        await self._until(lambda: self._session.connected)
        self._reader.start()
        try:
            while (item := await self._reader.get()) is not None:
                await self._send_frame(*item)
        except LraeError as error:  # what was sent so far still gets a proper end
            self._failed = error
        self._session.finish(self._loop.time())
        self._port.pump()

    async def _send_frame(self, frame: Frame, capture: float) -> None:
        if self._paced and not self._session.connected:
            self._dropped += 1
            return
        if not self._paced:
            await self._until(lambda: self._session.connected)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WINDOW_PATIENCE):
                    await self._until(lambda: self._session.in_flight < WINDOW)
        news = self._session.take_news(self._loop.time())
        start, replayed = time.perf_counter(), self._encoder.replayed
        encoded = await self._loop.run_in_executor(self._worker, self._encoder.encode, frame, news)
        if encoded is None:
            return
        now = self._loop.time()
        self._session.send_frame(encoded, capture, now)
        self._port.pump()
        self._count(encoded, capture, now, time.perf_counter() - start, self._encoder.replayed - replayed)

    # what the session says

    @property
    def _over(self) -> bool:
        return self._ended is not None or self._refused is not None

    def _on_change(self) -> None:
        while event := self._session.next_event():
            match event:
                case Connected():
                    self._display.say("connected" if not self._connected_once else "connected again")
                    self._connected_once = True
                case Disconnected(reason) | Notice(reason):
                    self._display.say(reason)
                case Refused(reason):
                    self._refused = reason
                case Ended():
                    self._ended = event
        self._changed.set()

    async def _until(self, condition) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    def _stop(self) -> None:
        self._stopped = True
        self._session.stop("the sender was stopped", self._loop.time())
        self._port.pump()

    # what the user sees

    def _count(
        self, encoded: EncodedFrame, capture: float, now: float, seconds: float, replayed: int
    ) -> None:
        header, flow = encoded.header, self._session.flow
        self._first = self._first if self._frames else now
        self._last, self._q = now, header.q
        self._frames += 1
        self._intra += header.intra
        self._recent_encode.add(seconds, now)
        self._stats.write(
            "sent",
            time=now + self._unix,
            number=header.number,
            capture=(capture if self._paced else now - seconds) + self._unix,
            intra=header.intra,
            q=header.q,
            packets=header.packets,
            bytes=self._encoder.size_bits(encoded) // 8,
            side_bytes=encoded.side_bytes,
            encode_ms=seconds * 1e3,
            replayed=replayed,
            loss=flow.acks.loss,
            rtt_ms=None if flow.acks.rtt is None else flow.acks.rtt * 1e3,
            queued=flow.queued,
            rate=flow.controller.rate,
            target=flow.target,
            fec=flow.plan.scheme,
            parity=flow.plan.parity,
        )

    def collect(self, metrics: Metrics) -> None:
        """Brings the metrics up to date."""
        session, flow = self._session, self._session.flow
        metrics.set("lrae_sender_connected", session.connected)
        for unit in ("packets", "bytes"):
            for kind in ("data", "parity", "retransmit", "control"):
                metrics.set(f"lrae_sender_{unit}_total", flow.sent[kind, unit], kind=kind)
        dropped = self._dropped + self._reader.dropped
        fates = {"sent": self._frames, "skipped": self._encoder.skipped, "dropped": dropped}
        for fate, count in fates.items():
            metrics.set("lrae_sender_frames_total", count, fate=fate)
        metrics.set("lrae_sender_replayed_frames_total", self._encoder.replayed)
        for reason, count in session.counts.items():
            metrics.set("lrae_sender_drops_total", count, reason=reason)
        metrics.set("lrae_sender_rtt_seconds", flow.acks.rtt)
        metrics.set("lrae_sender_loss_ratio", flow.acks.loss)
        metrics.set("lrae_sender_rate_bits_per_second", flow.controller.rate)
        metrics.set("lrae_sender_target_bits_per_second", flow.target)
        metrics.set("lrae_sender_q", self._q if self._frames else None)
        metrics.set("lrae_sender_queue_packets", flow.queued)
        metrics.set("lrae_sender_queue_seconds", flow.queue_seconds)
        data = flow.sent["data", "bytes"]
        metrics.set("lrae_sender_fec_overhead_ratio", flow.sent["parity", "bytes"] / data if data else None)
        metrics.set_quantiles("lrae_sender_encode_seconds", self._recent_encode, self._loop.time())

    async def _show_status(self) -> None:
        session, flow = self._session, self._session.flow
        past = deque([(self._loop.time(), 0, 0)], maxlen=RATE_OVER)
        while True:
            await asyncio.sleep(self._display.every)
            if not session.connected:
                self._display.status(f"calling the receiver at {self._peer}")
                continue
            total = f"/{self._source.frames}" if self._source.frames else ""
            past.append((self._loop.time(), self._frames, flow.total("bytes")))
            seconds, frames, sent = (b - a for a, b in zip(past[0], past[-1], strict=True))
            rtt = "?" if flow.acks.rtt is None else f"{flow.acks.rtt * 1e3:.0f}"
            self._display.status(
                f"frame {self._frames}{total} | {frames / seconds:.1f} fps | {sent * 8e-3 / seconds:.0f} kbit/s"
                f" | q {self._q} | loss {flow.acks.loss:.0%} | rtt {rtt} ms"
                f" | dropped {self._dropped + self._reader.dropped} | replayed {self._encoder.replayed}"
            )

    def _finish(self) -> None:
        """The last line of the statistics, and the same in words."""
        session, flow, seconds = self._session, self._session.flow, self._last - self._first
        packets, size = flow.total("packets"), flow.total("bytes")
        kbps = size * 8e-3 / seconds if seconds > 0 else 0.0
        dropped = self._dropped + self._reader.dropped
        self._display.say(
            f"sent {self._frames} frames ({self._intra} intra) in {packets} packets, "
            f"{kbps:.0f} kbit/s over {seconds:.1f} s; {dropped} dropped, {self._encoder.skipped} skipped"
        )
        if peer := session.peer_stats:
            self._display.say(
                f"the receiver showed {peer.frames} frames, {peer.partial} from some of their packets, "
                f"{peer.lost} from none"
            )
        if self._ended and not self._ended.confirmed:
            what = "did not confirm the end" if self._connected_once else "never answered"
            self._display.say(f"the receiver at {self._peer} {what}")
        self._stats.write(
            "sender-summary",
            time=self._loop.time() + self._unix,
            seconds=seconds,
            frames=self._frames,
            intra=self._intra,
            packets=packets,
            bytes=size,
            kbps=kbps,
            dropped=dropped,
            skipped=self._encoder.skipped,
            replayed=self._encoder.replayed,
            loss=flow.acks.loss,
            rtt_ms=None if flow.acks.rtt is None else flow.acks.rtt * 1e3,
            parity_bytes=flow.sent["parity", "bytes"],
            retransmit_bytes=flow.sent["retransmit", "bytes"],
            confirmed=bool(self._ended and self._ended.confirmed),
        )
