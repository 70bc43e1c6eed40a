"""FastAPI, pydantic, SQLAlchemy's ORM, orjson and uvloop in one process, under concurrent load."""

import asyncio
import gc
import unittest

import httpx
import orjson
import uvloop
from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel
from sqlalchemy import ForeignKey, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship
from sqlalchemy.pool import StaticPool

from churn import Churn

CLIENTS, ORDERS = 16, 20


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    client: Mapped[str]
    lines: Mapped[list["Line"]] = relationship(back_populates="order",
                                               cascade="all, delete-orphan")


class Line(Base):
    __tablename__ = "lines"
    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))
    what: Mapped[str]
    count: Mapped[int]
    order: Mapped[Order] = relationship(back_populates="lines")


class LineModel(BaseModel, from_attributes=True):
    what: str
    count: int


class OrderModel(BaseModel, from_attributes=True):
    id: int = 0
    client: str
    lines: list[LineModel]


def make_app(churn):
    engine = create_engine("sqlite://", poolclass=StaticPool,
                           connect_args={"check_same_thread": False})
    Base.metadata.create_all(engine)
    app = FastAPI()

    async def session():
        with Session(engine) as found:
            yield found

    @app.post("/orders")
    async def post(order: OrderModel, db: Session = Depends(session)) -> OrderModel:
        row = Order(client=order.client, lines=[Line(**x.model_dump()) for x in order.lines])
        db.add(row)
        db.commit()
        churn.step(100)
        return OrderModel.model_validate(row)

    @app.get("/orders/{number}")
    async def get(number: int, db: Session = Depends(session)) -> OrderModel:
        row = db.get(Order, number)
        if row is None:
            raise HTTPException(404)
        return OrderModel.model_validate(row)

    @app.get("/totals")
    async def totals(db: Session = Depends(session)) -> dict[str, int]:
        found = {}
        for row in db.scalars(select(Order)):
            found[row.client] = found.get(row.client, 0) + sum(x.count for x in row.lines)
        return found
    return app


async def one_client(http, name):
    for i in range(ORDERS):
        lines = [{"what": f"thing {j}", "count": i + j} for j in range(4)]
        sent = orjson.dumps({"client": name, "lines": lines})
        answer = await http.post("/orders", content=sent,
                                 headers={"content-type": "application/json"})
        assert answer.status_code == 200, answer.text
        made = orjson.loads(answer.content)
        assert made["lines"] == lines and made["client"] == name
        again = await http.get(f"/orders/{made['id']}")
        assert orjson.loads(again.content) == made
        assert (await http.get("/orders/999999")).status_code == 404


async def load(app):
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        await asyncio.gather(*(one_client(http, f"client {i}") for i in range(CLIENTS)))
        return orjson.loads((await http.get("/totals")).content)


class Service(unittest.TestCase):
    def check(self, runner):
        churn = Churn()
        totals = runner(load(make_app(churn)))
        each = sum(i + j for i in range(ORDERS) for j in range(4))
        self.assertEqual(totals, {f"client {i}": each for i in range(CLIENTS)})
        churn.check()
        gc.collect()
        self.assertEqual([o for o in gc.get_objects() if type(o) is Order], [])

    def test_on_uvloop(self):
        self.check(uvloop.run)

    def test_on_asyncio(self):
        self.check(asyncio.run)


if __name__ == "__main__":
    unittest.main(verbosity=2)
