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
    "redis-py": [sys.executable, HERE / "python" / "driver.py"],
    "node-redis": ["node", INSTALLED / "node" / "node-redis.mjs"],
    "ioredis": ["node", INSTALLED / "node" / "ioredis.mjs"],
    "redis-rs": [INSTALLED / "rust" / "debug" / "carrot-redis-rs"],
}


def asked(driver, port, protocol, case):
    """What the client was answered."""
    script = {"password": case.get("password"), "steps": [step for step, _ in case["steps"]]}
    done = subprocess.run(
        [*driver, str(port), str(protocol)], input=json.dumps([script]), capture_output=True, text=True,
        timeout=served.LONG,
    )
    if done.returncode != 0:
        raise SystemExit(f"{driver[-1]} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)[0]


def faults_of(client, protocol, origin):
    for case in check.cases():
        origin.loads.clear()
        # A node of its own: what is cached, and what was loaded, is this case's.
        with served.node(CARROT, origin, password=served.PASSWORD if case.get("node") == "locked" else None) as port:
            replies = asked(DRIVERS[client], port, protocol, case)
        faults = list(check.faults(case, replies))
        for key, loads in case.get("loads", {}).items():
            if origin.loads[key] != loads:
                faults.append(f"{key} was loaded {origin.loads[key]} times, and not {loads}")
        yield from (f"{client}, RESP{protocol}: {case['name']}: {fault}" for fault in faults)


def main():
    # So that nodes are ended on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
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
