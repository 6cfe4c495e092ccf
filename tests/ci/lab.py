"""What the checks of tests/ci share: programs that are started and ended, a scenario that is played, and complaints.

Rules: every program ends with the stack that it was started on; nothing of the environment's proxies has a say, since all is on
loopback; a complaint ends the check with exit code 1 and the check's name.
"""

import pathlib
import signal
import subprocess
import sys
import threading
import time
import urllib.request

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
START_S = 30


def end_when_told():
    """Lets a SIGTERM end the check in order, with all that it started."""
    signal.signal(signal.SIGTERM, lambda *_: fail("told to end"))


def play(ends, lab, log, *words):
    """A scenario that is played: `words` are those of `faultline-lab up`."""
    return Program(ends, [lab, "up", *words], log, signal.SIGINT)


class Program:
    """A program that runs, with what it says: the first line of each first word, and the log of all lines."""

    def __init__(self, ends, command, log, farewell=signal.SIGTERM):
        self.log, self.farewell, self.told = pathlib.Path(log), farewell, {}
        self.changed = threading.Condition()
        output = ends.enter_context(self.log.open("w"))
        self.process = subprocess.Popen(
            [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=output, text=True
        )
        self.reader = threading.Thread(target=self._read, args=[output], daemon=True)
        self.reader.start()
        ends.callback(self.end)

    def _read(self, output):
        for line in self.process.stdout:
            output.write(line)
            output.flush()
            word, _, rest = line.strip().partition(" ")
            with self.changed:
                self.told.setdefault(word, rest.strip())
                self.changed.notify_all()
        with self.changed:
            self.told.setdefault(None, "")
            self.changed.notify_all()

    def said(self, word, seconds=START_S):
        """What it said after this word."""
        with self.changed:
            self.changed.wait_for(lambda: word in self.told or None in self.told, seconds)
            if word not in self.told:
                fail(f"{self.process.args[0]} did not say {word!r} within {seconds} s: see {self.log}")
            return self.told[word]

    def end(self):
        """Asks it to end, and ends it if it does not."""
        if self.process.poll() is None:
            self.process.send_signal(self.farewell)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.reader.join(5)


def until(what, seconds, look):
    """What `look` returns, once it returns anything."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            fail(f"not in {seconds} s: {what}")
        time.sleep(0.1)
    return found


def check(holds, complaint):
    if not holds:
        fail(complaint)


def fail(complaint):
    sys.exit(f"{pathlib.Path(sys.argv[0]).stem}: {complaint}")
