"""A server in miniature: a big catalogue in memory, sessions that come and go, one step a request.

The catalogue is the live heap. Sessions are graphs with parent links in a cache that evicts the
oldest, so they die old and as cycles. Each request also drops a small cycle of its own, as
contexts, closures and tracebacks do.
"""

from collections import OrderedDict
from random import Random

from _measure import Workload, main


class Product:
    """With its list of tags and its dict of related products: three tracked objects."""

    TRACKED = 3

    def __init__(self, number):
        self.number = number
        self.title = f"product {number}"
        self.price = number * 0.01
        self.tags = [f"tag{number % 97}", f"tag{number % 89}"]
        self.related = {}


class Item:
    def __init__(self, cart, product):
        self.cart = cart
        self.product = product
        self.options = [product.number, product.price]


class Cart:
    def __init__(self, session):
        self.session = session
        self.items = []


class Session:
    """A session and its cart refer to each other, the cart and its items too."""

    ITEMS = 4
    TRACKED = 12

    def __init__(self, key, products):
        self.key = key
        self.history = [products[0]]
        self.cart = Cart(self)
        for product in products[:self.ITEMS]:
            self.cart.items.append(Item(self.cart, product))


class Context:
    """What one request needs; its callback refers back to it."""

    def __init__(self, session, products):
        self.session = session
        self.products = products
        self.log = []
        self.on_close = lambda: self.log.append("closed")


class Server(Workload):

    @staticmethod
    def add_arguments(parser):
        parser.add_argument("--new-sessions", type=float, default=0.5, metavar="SHARE",
                            help="share of requests that open a session (default: %(default)s)")

    def build(self):
        self.random = Random(1).random
        sample = [Product(number) for number in range(8)]
        self.context_size = self.meter.calibrate(lambda: Context(None, list(sample)))
        self.session_size = self.meter.calibrate(lambda: Session(0, sample))
        self.build_catalogue(self.args.objects * 3 // 4 // Product.TRACKED)
        self.capacity = max(self.args.objects // 4 // Session.TRACKED, 1)
        self.sessions = OrderedDict()
        self.next_key = 0
        while self.next_key < self.capacity:
            self.open_session(self.pick(Session.ITEMS))

    def build_catalogue(self, products):
        self.catalogue = [Product(number) for number in range(products)]
        for product in self.catalogue:
            for other in self.pick(3):
                product.related[other.number] = other

    def pick(self, how_many):
        catalogue = self.catalogue
        random = self.random
        size = len(catalogue)
        return [catalogue[int(random() * size)] for _ in range(how_many)]

    def open_session(self, products):
        session = self.sessions[self.next_key] = Session(self.next_key, products)
        self.next_key += 1
        return session

    def find_session(self, products):
        if self.random() < self.args.new_sessions:
            self.sessions.popitem(last=False)
            self.meter.garbage_made += self.session_size
            return self.open_session(products)
        oldest = self.next_key - self.capacity
        return self.sessions[oldest + int(self.random() * self.capacity)]

    def step(self):
        products = self.pick(6)
        session = self.find_session(products)
        context = Context(session, products)
        self.meter.garbage_made += self.context_size
        session.history.append(products[0])
        if len(session.history) > 8:
            session.history = session.history[-4:]
        item = session.cart.items[session.key % Session.ITEMS]
        item.product = products[1]
        response = {
            "session": session.key,
            "cart": [{"product": entry.product.number, "price": entry.product.price}
                     for entry in session.cart.items],
            "products": [{"number": product.number, "title": product.title, "tags": product.tags,
                          "related": sorted(product.related)}
                         for product in products],
        }
        context.on_close()
        return response


if __name__ == "__main__":
    main(Server, __doc__)
