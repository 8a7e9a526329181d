"""Messages to and from a process that may never answer: no send and no receive waits for ever."""

import os
import socket
import struct
import time
from multiprocessing.connection import Connection

LARGEST = 2**27  # bytes of a message


class Line:
    """Our end of a pipe, with a time at which each wait ends.

    The other end is a `Connection`, whose format of messages this is: a length, then the bytes.

    >>> from multiprocessing import Pipe
    >>> ours, theirs = Pipe()
    >>> line = Line(ours)
    >>> theirs.send_bytes(b"ready")
    >>> line.receive(time.monotonic() + 1)
    b'ready'
    >>> line.receive(time.monotonic() + 0.01)
    Traceback (most recent call last):
    TimeoutError: timed out
    >>> line.close()
    """

    def __init__(self, connection: Connection) -> None:
        self._socket = socket.socket(fileno=os.dup(connection.fileno()))
        connection.close()

    def send(self, message: bytes, until: float) -> None:
        """Send a message.

        Raises:
            TimeoutError: nobody reads.
            OSError: nobody is there.
        """
        self._wait(until)
        self._socket.sendall(struct.pack("!i", len(message)) + message)

    def receive(self, until: float) -> bytes:
        """Return the next message.

        Raises:
            TimeoutError: there is none, or not all of it.
            OSError: nobody is there any more.
            ValueError: its length is none.
        """
        (length,) = struct.unpack("!i", self._exactly(4, until))
        if not 0 <= length <= LARGEST:
            raise ValueError(f"a message of {length} bytes")
        return self._exactly(length, until)

    def close(self) -> None:
        self._socket.close()

    def _exactly(self, number: int, until: float) -> bytes:
        parts: list[bytes] = []
        while number > 0:
            self._wait(until)
            part = self._socket.recv(min(number, 2**20))
            if not part:
                raise ConnectionResetError("the line is closed")
            parts.append(part)
            number -= len(part)
        return b"".join(parts)

    def _wait(self, until: float) -> None:
        self._socket.settimeout(max(1e-3, until - time.monotonic()))
