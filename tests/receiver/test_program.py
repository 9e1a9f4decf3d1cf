"""lrae-recv's program when it is told to stop."""

import asyncio
import os
import signal
import subprocess
import sys
import threading

from lrae.cli import parse_address
from lrae.codec.wire.keys import NoKey
from lrae.console import Display
from lrae.receiver.program import Program
from lrae.receiver.session import ReceiverSession
from lrae.stats import StatsFile
from lrae.udp import open_socket


class BusyPlayer:
    """Gets ready for as long as the test likes."""

    def __init__(self):
        self.begun, self.may_end, self.closed = threading.Event(), threading.Event(), False

    def warm_up(self):
        self.begun.set()
        self.may_end.wait(60)

    def close(self):
        self.closed = True


def test_who_stops_while_the_codec_gets_ready_does_not_wait_for_it():
    player = BusyPlayer()

    async def run():
        program = Program(ReceiverSession(0.15, NoKey()), player, 0.15, False, Display(True), StatsFile(None))
        running = asyncio.create_task(program.run(open_socket(parse_address("127.0.0.1:0", "", True), listen=True)))
        await asyncio.to_thread(player.begun.wait, 60)
        os.kill(os.getpid(), signal.SIGINT)
        return await running

    try:
        assert asyncio.run(run()) == 0
        assert player.closed and not player.may_end.is_set()
    finally:
        player.may_end.set()


def test_a_program_that_leaves_ends_at_once_with_its_code_and_all_that_it_said():
    code = "import atexit; from lrae.cli import leave; atexit.register(print, 'late'); print('said'); leave(3)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (3, "said\n")
