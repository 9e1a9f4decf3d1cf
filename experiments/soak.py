"""lrae-bench soak: sessions over loopback sockets for long, on a clock that runs fast; memory and files stay flat."""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import random
import selectors
import tracemalloc
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from lrae.codec.wire.keys import NoKey, SharedKey
from lrae.experiments.arguments import count
from lrae.experiments.null_stream import FPS, NullFrames, decode_nothing, null_sender
from lrae.experiments.pool import Step, progress
from lrae.receiver.session import ReceiverSession
from lrae.sender.fec_fixed import FixedFec
from lrae.sender.session import SenderSession
from lrae.udp import Session, SessionPort, open_socket

STREAMS = 6  # one after another, with a new sender, socket and key exchange each
SAMPLES = 60
LOSS, DUPLICATE = 0.05, 0.01
PARTING = 30.0  # seconds that a sender may take to leave


class _FastSelector(selectors.DefaultSelector):
    """Sleeps so many times shorter."""

    def __init__(self, speed: float) -> None:
        super().__init__()
        self._speed = speed

    def select(self, timeout: float | None = None) -> list:
        return super().select(timeout / self._speed if timeout and timeout > 0 else timeout)


class FastLoop(asyncio.SelectorEventLoop):
    """An event loop whose seconds pass `speed` times faster."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        super().__init__(_FastSelector(speed))

    def time(self) -> float:
        return super().time() * self._speed


class LossySession:
    """A session some of whose datagrams get lost or doubled on their way out."""

    def __init__(self, session: Session, rng: random.Random) -> None:
        self._session, self._rng = session, rng
        self.receive_datagram, self.get_timer = session.receive_datagram, session.get_timer
        self.handle_timer = session.handle_timer

    def datagrams_to_send(self, now: float) -> Iterable[tuple[bytes, Any]]:
        for item in self._session.datagrams_to_send(now):
            if self._rng.random() >= LOSS:
                yield item
                if self._rng.random() < DUPLICATE:
                    yield item


class Soak:
    """One receiver, STREAMS senders after one another; samples of the process meanwhile."""

    def __init__(self, minutes: float, secret: bool, seed: int, step: Step) -> None:
        self._seconds, self._rng, self._step = 60 * minutes, random.Random(seed), step
        self._keys = SharedKey(self._rng.randbytes(32)) if secret else NoKey()
        self._receiver = ReceiverSession(0.15, self._keys)
        self.seen: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.sent: Counter[tuple[str, str]] = Counter()
        self.samples: list[dict[str, float | None]] = []

    async def run(self) -> None:
        """Everything, one stream after another."""
        loop = asyncio.get_running_loop()
        sock = open_socket(("127.0.0.1", 0), listen=True)
        port = SessionPort(LossySession(self._receiver, self._rng), self._decode)
        await port.open(sock)
        try:
            begin = loop.time()
            async with asyncio.TaskGroup() as group:
                sampling = group.create_task(self._sample(begin))
                for number in range(STREAMS):
                    await self._stream(number, sock.getsockname(), begin + self._seconds * (number + 1) / STREAMS)
                sampling.cancel()
        finally:
            port.close()
        self.counts.update({f"receiver: {reason}": n for reason, n in self._receiver.counts.items()})

    def _decode(self) -> None:
        self.seen += decode_nothing(self._receiver, asyncio.get_running_loop().time())

    async def _stream(self, number: int, address: tuple[str, int], until: float) -> None:
        loop = asyncio.get_running_loop()
        sender = null_sender(number, self._keys, loop.time(), FixedFec("streaming", 0.25, 3), True, 0.8 / FPS)
        port = SessionPort(LossySession(sender, self._rng), lambda: None)
        await port.open(open_socket(address, listen=False))
        try:
            frames, at = NullFrames(self._rng), loop.time()
            while loop.time() < until:
                at = max(at + 1 / FPS, loop.time() - 1 / FPS)
                await asyncio.sleep(max(0.0, at - loop.time()))
                self._send(sender, frames, number, loop.time())
                port.pump()
            sender.finish(loop.time())
            port.pump()
            async with asyncio.timeout(PARTING):
                while sender.get_timer() is not None:
                    await asyncio.sleep(0.1)
        finally:
            port.close()
        self.sent += sender.flow.sent
        self.counts.update({f"sender: {reason}": n for reason, n in sender.counts.items()})

    def _send(self, sender: SenderSession, frames: NullFrames, stream: int, now: float) -> None:
        while event := sender.next_event():
            self.seen[type(event).__name__] += 1
        if sender.connected:
            sender.send_frame(frames.next(sender.take_news(now).intra_wanted), now, now)

    async def _sample(self, begin: float) -> None:
        loop = asyncio.get_running_loop()
        for number in range(SAMPLES):
            self._step(f"minute {self._seconds / 60 * number / SAMPLES:.0f}")
            await asyncio.sleep(max(0.0, begin + self._seconds * (number + 0.9) / SAMPLES - loop.time()))
            gc.collect()
            self.samples.append({"minute": (loop.time() - begin) / 60, **usage()})


def usage() -> dict[str, float | None]:
    """What the process holds now: rss_mb (resident), heap_mb (by tracemalloc), files open. None: not known here."""
    statm, handles = Path("/proc/self/statm"), Path("/proc/self/fd")
    page = os.sysconf("SC_PAGE_SIZE") if statm.exists() else 0
    return {
        "rss_mb": int(statm.read_text().split()[1]) * page / 1e6 if page else None,
        "heap_mb": tracemalloc.get_traced_memory()[0] / 1e6,
        "files": len(list(handles.iterdir())) if handles.exists() else None,
    }


def measure(minutes: float, speed: float, secret: bool = True, seed: int = 1, step: Step = lambda text: None) -> dict:
    """The result of `lrae-bench soak`: {"rss_mb", "heap_mb", "files": {"start", "end", "max"}}, counts and samples.

    start: when a fifth of the time is over, when all buffers have been full once.
    """
    soak = Soak(minutes, secret, seed, step)
    gc.collect()
    gc.freeze()  # what is there already never changes: looking for garbage in it would take a fifth of a second
    tracemalloc.start()
    try:
        with asyncio.Runner(loop_factory=lambda: FastLoop(speed)) as runner:
            runner.run(soak.run())
    finally:
        tracemalloc.stop()
        gc.unfreeze()
    settled = soak.samples[len(soak.samples) // 5 :]
    result: dict[str, object] = {"minutes": minutes, "speed": speed, "key": secret}
    for name in ("rss_mb", "heap_mb", "files"):
        values = [sample[name] for sample in settled]
        if None not in values:
            result[name] = {"start": values[0], "end": values[-1], "max": max(values)}
    shown = {kind: soak.seen[kind] for kind in ("whole", "partial", "lost")}
    streams = {"begun": soak.seen["StreamStarted"], "clean": soak.seen["clean"]}
    sent = {f"{kind}_{unit}": n for (kind, unit), n in sorted(soak.sent.items())}
    dropped = dict(sorted(soak.counts.items()))
    return {**result, "frames": shown, "streams": streams, "sent": sent, "dropped": dropped, "samples": soak.samples}


def add_command(commands: argparse._SubParsersAction) -> None:
    """`lrae-bench soak`."""
    sub = commands.add_parser("soak", help="memory and open files over a long time of streaming on loopback")
    sub.add_argument("--minutes", type=count, default=30, help="of stream time (default 30)")
    sub.add_argument("--speed", type=float, default=8.0, help="times faster than real time (default 8)")
    sub.add_argument("--no-key", action="store_true", help="without encryption")
    sub.add_argument("--json", type=Path, metavar="FILE", help="write the result here")
    sub.set_defaults(run=run, threads=None)


def run(args: argparse.Namespace, console: Console) -> dict:
    """Measure and print."""
    with progress(SAMPLES) as step:
        result = measure(args.minutes, args.speed, not args.no_key, step=step)
    title = f"{args.minutes} minutes of stream time, {args.speed:g} times faster, {LOSS:.0%} lost each way"
    table = Table(title=title, title_justify="left")
    for column in ("", "start", "end", "most"):
        table.add_column(column, justify="right" if column else "left")
    for name, label in (("rss_mb", "resident memory, MB"), ("heap_mb", "Python's heap, MB"), ("files", "open files")):
        if name in result:
            table.add_row(label, *(f"{result[name][when]:.6g}" for when in ("start", "end", "max")))
    console.print(table)
    for name in ("frames", "streams", "sent", "dropped"):
        console.print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in result[name].items()))
    return result
