"""redis-py runs the common script: `driver.py PROTOCOL <cases >replies`, a line of JSON each; see ../README.md."""

import json
import sys

import redis

PROTOCOL = int(sys.argv[1])


def connect(case):
    return redis.Redis(
        host="127.0.0.1", port=case["port"], protocol=PROTOCOL, password=case["password"],
        single_connection_client=True, retry=None,
    )


def to_send(word):
    """Bytes are written as text here, one character each."""
    return word.encode("latin-1") if isinstance(word, str) else word


def told(reply):
    """A reply as the common script has it."""
    match reply:
        case bytes():
            return reply.decode("latin-1")
        case True:
            return "OK"
        case Exception():
            return {"error": str(reply)}
        case list():
            return [told(each) for each in reply]
        case dict():
            return {told(name): told(value) for name, value in reply.items()}
        case _:
            return reply


def call(client, step):
    """Calls the client's own method; on a pipeline it is queued."""
    name, *words = step
    options = words.pop() if words and isinstance(words[-1], dict) else {}
    words = [to_send(word) for word in words]
    match name:
        case "mset":
            return client.mset(dict(zip(words[::2], words[1::2])))
        case "setnx":
            return client.setnx(*words)
        case _:
            return getattr(client, name)(*words, **options)


def raw(client, words):
    connection = client.connection or client.connection_pool.get_connection()
    connection.send_command(*map(to_send, words))
    return connection.read_response()


def run(client, step):
    name, *rest = step
    try:
        match name:
            case "pipeline" | "transaction":
                pipeline = client.pipeline(transaction=name == "transaction")
                for each in rest[0]:
                    call(pipeline, each)
                return told(pipeline.execute(raise_on_error=False))
            case "raw":
                return told(raw(client, rest))
            case "scan":
                return sorted(told(key) for key in client.scan_iter(**rest[0]))
            case "version":
                return client.info("server")["redis_version"]
            case "ping":
                # A truth, which stands for this reply, as for those below.
                return {True: "PONG"}[call(client, step)]
            case "setnx" | "expire" | "pexpire" | "expireat" | "pexpireat" | "persist":
                return {True: 1, False: 0}[call(client, step)]
            case _:
                return told(call(client, step))
    except redis.RedisError as error:
        return told(error)


def replies(case):
    try:
        with connect(case) as client:
            return [run(client, step) for step in case["steps"]]
    except redis.RedisError as error:
        return [told(error)]


for line in sys.stdin:
    print(json.dumps(replies(json.loads(line))), flush=True)
