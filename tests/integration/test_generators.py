"""Generators, coroutines and asynchronous generators: what their frames hold is found in every state."""

import gc
import sys
import threading
import unittest
import weakref

from zgctest import ACTIVE, age, collect, main, requires_active, zgc

COUNT = 60


class Probe:
    """In a cycle with what holds it; weak references tell when it has gone."""


class Await:
    def __await__(self):
        yield self


class Manager:
    async def __aenter__(self):
        await Await()

    async def __aexit__(self, *raised):
        pass


# Each makes an object in some state; probe.holder, which the caller sets to it, closes the cycle.

def generator(probe):
    yield probe


def created(probe):
    return generator(probe)


def suspended(probe):
    made = generator(probe)
    next(made)
    return made


def delegating(probe):
    def outer(inner):
        found = [probe]
        yield from inner
        del found
    made = outer(generator(None))
    next(made)
    return made


def with_values_on_its_stack(probe):
    def body(probe):
        text = "x"
        print(text, probe, [probe], (yield), *[(yield)], sep=text, file=None)
    made = body(probe)
    next(made)
    return made


def in_a_loop(probe):
    def body(items):
        for item in items:
            with memoryview(b"x"):
                try:
                    yield item
                finally:
                    pass
    made = body(iter([None, probe, None]))
    next(made)
    next(made)
    return made


def in_a_handler(probe):
    class Raised(Exception):
        pass

    def body():
        try:
            raise Raised(probe)
        except Raised:
            yield
    made = body()
    next(made)
    return made


def with_a_frame(probe):
    made = suspended(probe)
    probe.frame = made.gi_frame
    return made


def with_locals(probe):
    made = suspended(probe)
    probe.names = made.gi_frame.f_locals
    return made


def with_a_closure(probe):
    def body():
        yield probe
    made = body()
    next(made)
    return made


def expression(probe):
    made = (item for item in [probe, probe])
    next(made)
    return made


def ended(probe):
    class Text(str):
        pass
    made = generator(None)
    made.__name__ = Text("name")
    made.__name__.probe = probe
    list(made)
    return made


def coroutine(probe):
    async def body(held):
        async with Manager():
            pass
    made = body([probe])
    made.send(None)
    return made


def asynchronous(probe):
    async def body(held):
        for i in range(3):
            await Await()
            yield held
    made = body(probe)
    probe.step = made.asend(None)
    probe.step.send(None)
    return made


def with_a_finalizer(probe):
    """Held by an asynchronous generator, beside its frame."""
    def finalize(made, probe=probe):
        pass

    async def body():
        yield
    before = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(finalizer=finalize)
    try:
        made = body()
        step = made.asend(None)
        try:
            step.send(None)
        except StopIteration:
            pass
    finally:
        sys.set_asyncgen_hooks(*before)
    return made


STATES = [created, suspended, delegating, with_values_on_its_stack, in_a_loop, in_a_handler, with_a_frame,
          with_locals, with_a_closure, expression, ended, coroutine, asynchronous,
          with_a_finalizer]


def cycle(make):
    probe = Probe()
    probe.holder = make(probe)
    return probe


class States(unittest.TestCase):
    maxDiff = None

    def check_all(self, find):
        wrong = {}
        for make in STATES:
            dying = [cycle(make) for _ in range(COUNT)]
            alive = [cycle(make) for _ in range(COUNT)]
            holders = [weakref.ref(probe.holder) for probe in alive]
            age()
            dead = [weakref.ref(probe) for probe in dying]
            del dying
            for _ in range(3):      # on 3.15 a frame of a dead generator takes CPython's collector two, too
                find()
            left = sum(probe() is not None for probe in dead)
            lost = sum(holder() is None for holder in holders)
            if left or lost:
                wrong[make.__name__] = f"{left} of {COUNT} dead left, {lost} live lost"
        self.assertEqual(wrong, {})

    def test_stopped_collection_finds_all(self):
        self.check_all(gc.collect)

    def test_concurrent_collection_finds_all(self):
        self.check_all(collect)

    @requires_active
    def test_those_that_hold_still_are_not_deferred(self):
        kept = [cycle(make) for make in STATES for _ in range(400)]
        age()
        collect()
        collect()
        self.assertLess(zgc.stats()["deferred_objects"], len(kept) // 2)
        self.assertTrue(all(probe.holder for probe in kept))


class Running(unittest.TestCase):
    def test_what_a_running_one_holds_stays(self):
        """Frames that come and go on other threads while collections look at them."""
        stop = threading.Event()
        broken = []

        def pull(number):
            def body(depth):
                held = [Probe(), number]
                if depth:
                    yield from body(depth - 1)
                yield held
                for i in range(20):
                    held = [held, Probe()]
                    held[0] = [Probe(), number]
                    yield held
            kept = [body(3) for _ in range(50)]
            while not stop.is_set():
                for i, made in enumerate(kept):
                    found = next(made, None)
                    while found is not None and isinstance(found[0], list):
                        found = found[0]
                    if found is None:
                        kept[i] = body(3)
                    elif found[1] != number:
                        broken.append(found)
        threads = [threading.Thread(target=pull, args=(n,)) for n in range(3)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(15):
                age()
                collect()
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        self.assertEqual(broken, [])


if __name__ == "__main__":
    main()
