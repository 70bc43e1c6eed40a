"""The application behind every server here: sessions in a bounded cache, cyclic garbage per request.

    wsgi        for gunicorn (Flask)
    asgi        for uvicorn
    celery      a Celery application with two tasks, on the Redis of REDIS_URL
"""

import asyncio
import collections
import gc
import json
import os
import random

SESSIONS = 3000    # of the cache, when full
LOADED = 60000      # records there before the first request: shared by prefork workers


class Session:
    def __init__(self, key):
        self.key = key
        self.history = []
        self.owner = {"session": self}


class Request:
    def __init__(self, key, session):
        self.key, self.session = key, session
        self.response = Response(self)


class Response:
    def __init__(self, request):
        self.request = request
        self.rows = [{"n": i, "text": str(i)} for i in range(40)]


RECORDS = [{"key": i, "tags": [i % 7, str(i)]} for i in range(LOADED)]
cache = collections.OrderedDict()
served = 0


def handle(key):
    """One request; returns the text of the answer, which a client can check."""
    global served
    served += 1
    session = cache.get(key) or Session(key)
    cache[key] = session
    cache.move_to_end(key)
    session.history.append(served)
    del session.history[:-20]
    if len(cache) > SESSIONS:
        cache.popitem(last=False)
    request = Request(key, session)
    record = RECORDS[key % LOADED]
    if served % 2000 == 0:
        gc.collect()
    return json.dumps({"key": key, "record": record["key"], "rows": len(request.response.rows),
                       "pid": os.getpid()})


def make_wsgi():
    import flask
    application = flask.Flask(__name__)

    @application.route("/item/<int:key>")
    def item(key):
        return handle(key)

    return application


async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    key = int(scope["path"].rpartition("/")[2])
    await asyncio.gather(*(asyncio.sleep(0) for _ in range(3)))
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": handle(key).encode()})


def make_celery():
    from celery import Celery
    url = os.environ["REDIS_URL"]
    application = Celery("application", broker=url, backend=url)
    application.conf.worker_prefetch_multiplier = 8
    application.conf.broker_connection_retry_on_startup = True

    @application.task(name="item")
    def item(key):
        return handle(key)

    @application.task(name="sort")
    def sort(seed):
        numbers = [[random.Random(seed).random(), i] for i in range(500)]
        return sorted(numbers)[0][1] >= 0

    return application


def __getattr__(name):
    """Only what is asked for is imported."""
    makers = {"wsgi": make_wsgi, "celery": make_celery}
    if name not in makers:
        raise AttributeError(name)
    globals()[name] = makers[name]()
    return globals()[name]
