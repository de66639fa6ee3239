"""The common script: its cases as the drivers are given them, and whether the replies are as it says."""

import json
import pathlib
import re


def cases():
    """All cases, with what they write in short written out."""
    return [expanded(case) for case in json.loads((pathlib.Path(__file__).parent / "cases.json").read_text())]


def expanded(value):
    """`{"each": [3, "a{n}"]}` is a list of three; `{"text": ["ab", 3]}` is one text."""
    match value:
        case {"each": [count, template]}:
            return [filled(template, n) for n in range(count)]
        case {"text": [part, times]}:
            return part * times
        case list():
            return [expanded(each) for each in value]
        case dict():
            return {name: expanded(each) for name, each in value.items()}
        case _:
            return value


def filled(template, n):
    return template.format(n=n) if isinstance(template, str) else [filled(each, n) for each in template]


def fits(reply, expected):
    match expected:
        case {"error": pattern}:
            return isinstance(reply, dict) and is_error(reply.get("error", ""), pattern)
        case {"like": pattern}:
            return isinstance(reply, str) and re.fullmatch(pattern, reply, re.DOTALL) is not None
        case {"between": [least, most]}:
            return isinstance(reply, int) and least <= reply <= most
        case list():
            return (
                isinstance(reply, list)
                and len(reply) == len(expected)
                and all(fits(one, other) for one, other in zip(reply, expected))
            )
        case _:
            return type(reply) is type(expected) and reply == expected


def is_error(said, pattern):
    """Some clients keep an error's first word to themselves."""
    code = pattern.split()[0]
    return any(re.fullmatch(pattern, text) for text in (said, f"{code} {said}"))


def short(value):
    text = json.dumps(value)
    return text if len(text) <= 300 else f"{text[:300]}… ({len(text)} characters)"


def faults(case, replies):
    """What is wrong with the replies to a case, a line each."""
    if refused := case.get("refused"):
        last = replies[-1] if replies else None
        if not fits(last, {"error": refused}):
            yield f"expected to be refused with {refused}, but got {short(last)}"
        return
    for (step, expected), reply in zip(case["steps"], replies):
        if not fits(reply, expected):
            yield f"{short(step)}: expected {short(expected)}, but got {short(reply)}"
    if len(replies) != len(case["steps"]):
        yield f"{len(replies)} replies to {len(case['steps'])} steps"
