"""Runs the Python it is sent, one JSON string a line, and answers each with a line: its value, or what it raised."""

import contextlib
import errno
import io
import json
import sys


def run(code, names):
    try:
        expression = compile(code, "<told>", "eval")
    except SyntaxError:
        expression = None
    # Some libraries print.
    with contextlib.redirect_stdout(io.StringIO()):
        if expression:
            return eval(expression, names)
        exec(compile(code, "<told>", "exec"), names)
    return None


def plain(value):
    """What JSON cannot say."""
    return value.decode("latin-1") if isinstance(value, bytes) else repr(value)


def kinds(error):
    names = [c.__name__ for c in type(error).__mro__]
    if isinstance(error, OSError):
        names += [name for name in dir(errno) if getattr(errno, name) == error.errno]
    return names


names = {}
for line in sys.stdin:
    try:
        answer = {"value": run(json.loads(line), names)}
    except Exception as e:
        answer = {"error": f"{type(e).__name__}: {e}", "kinds": kinds(e)}
    print(json.dumps(answer, default=plain), flush=True)
