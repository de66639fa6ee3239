"""`run.py CARROT DIRECTORY`: every client through the common script, in RESP2 and RESP3, and Redis's own tools.

`scripts/clients` installs the clients below DIRECTORY and runs this. A fault is a line; one makes the run fail, and so
does a driver that does not answer.
"""

import json
import pathlib
import signal
import subprocess
import sys
import time

import check
import served
import tools

HERE = pathlib.Path(__file__).parent
CARROT, INSTALLED = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])

DRIVERS = {
    # setex and its like are deprecated there, and used.
    "redis-py": [sys.executable, "-W", "ignore::DeprecationWarning", HERE / "python" / "driver.py"],
    "node-redis": ["node", INSTALLED / "node" / "node-redis.mjs"],
    "ioredis": ["node", INSTALLED / "node" / "ioredis.mjs"],
    "redis-rs": [INSTALLED / "rust" / "debug" / "carrot-redis-rs"],
}


class Driver:
    """A client's driver, which stays for all cases. A line to it is a case, one of it the replies."""

    def __init__(self, client, protocol):
        self.process = subprocess.Popen(
            [*DRIVERS[client], str(protocol)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def replies(self, port, case):
        script = {"port": port, "password": case.get("password"), "steps": [step for step, _ in case["steps"]]}
        self.process.stdin.write(json.dumps(script) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline() or "[]")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def faults_of(client, protocol, origin):
    with Driver(client, protocol) as driver:
        for case in check.cases():
            for fault in faults_in(case, driver, origin):
                yield f"{client}, RESP{protocol}: {case['name']}: {fault}"


def faults_in(case, driver, origin):
    # None takes as long; one that hangs is ended by this.
    signal.alarm(served.LONG)
    origin.loads.clear()
    password = served.PASSWORD if case.get("node") == "locked" else None
    # A node of its own: what is cached, and what was loaded, is this case's.
    with served.node(CARROT, origin, password=password) as port:
        replies = driver.replies(port, case)
    signal.alarm(0)
    yield from check.faults(case, replies)
    for key, loads in case.get("loads", {}).items():
        if origin.loads[key] != loads:
            yield f"{key} was loaded {origin.loads[key]} times, and not {loads}"


def main():
    # So that nodes are ended on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    signal.signal(signal.SIGALRM, lambda *_: sys.exit(f"a case is not over within {served.LONG} s"))
    origin = served.Origin()
    faults, count = [], len(check.cases())
    for client in DRIVERS:
        for protocol in (2, 3):
            began = time.monotonic()
            found = list(faults_of(client, protocol, origin))
            faults += found
            print(f"{client}, RESP{protocol}: {count} cases, {len(found)} faults, {time.monotonic() - began:.1f} s", flush=True)
    began = time.monotonic()
    found = list(tools.faults(CARROT, origin))
    faults += found
    print(f"redis-cli and redis-benchmark: {len(found)} faults, {time.monotonic() - began:.1f} s")
    if faults:
        sys.exit("\n".join(faults))


main()
