"""Code that eight threads run while breakpoints come and go: each counted line has a counter.

A line of the form `tick[name]()` counts itself: the counter is one C call, so that it counts each
execution of the line exactly, in any number of threads.
"""

import asyncio
import itertools
from typing import Any


class Ticks(dict[str, Any]):
    """A counter for each name, made when it is first asked for."""

    def __missing__(self, name):
        self[name] = ticker = itertools.count().__next__
        return ticker

    def count(self, name):
        """How often the line ran until now."""
        return int(repr(self[name].__self__)[len("count(") : -1])


tick = Ticks()
going = [True]


def call(n):
    tick["call"]()
    return n + 1


def recurse(n):
    tick["recurse"]()
    return 0 if n == 0 else recurse(n - 1) + 1


class Thing:
    def __init__(self, n):
        tick["init"]()
        self.n = n

    @property
    def value(self):
        tick["property"]()
        return self.n

    @staticmethod
    def make(n):
        return [Thing(i).value for i in range(n)]

    def __enter__(self):
        tick["enter"]()
        return self

    def __exit__(self, *_):
        tick["exit"]()
        return True


def swallows(n):
    with Thing(n) as thing:
        assert thing.value == n
        raise KeyError


def raises(n):
    try:
        tick["try"]()
        raise ValueError(n)  # noqa: TRY301 - that is what is tried
    except ValueError as error:
        tick["except"]()
        return error.args[0]
    finally:
        tick["finally"]()


def closure(n):
    def inner(m):
        tick["closure"]()
        return n + m

    return inner(1) + inner(2)


def defaults(a, b=2, *args, c=3, **kwargs):
    cell = a
    get = lambda: (  # noqa: E731 - a lambda is wanted
        tick["lambda"](),
        cell,
    )[1]
    tick["defaults"]()
    return get() + b + c + len(args) + len(kwargs)


def numbers(n):
    for i in range(n):
        tick["before yield"]()
        got = yield i
        tick["after yield"]()
        if got:
            return got


def delegate(n):
    tick["delegate"]()
    yield from numbers(n)


def forever():
    n = 0
    while True:
        n += 1
        tick["forever"]()
        yield n


def serve():
    """A loop that is entered once."""
    while going[0]:
        tick["serve"]()
        call(1)
        list(numbers(2))


async def wait(n):
    for _ in range(n):
        tick["before await"]()
        await asyncio.sleep(0)
        tick["after await"]()
    return n


async def stream(n):
    for i in range(n):
        tick["async yield"]()
        yield i
        await asyncio.sleep(0)


async def serve_async():
    """Coroutines of one event loop."""
    sleeper = asyncio.ensure_future(async_forever())
    while going[0]:
        tick["serve async"]()
        results: list[Any] = list(await asyncio.gather(wait(3), wait(2)))
        async for got in stream(3):
            results.append(got)  # noqa: PERF401 - a loop is wanted
        assert results == [3, 2, 0, 1, 2], results
    await sleeper


async def async_forever():
    while going[0]:
        await asyncio.sleep(0)
        tick["async forever"]()
