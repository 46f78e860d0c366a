from __future__ import annotations

import time

import pytest

from live.stock import rules
from live.stock.rules import COLUMNS, MAX_BYTES, Fault, Row

HEADER = ",".join([*COLUMNS, "stock:a", "stock:b"])
STORES = {"a", "b"}


def line(**changed: str) -> str:
    cells = {
        "category": "fruit",
        "category_zh": "水果",
        "category_en": "Fruit",
        "product": "pear",
        "product_zh": "梨",
        "product_en": "Pear",
        "sku": "pear-1",
        "sku_zh": "一个",
        "sku_en": "one",
        "price": "19.90",
        "picture": "/media/products/pear.svg",
        "a": "5",
        "b": "",
    } | changed
    return ",".join(cells.values())


def read(*lines: str, header: str = HEADER) -> rules.Sheet:
    return rules.read("\n".join([header, *lines]).encode(), STORES)


@pytest.mark.parametrize("prefix", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_row_is_read_exactly_with_or_without_a_mark_of_utf_8(prefix: bytes, end: str) -> None:
    sheet = rules.read(prefix + end.join([HEADER, line(), ""]).encode(), STORES)
    assert sheet.faults == []
    assert sheet.rows == [
        Row(2, {**dict(zip(COLUMNS[:9], line().split(",")[:9], strict=True))}, 1990, "/media/products/pear.svg", {"a": 5})
    ]


def test_a_chinese_header_is_read_in_any_order() -> None:
    sheet = read(
        "3,1.5,fruit,水果,Fruit,pear,梨,Pear,pear-1,一个,one,",
        header="库存：a,价格,类目,类目中文,类目英文,商品,商品中文,商品英文,规格,规格中文,规格英文,图片",
    )
    assert sheet.faults == []
    assert (sheet.rows[0].fen, sheet.rows[0].stock, sheet.rows[0].texts["sku_zh"]) == (150, {"a": 3}, "一个")


@pytest.mark.parametrize(
    ("yuan", "fen"), [("0.01", 1), ("0.1", 10), ("1", 100), ("19.9", 1990), ("4.35", 435), ("1.15", 115), ("9999999.99", 999_999_999)]
)
def test_yuan_become_fen_without_a_float(yuan: str, fen: int) -> None:
    assert read(line(price=yuan)).rows[0].fen == fen


@pytest.mark.parametrize(
    ("field", "cell", "why"),
    [
        ("price", "0", "not above 0"),
        ("price", "0.00", "not above 0"),
        ("price", "-1", "not above 0"),
        ("price", "1.999", "more than 2 decimals"),
        ("price", "1e3", "not a price in yuan, such as 19.90"),
        ("price", "¥5", "not a price in yuan, such as 19.90"),
        ("price", "", "not a price in yuan, such as 19.90"),
        ("price", "１９", "not a price in yuan, such as 19.90"),
        ("price", "nan", "not a price in yuan, such as 19.90"),
        ("stock:a", "-1", "not a whole number from 0 to 9999999"),
        ("stock:a", "1.5", "not a whole number from 0 to 9999999"),
        ("stock:a", "many", "not a whole number from 0 to 9999999"),
        ("stock:a", "10000000", "not a whole number from 0 to 9999999"),
        ("sku_zh", "=1+1", "begins with = + - or @"),
        ("sku_zh", " +1", "begins with = + - or @"),
        ("product_en", "-1", "begins with = + - or @"),
        ("category_zh", "@SUM(A1)", "begins with = + - or @"),
        ("picture", "=x", "begins with = + - or @"),
        ("sku", "=x", "begins with = + - or @"),
        ("sku_zh", "a\u202eb", "contains an invisible character"),
        ("sku_zh", "a\x00b", "contains an invisible character"),
        ("sku_zh", "长" * 61, "more than 60 characters"),
        ("sku_zh", "", "empty"),
        ("sku", "", "a code is 1 to 32 of A-Z a-z 0-9 _ . -"),
        ("sku", "a b", "a code is 1 to 32 of A-Z a-z 0-9 _ . -"),
        ("category", "x" * 33, "a code is 1 to 32 of A-Z a-z 0-9 _ . -"),
        ("picture", "http://evil.example/x.svg", "not a path under /media/ or /static/"),
        ("picture", "/media/../secrets", "not a path under /media/ or /static/"),
        ("picture", "/media/" + "x" * 200, "more than 200 characters"),
    ],
)
def test_a_wrong_cell_is_named_with_its_row(field: str, cell: str, why: str) -> None:
    sheet = read(line(sku="other"), line(**{field.removeprefix("stock:"): cell}))
    assert Fault(3, field, why) in sheet.faults
    assert [row.number for row in sheet.rows] == [2]


def test_the_faults_of_all_rows_are_found_at_once() -> None:
    sheet = read(line(price="0", a="-1"), line(sku="ok"), line(sku="x", price="free"), "a,b")
    assert sheet.faults == [
        Fault(2, "price", "not above 0"),
        Fault(2, "stock:a", "not a whole number from 0 to 9999999"),
        Fault(4, "price", "not a price in yuan, such as 19.90"),
        Fault(5, "row", "2 cells instead of 13"),
    ]
    assert [row.number for row in sheet.rows] == [3]


def test_a_sku_twice_and_a_product_described_in_two_ways_are_refused() -> None:
    sheet = read(line(), line(), line(sku="pear-2", product_zh="雪梨", picture=""), line(sku="pear-3", category_en="Fruits"))
    assert sheet.faults == [
        Fault(3, "sku", "the same SKU as in row 2"),
        Fault(4, "product_zh", "differs from row 2"),
        Fault(4, "picture", "differs from row 2"),
        Fault(5, "category_en", "differs from row 2"),
    ]


@pytest.mark.parametrize(
    ("header", "fault"),
    [
        (HEADER.replace("price", "pric"), Fault(1, "price", "column is missing")),
        (HEADER.replace("price", "pric"), Fault(1, "pric", "unknown column")),
        (HEADER + ",price", Fault(1, "price", "column is there twice")),
        (HEADER + ",stock:nowhere", Fault(1, "stock:nowhere", "unknown store")),
        (HEADER + ",stock:a", Fault(1, "stock:a", "column is there twice")),
        (HEADER + ",", Fault(1, "(empty)", "unknown column")),
        (HEADER + "," * 500, Fault(1, "file", "more than 500 columns")),
    ],
)
def test_a_wrong_header_is_named_and_no_row_is_read(header: str, fault: Fault) -> None:
    sheet = read(line(), header=header)
    assert fault in sheet.faults
    assert sheet.rows == []


def test_a_file_that_is_no_csv_in_utf_8_says_so() -> None:
    assert rules.read(b"", STORES).faults == [Fault(1, "file", "empty")]
    gbk = (HEADER + "\n").encode() + line().encode("gbk")
    assert rules.read(gbk, STORES).faults == [Fault(2, "file", "not UTF-8: save it as CSV UTF-8")]
    assert read(line(sku_zh='"open')).faults == [Fault(2, "file", "not CSV: unexpected end of data")]


def test_blank_lines_are_skipped_and_rows_keep_the_number_a_spreadsheet_shows() -> None:
    assert [row.number for row in read("", line(), "," * 12, line(sku="b")).rows] == [3, 5]


def test_too_many_rows_and_bytes_are_refused() -> None:
    sheet = read(*(line(sku=f"s{n}") for n in range(5001)))
    assert sheet.faults == [Fault(5002, "file", "more than 5000 rows")]
    assert rules.read(b"x" * (MAX_BYTES + 1), STORES).faults == [Fault(1, "file", "more than 2 MiB")]


@pytest.mark.parametrize("raw", [b"," * MAX_BYTES, b"\n" * MAX_BYTES, b'"' * MAX_BYTES, (HEADER + "\n" + "x,\n" * 600_000).encode()])
def test_a_hostile_file_of_2_mib_costs_little(raw: bytes) -> None:
    began = time.monotonic()
    assert rules.read(raw[:MAX_BYTES], STORES).faults
    assert time.monotonic() - began < 5
