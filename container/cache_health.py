"""Asks LMCache's server whether it is well, at both its ports: over HTTP, and as the engine does, with a message.

Its HTTP side goes on answering when the thread that takes the engine's messages hangs or has died, and the engine then
waits in vain (LMCache 0.5.6: one short message ends that thread, transport/zmq_impl/mq.py:770).
"""

from http.client import HTTPConnection, HTTPException

import zmq

# A request's number, and the operation: what LMCache's client sends for noop(), in MessagePack. The thread that takes
# the messages answers it by itself, however busy those are that it hands the others to.
_NOOP = (b"\x01", b"\xa4noop")


def is_well(http_port: int, port: int, seconds: float) -> bool:
    """Tell whether a server on loopback answers at both ports, each within `seconds`."""
    return _answers_http(http_port, seconds) and _answers_messages(port, seconds)


def _answers_http(port: int, seconds: float) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request("GET", "/healthcheck")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _answers_messages(port: int, seconds: float) -> bool:
    # A context for each question: its threads end with it, and whoever asks is about to fork.
    try:
        with zmq.Context() as context, context.socket(zmq.DEALER) as asking:
            asking.linger = 0
            asking.connect(f"tcp://127.0.0.1:{port}")
            asking.send_multipart(_NOOP)
            return asking.poll(round(seconds * 1000)) == zmq.POLLIN
    except zmq.ZMQError:
        return False
