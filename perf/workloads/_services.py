"""Programs that serve requests, in miniature: each has a live heap, and a request that ends in a moment.

They stand for what people run: what lives long, what a request makes and drops, and how it dies (by its
reference count, in a cycle, young or old).
"""

import asyncio
import heapq
import json
import os
import subprocess
import sys
from collections import OrderedDict
from random import Random
from xml.dom import minidom

from _heaps import LiveHeap


class Service:
    """Override request(). `objects`: live objects known to the collector, about."""

    REQUESTS = 30_000       # of a full run
    QUICK = 6_000

    def __init__(self, objects):
        self.random = Random(1)
        self.heap = LiveHeap(objects)

    def request(self, number):
        raise NotImplementedError

    def close(self):
        """Ends what the service has started."""


class Context:
    """What one request needs; its callback refers back to it."""

    def __init__(self, session, body):
        self.session, self.body = session, body
        self.log = []
        self.done = lambda: self.log


class Session:
    def __init__(self, key, nodes):
        self.key = key
        self.cart = {"session": self, "items": list(nodes)}
        self.history = []


class Web(Service):
    """A web service: JSON in, a session out of a cache of 5,000, JSON out; the context is a cycle."""

    SESSIONS = 5_000

    def __init__(self, objects):
        super().__init__(objects)
        self.sessions = OrderedDict()

    def session(self, key):
        session = self.sessions.pop(key, None)
        if session is None:
            nodes = self.heap.nodes
            session = Session(key, nodes[key % len(nodes):][:5])
            if len(self.sessions) >= self.SESSIONS:
                self.sessions.popitem(last=False)
        self.sessions[key] = session
        return session

    def request(self, number):
        body = json.loads('{"user": %d, "items": [1, 2, {"n": %d}]}' % (self.random.randrange(10_000), number))
        context = Context(self.session(body["user"]), body)
        context.session.history = context.session.history[-9:] + [number]
        context.log.append({"number": number, "items": [node.name for node in context.session.cart["items"]]})
        return json.dumps(context.done())


class Graph:
    """Twenty objects that refer to each other."""

    def __init__(self, key):
        self.key = key
        self.parts = [{"graph": self, "n": n, "next": []} for n in range(6)]
        for before, after in zip(self.parts, self.parts[1:]):
            before["next"].append(after)
            after["next"].append(before)


class Cache(Service):
    """An LRU cache of object graphs: a miss evicts an old graph, which is a cycle."""

    SIZE = 20_000

    def __init__(self, objects):
        super().__init__(objects)
        self.cache = OrderedDict((key, Graph(key)) for key in range(self.SIZE))

    def request(self, _number):
        for _ in range(3):
            key = int(self.SIZE * 4 * self.random.random() ** 3)
            graph = self.cache.pop(key, None)
            if graph is None:
                graph = Graph(key)
                self.cache.popitem(last=False)
            self.cache[key] = graph
            sum(part["n"] for part in graph.parts)


class Job:
    def __init__(self, at, owner):
        self.at, self.owner = at, owner
        self.needs, self.needed_by = [], []

    def __lt__(self, other):
        return self.at < other.at


class Jobs(Service):
    """A job scheduler: a heap queue of 50,000 jobs that know what they need and who needs them."""

    QUEUE = 50_000

    def __init__(self, objects):
        super().__init__(objects)
        self.queue = []
        self.now = 0.0
        for _ in range(self.QUEUE):
            self.add()

    def add(self):
        job = Job(self.now + self.random.random() * 1000, self.heap.nodes[0])
        for _ in range(2):
            if self.queue:
                other = self.random.choice(self.queue)
                job.needs.append(other)
                other.needed_by.append(job)
        heapq.heappush(self.queue, job)

    def request(self, _number):
        for _ in range(5):
            job = heapq.heappop(self.queue)
            self.now = job.at
            for other in job.needed_by:
                other.needs.remove(job)
            job.needed_by = [job]       # its last word: a cycle of its own
            self.add()


class Documents(Service):
    """A document parser: a tree of some 2,000 nodes with links to parents is parsed, read and dropped."""

    REQUESTS = 1_500
    QUICK = 200
    TEXT = "<list>" + "".join('<item id="%d"><name>n%d</name></item>' % (n, n) for n in range(300)) + "</list>"

    def request(self, _number):
        document = minidom.parseString(self.TEXT)
        return len(document.getElementsByTagName("name"))


class Chat(Service):
    """An asyncio chat: a message goes through the queues of 30 clients, each a task."""

    REQUESTS = 4_000
    QUICK = 600
    CLIENTS = 30

    def __init__(self, objects):
        super().__init__(objects)
        self.loop = asyncio.new_event_loop()
        self.loop.run_until_complete(self.start())

    async def start(self):
        self.queues = [asyncio.Queue() for _ in range(self.CLIENTS)]
        self.tasks = [asyncio.ensure_future(self.client(queue)) for queue in self.queues]

    async def client(self, queue):
        seen = []
        while True:
            message, answer = await queue.get()
            seen = seen[-20:] + [message]
            answer.set_result(len(seen))

    async def broadcast(self, number):
        answers = [asyncio.get_running_loop().create_future() for _ in self.queues]
        message = {"number": number, "text": str(number)}
        for queue, answer in zip(self.queues, answers):
            queue.put_nowait((message, answer))
        await asyncio.gather(*answers)

    def request(self, number):
        self.loop.run_until_complete(self.broadcast(number))

    def close(self):
        for task in self.tasks:
            task.cancel()
        self.loop.run_until_complete(asyncio.gather(*self.tasks, return_exceptions=True))
        self.loop.close()


class Trainer(Service):
    """A batch trainer with two ranks that wait for each other after each batch: the slower one sets the time."""

    REQUESTS = 8_000
    QUICK = 1_500

    def __init__(self, objects):
        super().__init__(objects)
        to_peer, from_peer = os.pipe(), os.pipe()
        self.peer = os.fork()
        if self.peer == 0:
            self.read, self.write = to_peer[0], from_peer[1]
            os.close(to_peer[1])
            self.follow()
        self.read, self.write = from_peer[0], to_peer[1]
        os.close(from_peer[1])

    def follow(self):
        while os.read(self.read, 1):
            self.batch()
            os.write(self.write, b".")
        os._exit(0)

    def batch(self):
        rows = [{"x": [n, n * 0.5], "node": self.random.choice(self.heap.nodes)} for n in range(100)]
        for row in rows:
            row["next"] = rows
        self.heap.churn(2)

    def request(self, _number):
        os.write(self.write, b".")
        self.batch()
        os.read(self.read, 1)

    def close(self):
        os.close(self.write)
        os.waitpid(self.peer, 0)


class Loader(Service):
    """A loader of a big heap: each request adds 2,000 records of five objects, all of which stay."""

    REQUESTS = 300
    QUICK = 60

    def __init__(self, objects):
        super().__init__(max(objects // 10, 1))

    def request(self, _number):
        self.heap.grow(10_000)


class Tool(Service):
    """A command-line tool: an interpreter starts, makes 300,000 objects, and ends."""

    REQUESTS = 12
    QUICK = 4
    CODE = """
class Node: pass
nodes = [Node() for _ in range(100_000)]
for node in nodes:
    node.peers = [node]
"""

    def __init__(self, objects):
        pass

    def request(self, _number):
        subprocess.run([sys.executable, "-c", self.CODE], check=True)


SERVICES = {"web": Web, "cache": Cache, "jobs": Jobs, "documents": Documents, "chat": Chat,
            "trainer": Trainer, "loader": Loader, "tool": Tool}
