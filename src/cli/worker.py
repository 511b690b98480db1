"""Compile the sources that arrive on standard input; answer with marshalled code objects.

Started as ``python -I -S -B -X utf8 -W ignore worker.py OPTIMIZE``. All numbers are unsigned
32-bit little-endian.

request   length, then per source: path length, path, source length, source
answer    one per source, in order: status byte, length, payload
          status 0: marshal bytes; status 1: exception name, line and message, one a line, UTF-8
          status 2: ready (sent once, before the first request)
"""

import marshal
import os
import struct
import sys

# What `compile` and `marshal.dumps` raise for a source; anything else ends the worker.
REFUSALS = (
    SyntaxError,
    ValueError,
    LookupError,
    OverflowError,
    RecursionError,
    MemoryError,
    SystemError,
)


def compile_source(path: bytes, source: bytes, optimize: int) -> tuple[int, bytes]:
    """Return the status and the payload of the answer for one source."""
    try:
        code = compile(source, os.fsdecode(path), "exec", dont_inherit=True, optimize=optimize)
        return 0, marshal.dumps(code)
    except REFUSALS as error:
        line = getattr(error, "lineno", None) or 0
        message = getattr(error, "msg", None) or str(error)
        text = f"{type(error).__name__}\n{line}\n{message}"
        return 1, text.encode("utf-8", "backslashreplace")


def main() -> None:
    """Answer requests until there are no more."""
    optimize = int(sys.argv[1])
    requests = sys.stdin.buffer
    # Large enough for what nearly every source becomes, so that an answer is one write and wakes
    # its reader once.
    answers = os.fdopen(1, "wb", 1 << 20, closefd=False)

    def answer(status: int, payload: bytes) -> None:
        answers.write(struct.pack("<BI", status, len(payload)))
        answers.write(payload)
        answers.flush()

    answer(2, b"")
    while len(header := requests.read(4)) == 4:
        request = memoryview(requests.read(*struct.unpack("<I", header)))
        at = 0
        while at < len(request):
            fields = []
            for _ in range(2):
                (length,) = struct.unpack_from("<I", request, at)
                fields.append(bytes(request[at + 4 : at + 4 + length]))
                at += 4 + length
            answer(*compile_source(fields[0], fields[1], optimize))


main()
