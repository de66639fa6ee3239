"""What the clients ask: nodes of `carrot` on free ports, and the origin before which they stand."""

import contextlib
import os
import pathlib
import queue
import subprocess
import tempfile
import threading
import urllib.parse
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PASSWORD = "sesame"

# Far longer than anything here takes.
LONG = 60

CONFIG = """
[node]
peer = "127.0.0.1:0"
http = "127.0.0.1:0"
resp = "127.0.0.1:0"
admin = "127.0.0.1:0"
{resp}
[[group]]
name = "items"
ttl = "1h"
origin = {{ kind = "http", url = "http://127.0.0.1:{origin}/{{key}}" }}

[[group]]
name = "plain"
"""


class Origin:
    """Has every key but `missing`, and fails at `broken`."""

    def __init__(self):
        self.loads = Counter()
        origin = self

        class Answer(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                key = urllib.parse.unquote_to_bytes(self.path[1:])
                origin.loads[key.decode("latin-1")] += 1
                status, body = {
                    b"missing": (404, b""),
                    b"broken": (500, b""),
                    b"large": (200, b"o" * (1 << 20)),
                }.get(key, (200, b"of " + key))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                """Nobody reads a line for each load."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def port(self):
        return self.server.server_address[1]


@contextlib.contextmanager
def node(carrot, origin, *, password=None, default_group=None):
    """A node of its own, for as long as it is held; gives the port at which it speaks the Redis protocol."""
    resp = f'[resp]\ndefault_group = "{default_group}"\n' if default_group else ""
    with tempfile.TemporaryDirectory() as directory:
        file = pathlib.Path(directory) / "carrot.toml"
        file.write_text(CONFIG.format(resp=resp, origin=origin.port))
        environment = {**os.environ, "CARROT_PASSWORD": password} if password else os.environ
        process = subprocess.Popen(
            [carrot, "serve", "--config", file], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=environment,
        )
        said, written = queue.Queue(), []
        readers = [
            threading.Thread(target=lambda: [said.put(line) for line in process.stdout], daemon=True),
            threading.Thread(target=lambda: written.extend(process.stderr), daemon=True),
        ]
        for reader in readers:
            reader.start()
        try:
            yield port_of(said, written)
        finally:
            process.terminate()
            status = process.wait(LONG)
            for reader in readers:
                reader.join(LONG)
            written = "".join(written)
            if status != 0 or "panicked" in written:
                raise SystemExit(f"a node ended with {status} and wrote:\n{written}")


def port_of(said, written):
    """Where the node says that it speaks the Redis protocol, once it has named its last listener."""
    port = None
    while True:
        try:
            kind, address = said.get(timeout=LONG).split()
        except queue.Empty:
            raise SystemExit(f"a node does not listen: {''.join(written)}") from None
        if kind == "resp":
            port = int(address.rsplit(":")[-1])
        if kind == "admin":
            return port
