"""Storage that misbehaves in replicas: importable there by name."""

import errno
import os
import signal
import time
from contextlib import contextmanager

from rowcast.storage.objects import Objects


class FullDisk(Objects):
    """Has no space for objects whose URI holds ``word``."""

    def __init__(self, roots, word):
        super().__init__(roots)
        self.word = word

    @contextmanager
    def create(self, uri):
        with super().create(uri) as file:
            if self.word in uri:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            yield file


class Deadly(Objects):
    """Kills the process that writes an object whose URI holds ``word``."""

    def __init__(self, roots, word):
        super().__init__(roots)
        self.word = word

    def create(self, uri):
        if self.word in uri:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().create(uri)


class Greedy(Objects):
    """Takes far more memory than a replica may have."""

    def create(self, uri):
        bytearray(1 << 44)
        return super().create(uri)


class Slow(Objects):
    """Takes ``seconds`` for each object whose URI holds ``word``."""

    def __init__(self, roots, word, seconds):
        super().__init__(roots)
        self.word, self.seconds = word, seconds

    def create(self, uri):
        if self.word in uri:
            time.sleep(self.seconds)
        return super().create(uri)

    def open(self, expected):
        if self.word in expected.uri:
            time.sleep(self.seconds)
        return super().open(expected)
