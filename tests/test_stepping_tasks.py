"""Stepping in coroutines, tasks and threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest
from tests.stepping import Driver, leaving_nothing, outer, skip_library

clean = pytest.fixture(autouse=True)(leaving_nothing)


def test_coroutines_in_one_task():
    async def leaf() -> int:
        await asyncio.sleep(0)
        return 1

    async def branch() -> int:
        a = await leaf()
        b = await leaf()
        return a + b

    async def other() -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    async def main() -> int:
        noise = asyncio.create_task(other())
        driver.start()
        found = await branch()
        await noise
        return found

    driver = Driver(["over", "into", "over", "into", "over", "over", "over", "over", "over"])
    assert asyncio.run(main()) == 2
    assert driver.stops[:8] == [
        ("main", 3),
        ("branch", 1),
        ("branch", 2),
        ("leaf", 1),
        ("leaf", 2),
        ("branch", 3),
        ("main", 4),
        ("main", 5),
    ]


def test_into_an_await_that_suspends_waits_for_the_frame():
    async def other() -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    async def main() -> None:
        noise = asyncio.create_task(other())
        driver.start()
        await asyncio.sleep(0.01)
        await noise

    driver = Driver(["over", "into", "over"], skip=skip_library)
    asyncio.run(main())
    assert driver.stops[:2] == [("main", 3), ("main", 4)]


def test_out_of_a_task_goes_to_who_awaits_it():
    async def work() -> int:
        await asyncio.sleep(0)
        driver.start()
        done = 1
        return done

    async def other() -> None:
        for _ in range(9):
            await asyncio.sleep(0)

    async def main() -> int:
        noise = asyncio.create_task(other())
        task = asyncio.create_task(work())
        found = await task
        await noise
        return found

    driver = Driver(["over", "out", "over"])
    asyncio.run(main())
    assert driver.stops == [("work", 3), ("main", 4), ("main", 5)]


def test_out_of_a_gathered_task():
    async def work(number: int) -> int:
        await asyncio.sleep(0)
        if number == 1:
            driver.start()
        return number

    async def main() -> list[int]:
        found = await asyncio.gather(work(0), work(1), work(2))
        return list(found)

    driver = Driver(["over", "out"])
    assert asyncio.run(main()) == [0, 1, 2]
    assert driver.stops == [("work", 4), ("main", 2)]


def test_out_of_the_main_coroutine_goes_to_who_runs_the_loop():
    async def main() -> None:
        driver.start()
        await asyncio.sleep(0)

    def run() -> str:
        asyncio.run(main())
        return "done"

    driver = Driver(["over", "over", "over"])
    assert run() == "done"
    assert driver.stops[:2] == [("main", 2), ("run", 2)]


def test_asynchronous_generator():
    async def source() -> AsyncIterator[int]:
        for number in range(2):
            await asyncio.sleep(0)
            yield number

    async def main() -> list[int]:
        driver.start()
        found = []
        async for number in source():
            found.append(number)
        return found

    driver = Driver(["over", "over", "into", "over", "over", "over", "over"], skip=skip_library)
    assert asyncio.run(main()) == [0, 1]
    assert driver.stops[:7] == [
        ("main", 2),
        ("main", 3),
        ("source", 1),
        ("source", 2),
        ("source", 3),
        ("source", 1),
        ("source", 2),
    ]


def test_only_its_own_thread_stops():
    barrier = threading.Barrier(2)

    def work() -> int:
        barrier.wait()
        return outer(1)

    def run() -> int:
        driver.start()
        thread.start()
        barrier.wait()
        a = outer(2)
        thread.join()
        return a

    thread = threading.Thread(target=work)
    driver = Driver(["over"] * 3 + ["into"] * 3 + ["out", "out"])
    run()
    assert driver.stops[:4] == [("run", 2), ("run", 3), ("run", 4), ("outer", 1)]
    assert {stop[0] for stop in driver.stops} <= {"run", "outer", "inner"}


def test_two_threads_step_at_once():
    def run(driver: Driver) -> None:
        driver.start()
        for _ in range(50):
            outer(1)

    drivers = [Driver(["over"] * 40), Driver(["into"] * 40)]
    threads = [threading.Thread(target=run, args=(driver,)) for driver in drivers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {stop[0] for stop in drivers[0].stops} == {"run"}
    assert [len(driver.stops) for driver in drivers] == [40, 40]
    assert {stop[0] for stop in drivers[1].stops} == {"run", "outer", "inner"}
