"""A web application with a large live heap, as zgc-ab --serve measures it.

    gunicorn -w 2 --preload --chdir perf/examples -b 127.0.0.1:8000 web_app:app

The catalogue is built once, before the workers are forked, and shared by them. Each request opens
a session, a small graph with parent links, and the oldest one is dropped: it has grown old by
then, and is garbage that only a full collection finds. PRODUCTS and SESSIONS in the environment
set the sizes (three tracked objects for each product, forty for each session).
"""

import os
from collections import OrderedDict

import flask

PRODUCTS = int(os.environ.get('PRODUCTS', '400000'))
SESSIONS = int(os.environ.get('SESSIONS', '4000'))       # in each worker
ITEMS = 19


class Product:
    def __init__(self, number):
        self.number = number
        self.tags = ['tag%d' % (number % 97)]
        self.related = {'next': number + 1, 'tags': self.tags}


class Item:
    def __init__(self, session, product):
        self.session = session
        self.product = product


class Session:
    def __init__(self, number):
        self.items = [Item(self, catalogue[(number * 31 + i * 7919) % PRODUCTS])
                      for i in range(ITEMS)]


catalogue = [Product(number) for number in range(PRODUCTS)]
sessions = OrderedDict()
app = flask.Flask(__name__)


@app.route('/')
def index():
    number = flask.g.number = index.requests = index.requests + 1
    sessions[number] = Session(number)
    if len(sessions) > SESSIONS:
        sessions.popitem(last=False)
    return 'session %d, %d products' % (number, len(sessions[number].items))


index.requests = 0
