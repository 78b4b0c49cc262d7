"""`caffe.bin` and `predict_seg_new.bin` of the embedded engine as programs that start at once.

Loading PyTorch takes seconds, and the tests call these tools dozens of times. A server process loads it once and forks
for every call; the programs are small clients that hand it their arguments, folder, environment and streams.
"""

from __future__ import annotations

import array
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

MODULES = {"caffe.bin": "cdeep3m.cli.caffe", "predict_seg_new.bin": "cdeep3m.cli.predict_seg_new"}

CLIENT = """#!{python} -IS
import array, json, os, signal, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
call = json.dumps([os.path.basename(sys.argv[0]), sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
streams = array.array("i", [0, 1, 2])
server.sendmsg([len(call).to_bytes(4, "big") + call], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)])
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, frame: server.send(bytes([number])))
sys.stdout.close()
os.close(0), os.close(1), os.close(2)
status = server.recv(1)
os._exit(status[0] if status else 1)
"""


class WarmTools:
    """The server, and a folder of programs for PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "tools"
        self.folder.mkdir()
        address = str(folder / "socket")
        for name in MODULES:
            (self.folder / name).write_text(CLIENT.format(python=sys.executable, address=address))
            (self.folder / name).chmod(0o755)
        self._server = subprocess.Popen([sys.executable, __file__, address], stdout=subprocess.PIPE)
        self._server.stdout.readline()

    def close(self) -> None:
        self._server.terminate()
        self._server.wait()
        self._server.stdout.close()


def serve(address: str) -> None:
    for slow in ("cdeep3m.engines.embedded.engine", "cdeep3m.engines.embedded.training.loop", "torch._inductor.config"):
        import_module(slow)
    for module in MODULES.values():
        import_module(module)

    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    print("ready", flush=True)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=answer, args=(connection,), daemon=True).start()


def answer(connection: socket.socket) -> None:
    """Run one call; a client that is gone takes its call with it."""
    call, streams = receive(connection)
    child = os.fork()
    if not child:
        run(call, streams)
    for stream in streams:
        os.close(stream)
    threading.Thread(target=pass_on_signals, args=(connection, child), daemon=True).start()
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    connection.sendall(bytes([code if code >= 0 else 128 - code]))


def receive(connection: socket.socket) -> tuple[list, list[int]]:
    streams = array.array("i", [0, 0, 0])
    data, ancillary, _, _ = connection.recvmsg(65536, socket.CMSG_LEN(3 * streams.itemsize))
    streams = array.array("i", ancillary[0][2])
    while len(data) < 4 + int.from_bytes(data[:4], "big"):
        data += connection.recv(65536)
    return json.loads(data[4:]), list(streams)


def pass_on_signals(connection: socket.socket, child: int) -> None:
    try:
        while number := connection.recv(1):
            os.kill(child, number[0])
        os.kill(child, signal.SIGKILL)
    except (ProcessLookupError, OSError):
        return


def run(call: list, streams: list[int]) -> None:
    """Be the tool."""
    name, arguments, folder, environment = call
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.closerange(3, 256)
    # The server's own may have been files, where streams can seek; these may not.
    sys.stdout = sys.__stdout__ = open(1, "w", closefd=False)  # noqa: SIM115 - it stays open
    sys.stderr = sys.__stderr__ = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    status = 1
    try:
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        status = import_module(MODULES[name]).main(arguments)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    serve(sys.argv[1])
