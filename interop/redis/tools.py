"""Redis's own tools against a node: they run, end well, and say what is so."""

import csv
import re
import signal
import subprocess

import served

KEYS = 200


def faults(carrot, origin):
    # redis-benchmark's keys begin with no group's name.
    with served.node(carrot, origin, default_group="plain") as port:
        yield from with_cli(port)
        yield from with_benchmark(port)


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, timeout=served.LONG, **options)


def with_cli(port):
    def cli(*words, **options):
        return run("redis-cli", "-p", str(port), *words, **options)

    def expect(done, what, *patterns):
        """It ended well, and wrote lines that fit."""
        if done.returncode != 0:
            yield f"redis-cli {what}: ended with {done.returncode}: {done.stderr or done.stdout}"
        for pattern in patterns:
            if not re.search(pattern, done.stdout, re.MULTILINE):
                yield f"redis-cli {what}: no {pattern!r} in {done.stdout[-1000:]!r}"

    # As protocol, in one stream: this is how data is brought in.
    words = [["SET", f"plain:{n}", "v" * n] for n in range(1, KEYS + 1)]
    stream = "".join("*3\r\n" + "".join(f"${len(word)}\r\n{word}\r\n" for word in each) for each in words)
    yield from expect(cli("--pipe", input=stream), "--pipe", rf"^errors: 0, replies: {KEYS}$")
    yield from expect(cli(input="get plain:1\nget items:a\n"), "with commands as its input", r"^v$", r"^of a$")
    yield from expect(cli("-3", "--no-raw", "get", "plain:none"), "-3", r"^\(nil\)$")
    yield from expect(cli("-3", "hello"), "-3 hello", r"^proto 3$")
    # Of many uses, so that there is something hot.
    for _ in range(20):
        cli("get", "plain:7")
    yield from expect(cli("-r", "3", "-i", "0.01", "ping"), "-r", r"^PONG\nPONG\nPONG$")
    largest = rf"""^Biggest string found '"plain:{KEYS}"' has {KEYS} bytes$"""
    yield from expect(cli("--bigkeys"), "--bigkeys", rf"^Sampled {KEYS + 1} keys ", largest)
    yield from expect(cli("--memkeys"), "--memkeys", r"^Biggest string found .* has [1-9]\d+ bytes$")
    yield from expect(cli("--hotkeys"), "--hotkeys", r'^hot key found with counter: [1-9]\d*\tkeyname: "plain:7"$')
    yield from expect(cli("--latency", "-i", "1"), "--latency", r"^\d+ \d+ \d+\.\d+ [1-9]\d*$")
    scanned = cli("--scan", "--pattern", "plain:*")
    yield from expect(scanned, "--scan")
    if sorted(scanned.stdout.split()) != sorted(f"plain:{n}" for n in range(1, KEYS + 1)):
        yield f"redis-cli --scan: {scanned.stdout!r}"
    refused = cli("-e", "incr", "plain:1")
    if refused.returncode == 0 or "unknown command" not in refused.stdout + refused.stderr:
        yield f"redis-cli -e: ended with {refused.returncode}: {refused.stdout}{refused.stderr}"
    yield from with_stat(port)


def with_stat(port):
    """--stat goes on until it is told to end."""
    stat = subprocess.Popen(["redis-cli", "-p", str(port), "--stat", "-i", "0.05"], stdout=subprocess.PIPE, text=True)
    try:
        lines = [stat.stdout.readline() for _ in range(6)]
    finally:
        stat.send_signal(signal.SIGINT)
        stat.stdout.close()
        stat.wait(served.LONG)
    told = [line.split() for line in lines if line[:1].isdigit()]
    if not told or any(int(line[0]) != KEYS + 1 for line in told):
        yield f"redis-cli --stat: {lines}"


def with_benchmark(port):
    for depth in (1, 16, 64):
        name = f"redis-benchmark -P {depth}"
        done = run(
            "redis-benchmark", "-p", str(port), "-t", "get,set,mset", "-P", str(depth), "-n", "20000", "-c", "20",
            "--csv",
        )
        if done.returncode != 0 or done.stderr:
            yield f"{name}: ended with {done.returncode}: {done.stderr}"
            continue
        rows = list(csv.DictReader(done.stdout.splitlines()))
        rates = {row["test"]: float(row["rps"]) for row in rows}
        print(f"{name}: " + ", ".join(f"{test} {rate:.0f}/s" for test, rate in rates.items()))
        if set(rates) != {"SET", "GET", "MSET (10 keys)"} or not all(rate > 0 for rate in rates.values()):
            yield f"{name}: {done.stdout}"
