"""Doors of stores, the import and the catalogue with its stock (the catalogue's too, since stock is the higher noun of the two)."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, StringConstraints
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from live.catalog.queries import SkuFacts, active_skus
from live.infra import security
from live.infra.db import utc_now
from live.infra.doors import Form
from live.infra.doors import json as _json
from live.stock import actions, queries
from live.stock.importer import import_csv
from live.stock.rules import MAX_BYTES
from live.stock.tables import Location

IMPORT_BYTES = 2 * MAX_BYTES + 64 * 1024  # JSON writes a Chinese character of 3 bytes as up to 6 (\\uXXXX), a quote as 2
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]
Address = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)]


class StoreForm(Form):
    """A new store."""

    code: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]{1,32}$")]
    name_zh: Name
    name_en: Name
    address_zh: Address = ""
    address_en: Address = ""
    lat: Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)] | None = None
    lon: Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)] | None = None
    hours: Annotated[str, StringConstraints(strip_whitespace=True, max_length=60)] = ""
    leader_point: bool = False


class ImportForm(Form):
    """The text of a CSV file."""

    csv: str


async def list_stores(request: Request) -> Response:
    """GET /v1/stores → {stores}."""
    await security.staff(request, "store.list")
    async with request.state.db.begin() as session:
        found = await queries.stores(session)
    return _json({"stores": [queries.store_view(store) for store in found]})


async def create_store(request: Request) -> Response:
    """POST /v1/stores → the store."""
    await security.staff(request, "store.create")
    form = await security.body(request, StoreForm)
    async with request.state.db.begin() as session:
        store = await actions.create_store(session, Location(**form.model_dump()))
    return _json(queries.store_view(store), 201)


async def import_goods(request: Request) -> Response:
    """POST /v1/import {csv} → {categories, products, skus, stock}; no `rows` {errors} and nothing changed."""
    await security.staff(request, "import")
    form = await security.body(request, ImportForm, limit=IMPORT_BYTES)
    async with request.state.db.begin() as session:
        made = await import_csv(session, form.csv.encode(), utc_now())
    return _json(made.body())


async def catalog(request: Request) -> Response:
    """GET /v1/catalog → {skus: [{id, code, name, product, category, picture, fen, stock}]}."""
    await security.staff(request, "catalog")
    async with request.state.db.begin() as session:
        skus = await active_skus(session)
        stock = await queries.levels(session)
    return _json({"skus": [_sku(sku, stock.get(sku.id, {})) for sku in skus]})


def _sku(sku: SkuFacts, stock: dict[str, dict[str, int]]) -> dict[str, Any]:
    product = {"code": sku.product_code, "name": {"zh": sku.product_zh, "en": sku.product_en}}
    shown = {"id": sku.id, "code": sku.code, "name": sku.name, "title": sku.title, "product": product}
    return shown | {"category": sku.category, "picture": sku.picture, "fen": sku.fen, "stock": stock}


routes = [
    Route("/v1/stores", list_stores, methods=["GET"]),
    Route("/v1/stores", create_store, methods=["POST"]),
    Route("/v1/import", import_goods, methods=["POST"]),
    Route("/v1/catalog", catalog, methods=["GET"]),
]
