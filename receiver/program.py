"""What lrae-recv does while it runs: socket -> session -> decoder thread -> presenter, and what it reports."""

from __future__ import annotations

import asyncio
import socket
import time
from concurrent.futures import ThreadPoolExecutor

from lrae.cli import format_address
from lrae.codec.wire import ByeCode
from lrae.console import Display
from lrae.errors import LraeError, ModelError, SinkError
from lrae.metrics import LastMinute, Metrics
from lrae.receiver.events import Event, FrameDue, FramesMended, Notice, StreamEnded, StreamStarted
from lrae.receiver.player import Player, Shown
from lrae.receiver.presenter import Presenter
from lrae.receiver.session import ReceiverSession
from lrae.stats import StatsFile, percentile
from lrae.udp import SessionPort, on_signal

LINGER = 0.5  # seconds in which a sender whose BYE we have answered may ask again
MAX_DELAYS = 100_000  # frames whose delay the summary looks at


class Program:
    """One receiving run. deadline: seconds, the session's. once: leave after the first stream."""

    def __init__(
        self,
        session: ReceiverSession,
        player: Player,
        deadline: float,
        once: bool,
        display: Display,
        stats: StatsFile,
    ) -> None:
        self._session, self._player, self._once = session, player, once
        self._presenter = Presenter(player, deadline, self._count)
        self._recent_delay, self._recent_decode = LastMinute(), LastMinute()
        self._q: int | None = None
        self._streams = 0
        self._display, self._stats = display, stats
        self._loop = asyncio.get_running_loop()
        self._unix = time.time() - self._loop.time()
        self._port = SessionPort(session, self._on_change)
        self._worker = ThreadPoolExecutor(1, "decoder")
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()  # the session bounds what it hands out
        self._stopped = asyncio.Event()  # by the user
        self._delays: list[float] = []
        self._first = self._last = 0.0
        self._line = "waiting for a sender"

    async def run(self, sock: socket.socket) -> int:
        """Until the user, a closed window or (once) the end of a stream; returns the exit code."""
        on_signal(self._stop)
        try:
            await self._port.open(sock)
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._show_status()), group.create_task(self._present())]
                try:
                    await self._warm_up()
                    return await self._work()
                finally:
                    for task in tasks:
                        task.cancel()
        finally:
            self._session.stop("the receiver has failed", self._loop.time())
            self._port.pump()
            self._port.close()
            try:
                await self._presenter.close()
            finally:
                self._worker.shutdown(wait=not self._stopped.is_set(), cancel_futures=True)

    async def _warm_up(self) -> None:
        """Gets the codec ready, unless the user stops the program meanwhile. Raises ModelError."""
        warm = self._loop.run_in_executor(self._worker, self._player.warm_up)
        stop = self._loop.create_task(self._stopped.wait())
        try:
            await asyncio.wait((warm, stop), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
        if not self._stopped.is_set():
            await warm

    async def _work(self) -> int:
        """Takes the session's events one after the other."""
        while (event := await self._events.get()) is not None:
            match event:
                case StreamStarted():
                    await self._prepare(event)
                case FrameDue() if self._stopped.is_set():
                    pass  # nobody looks any more
                case FrameDue():
                    await self._decode(event)
                case FramesMended():
                    await self._mend(event)
                case Notice(text):
                    self._display.say(text)
                case StreamEnded():
                    await self._presenter.drained()
                    self._conclude(event)
                    if self._once:
                        await asyncio.sleep(LINGER if event.clean else 0)
                        return 0 if event.clean or self._stopped.is_set() else 1
            self._port.pump()
        return 0

    async def _prepare(self, stream: StreamStarted) -> None:
        config, video = stream.config, stream.config.format
        self._delays, self._first = [], 0.0
        self._display.say(
            f"stream from {format_address(stream.address)}: {video.width}x{video.height} at "
            f"{float(video.fps):.4g} fps, model {config.model}"
        )
        self._streams += 1
        try:
            await self._loop.run_in_executor(self._worker, self._player.prepare, config)
            await self._presenter.start(video, config.realtime)
        except SinkError as error:
            self._session.refuse(stream, ByeCode.FAILED, _line(error), self._loop.time())
            raise
        except LraeError as error:
            code = ByeCode.MODEL if isinstance(error, ModelError) else ByeCode.FAILED
            self._session.refuse(stream, code, _line(error), self._loop.time())
            self._display.say(f"error: {_line(error)}")
        else:
            self._session.accept(stream, self._loop.time())

    async def _decode(self, due: FrameDue) -> None:
        try:
            shown = await self._loop.run_in_executor(self._worker, self._player.decode, due.frame)
        except LraeError as error:
            self._session.refuse(due.stream, ByeCode.FAILED, _line(error), self._loop.time())
            raise
        self._session.decoded(due, shown.decoded.used, self._loop.time())
        self._port.pump()
        await self._presenter.put(due, shown)
        if not self._player.wanted:
            self._stop()

    async def _present(self) -> None:
        try:
            await self._presenter.run()
        except LraeError as error:
            self._session.stop(_line(error), self._loop.time())
            raise

    async def _mend(self, mended: FramesMended) -> None:
        if not self._events.empty():
            return  # frames that are due come first
        used = await self._loop.run_in_executor(self._worker, self._player.mend, mended.frames)
        self._session.decoded_again(mended, dict(used), self._loop.time())

    def _on_change(self) -> None:
        while event := self._session.next_event():
            self._events.put_nowait(event)

    def _stop(self) -> None:
        self._stopped.set()
        self._session.stop("the receiver was stopped", self._loop.time())
        self._port.pump()
        self._events.put_nowait(None)

    # what the user sees

    def _count(self, due: FrameDue, shown: Shown, now: float) -> None:
        frame, header = due.frame, due.frame.header
        delay = frame.delay + now - due.time
        self._first, self._last = self._first or now, now
        if len(self._delays) < MAX_DELAYS:
            self._delays.append(delay * 1e3)
        self._recent_delay.add(delay, now)
        self._recent_decode.add(shown.seconds, now)
        self._q = header.q if header else self._q
        stats = self._session.stats
        self._line = (
            f"frame {stats.frames} | partial {stats.partial} | lost {stats.lost} | delay {delay * 1e3:.0f} ms"
            f" | decode {shown.seconds * 1e3:.0f} ms | dropped datagrams {stats.dropped}"
        )
        if shown.label:
            self._line += f" | {shown.label} {shown.confidence:.0%}"
        self._stats.write(
            "shown",
            time=now + self._unix,
            stream=due.stream.config.stream,
            number=frame.number,
            capture=frame.capture,
            intra=header and header.intra,
            q=header and header.q,
            packets=header and header.packets,
            received=len(frame.payloads),
            used=len(shown.decoded.used),
            delay_ms=delay * 1e3,
            decode_ms=shown.seconds * 1e3,
            label=shown.label,
            label_confidence=shown.confidence,
        )

    def describe(self) -> str:
        """How things stand, in one line."""
        return self._line

    def collect(self, metrics: Metrics) -> None:
        """Brings the metrics up to date."""
        session, stats, now = self._session, self._session.stats, self._loop.time()
        metrics.set("lrae_receiver_streaming", session.streaming)
        metrics.set("lrae_receiver_streams_total", self._streams)
        metrics.set("lrae_receiver_packets_total", session.received["packets"], kind="received")
        metrics.set("lrae_receiver_packets_total", stats.recovered, kind="recovered")
        metrics.set("lrae_receiver_bytes_total", session.received["bytes"])
        for unit in ("packets", "bytes"):
            name = f"lrae_receiver_sent_{unit}_total"
            metrics.set(name, session.sent["feedback", unit], kind="feedback")
            metrics.set(name, session.sent["control", unit], kind="control")
        fates = {"whole": stats.frames - stats.partial - stats.lost, "partial": stats.partial, "lost": stats.lost}
        for fate, count in fates.items():
            metrics.set("lrae_receiver_frames_total", count, fate=fate)
        metrics.set("lrae_receiver_late_packets_total", stats.late)
        for reason, count in session.counts.items():
            metrics.set("lrae_receiver_drops_total", count, reason=reason)
        metrics.set("lrae_receiver_q", self._q)
        metrics.set_quantiles("lrae_receiver_delay_seconds", self._recent_delay, now)
        metrics.set_quantiles("lrae_receiver_decode_seconds", self._recent_decode, now)

    async def _show_status(self) -> None:
        shown = None
        while True:
            await asyncio.sleep(self._display.every)
            if self._line != shown:
                self._display.status(self._line)
                shown = self._line

    def _conclude(self, event: StreamEnded) -> None:
        stats, reasons = event.stats, dict(self._session.counts)
        p50, p95 = percentile(self._delays, 50), percentile(self._delays, 95)
        self._line = "waiting for a sender"
        told = f", delay {p50:.0f} ms (95 %: {p95:.0f} ms)" if self._delays else ""
        why = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
        self._display.say(
            f"{event.reason}: showed {stats.frames} frames, {stats.partial} from some of their packets, "
            f"{stats.lost} from none; {stats.packets} packets{told}"
        )
        if why:
            self._display.say(f"datagrams dropped: {why}")
        self._stats.write(
            "receiver-summary",
            time=self._loop.time() + self._unix,
            stream=event.stream.config.stream,
            seconds=self._last - self._first if self._first else 0.0,
            frames=stats.frames,
            partial=stats.partial,
            lost=stats.lost,
            packets=stats.packets,
            late=stats.late,
            recovered=stats.recovered,
            dropped=stats.dropped,
            reasons=reasons,
            delay_ms_p50=p50,
            delay_ms_p95=p95,
            clean=event.clean,
            reason=event.reason,
        )


def _line(error: LraeError) -> str:
    """An error as the one printable line that fits a BYE."""
    return "".join(c if c.isprintable() else " " for c in str(error))[:160]
