"""The import file: what a row must be. Pure: text in, rows and errors out; what only the database knows is checked by importer.py."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from live.people.rules import invisible

MAX_BYTES = 2 * 1024 * 1024  # 5,000 rows at ~200 bytes are 1 MiB; twice that leaves room for long names
MAX_ROWS = 5_000  # one transaction of a second or two; a larger shop imports in parts
MAX_COLUMNS = 500  # ours, and a store each
MAX_NAME = 60  # characters; two lines on a phone
MAX_PICTURE = 200

TEXTS = ("category", "category_zh", "category_en", "product", "product_zh", "product_en", "sku", "sku_zh", "sku_en")
COLUMNS = (*TEXTS, "price", "picture")
CODES = frozenset({"category", "product", "sku"})
CHINESE = {
    "类目": "category",
    "类目中文": "category_zh",
    "类目英文": "category_en",
    "商品": "product",
    "商品中文": "product_zh",
    "商品英文": "product_en",
    "规格": "sku",
    "规格中文": "sku_zh",
    "规格英文": "sku_en",
    "价格": "price",
    "图片": "picture",
}
CHINESE_STOCK = "库存"

_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
_YUAN = re.compile(r"([0-9]{1,7})(?:\.([0-9]{1,2}))?")
_UNITS = re.compile(r"[0-9]{1,7}")  # up to 9,999,999 units per store; more is a slip of the finger
_PICTURE = re.compile(r"/(?:media|static)/[A-Za-z0-9_./-]+")


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one cell. `row`: as a spreadsheet numbers it, the header being 1."""

    row: int
    field: str
    why: str

    def body(self) -> dict[str, Any]:
        """As the wire shows it."""
        return {"row": self.row, "field": self.field, "why": self.why}


@dataclass(frozen=True, slots=True)
class Row:
    """One SKU of the file. `fen`: price of one; `stock`: units per store, only where the cell is filled."""

    number: int
    texts: Mapping[str, str]
    fen: int
    picture: str
    stock: Mapping[str, int]


@dataclass(slots=True)
class Sheet:
    """What was read: rows that are right by themselves, and every fault found."""

    rows: list[Row] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


def read(raw: bytes, stores: Collection[str]) -> Sheet:
    """The rows of a CSV file in UTF-8 (a BOM is allowed). `stores`: codes a stock column may name."""
    sheet = Sheet()
    if len(raw) > MAX_BYTES:
        sheet.faults.append(Fault(1, "file", f"more than {MAX_BYTES // 1024 // 1024} MiB"))
        return sheet
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        sheet.faults.append(Fault(raw[: error.start].count(b"\n") + 1, "file", "not UTF-8: save it as CSV UTF-8"))
        return sheet
    lines = _lines(text, sheet.faults)
    header = next(lines, None)
    if header is None:
        sheet.faults.append(Fault(1, "file", "empty"))
        return sheet
    if len(header[1]) > MAX_COLUMNS:
        sheet.faults.append(Fault(1, "file", f"more than {MAX_COLUMNS} columns"))
        return sheet
    names = [_column(cell) for cell in header[1]]
    sheet.faults.extend(_header_faults(names, stores))
    if sheet.faults:
        return sheet  # with a wrong header every row would be wrong in the same way
    seen = _Seen()
    taken = 0
    for number, cells in lines:
        if not any(cell.strip() for cell in cells):
            continue
        taken += 1
        if taken > MAX_ROWS:
            sheet.faults.append(Fault(number, "file", f"more than {MAX_ROWS} rows"))
            break
        _take(sheet, seen, number, names, cells)
    return sheet


def _lines(text: str, faults: list[Fault]) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    number = 0
    while True:
        number += 1
        try:
            yield number, next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            faults.append(Fault(number, "file", f"not CSV: {error}"))  # a broken quote swallows what follows it
            return


def _column(cell: str) -> str:
    name = unicodedata.normalize("NFKC", cell).strip()  # a full-width colon becomes a plain one
    head, colon, store = name.partition(":")
    if colon and head.strip().lower() in ("stock", CHINESE_STOCK):
        return f"stock:{store.strip()}"
    return CHINESE.get(name, name.lower())


def _header_faults(names: list[str], stores: Collection[str]) -> list[Fault]:
    faults = [Fault(1, name, "column is missing") for name in COLUMNS if name not in names]
    faults += [Fault(1, name, "column is there twice") for name in dict.fromkeys(names) if names.count(name) > 1]
    for name in dict.fromkeys(names):
        if name.startswith("stock:"):
            if name.removeprefix("stock:") not in stores:
                faults.append(Fault(1, name, "unknown store"))
        elif name not in COLUMNS:
            faults.append(Fault(1, name or "(empty)", "unknown column"))
    return faults


@dataclass(slots=True)
class _Seen:
    """SKUs and the first description of each category and product, with their rows."""

    skus: dict[str, int] = field(default_factory=dict)
    same: dict[tuple[str, str], tuple[int, dict[str, str]]] = field(default_factory=dict)


def _take(sheet: Sheet, seen: _Seen, number: int, names: list[str], cells: list[str]) -> None:
    if len(cells) != len(names):
        sheet.faults.append(Fault(number, "row", f"{len(cells)} cells instead of {len(names)}"))
        return
    given = {name: cell.strip() for name, cell in zip(names, cells, strict=True)}
    wrong = {name: why for name in given if (why := _wrong(name, given[name]))}
    wrong |= {name: why for name, why in _differs(seen, number, given).items() if name not in wrong}
    if wrong:
        sheet.faults.extend(Fault(number, name, why) for name, why in wrong.items())
        return
    stock = {name.removeprefix("stock:"): int(cell) for name, cell in given.items() if name.startswith("stock:") and cell}
    texts = {name: given[name] for name in TEXTS}
    sheet.rows.append(Row(number, texts, _fen(given["price"]), given["picture"], stock))


def _wrong(name: str, cell: str) -> str | None:
    if name == "price":
        return _price_fault(cell)
    if name.startswith("stock:"):
        return None if not cell or _UNITS.fullmatch(cell) else "not a whole number from 0 to 9999999"
    if cell.startswith(("=", "+", "-", "@")):
        return "begins with = + - or @"  # a spreadsheet that opens our exports would run it
    if not cell.isprintable() and any(map(invisible, cell)):
        return "contains an invisible character"
    if name == "picture":
        return _picture_fault(cell)
    if name in CODES:
        return None if _CODE.fullmatch(cell) else "a code is 1 to 32 of A-Z a-z 0-9 _ . -"
    if len(cell) > MAX_NAME:
        return f"more than {MAX_NAME} characters"
    return None if cell else "empty"


def _picture_fault(cell: str) -> str | None:
    if len(cell) > MAX_PICTURE:
        return f"more than {MAX_PICTURE} characters"
    if not cell or (_PICTURE.fullmatch(cell) and ".." not in cell):
        return None
    return "not a path under /media/ or /static/"


def _price_fault(cell: str) -> str | None:
    if _YUAN.fullmatch(cell):
        return None if _fen(cell) > 0 else "not above 0"
    if re.fullmatch(r"[0-9]{1,7}\.[0-9]{3,}", cell):
        return "more than 2 decimals"
    if re.fullmatch(r"-[0-9]+(\.[0-9]+)?", cell):
        return "not above 0"
    return "not a price in yuan, such as 19.90"


def _fen(cell: str) -> int:
    """Yuan as written → fen, without a float in between."""
    match = _YUAN.fullmatch(cell)
    assert match is not None
    return int(match[1]) * 100 + int((match[2] or "").ljust(2, "0"))


def _differs(seen: _Seen, number: int, given: Mapping[str, str]) -> dict[str, str]:
    """One SKU twice, or a category or product described in two ways: which row would be right?"""
    found: dict[str, str] = {}
    if given["sku"] and (first := seen.skus.setdefault(given["sku"], number)) != number:
        found["sku"] = f"the same SKU as in row {first}"
    groups = {"category": ("category_zh", "category_en"), "product": ("category", "product_zh", "product_en", "picture")}
    for key, names in groups.items():
        described = {name: given[name] for name in names}
        row, before = seen.same.setdefault((key, given[key]), (number, described))
        found |= {name: f"differs from row {row}" for name in names if before[name] != described[name]}
    return found
