"""Pictures of the demo shop as SVG files under home/media: one per product, and the poster shown before the show begins."""

from __future__ import annotations

import re
from pathlib import Path

from live.demo.drawings import DRAWINGS, linear, placed

GROUNDS = {  # product → background from top to bottom; a warm or cool one, whichever lets the product stand out
    "strawberry": ("#ffe9e6", "#ffc9c2"),
    "mandarin": ("#fff6dc", "#ffdf9e"),
    "blueberry": ("#e9eefc", "#c2cff2"),
    "shrimp": ("#e3f5f7", "#b3dde6"),
    "crab": ("#fdf0dc", "#f3d3a2"),
    "beef": ("#f4ece4", "#dfcbb8"),
    "yogurt": ("#e9f6f0", "#bfe0d2"),
    "croissant": ("#fff3df", "#f5d6a4"),
    "milk": ("#e6f3fb", "#b9dbf0"),
    "candle": ("#f3e6d8", "#d8b48c"),
    "mug": ("#eef3f2", "#c9d9d6"),
    "towel": ("#eaf1ea", "#cadccd"),
}
ON_THE_TABLE = (("croissant", 20, 1.0), ("strawberry", 262, 1.0), ("crab", 520, 0.96), ("milk", 738, 1.0), ("candle", 930, 0.94))


def draw(home: Path) -> None:
    """Write every picture. The same text each time, so drawing again changes nothing."""
    folder = home / "media" / "products"
    folder.mkdir(parents=True, exist_ok=True)
    for code in DRAWINGS:
        (folder / f"{code}.svg").write_text(product(code), encoding="utf-8")
    (home / "media" / "poster.svg").write_text(poster(), encoding="utf-8")


def product(code: str) -> str:
    """A product on its ground, 400 × 400."""
    top, bottom = GROUNDS[code]
    ground = (
        f'<defs>{linear("ground", top, bottom)}</defs><rect width="400" height="400" fill="url(#ground)"/>'
        '<circle cx="200" cy="190" r="168" fill="#fff" opacity=".35"/>'
        '<ellipse cx="200" cy="352" rx="260" ry="74" fill="#fff" opacity=".3"/>'
    )
    return _page(400, 400, ground + DRAWINGS[code]())


def poster() -> str:
    """The stall of the show in the evening, 1280 × 720."""
    defs = linear("dusk", "#2b2350", "#e9736a") + linear("table", "#c98d5a", "#8d5a38") + linear("cloth", "#fff3e0", "#f3d9b8")
    stripes = "".join(
        f'<path d="M{x} 84H{x + 80}V170A40 40 0 0 1 {x} 170Z" fill="{"#e8574f" if n % 2 == 0 else "#fff6ea"}"/>'
        for n, x in enumerate(range(0, 1280, 80))
    )
    bulbs = "".join(
        f'<circle cx="{x}" cy="{y}" r="26" fill="#ffd88a" opacity=".25"/><circle cx="{x}" cy="{y}" r="10" fill="#ffe9b8"/>'
        for x, y in ((90, 252), (250, 276), (420, 290), (640, 296), (860, 290), (1030, 276), (1190, 252))
    )
    wire = '<path d="M0 220Q640 356 1280 220" stroke="#3a2b4d" stroke-width="4" fill="none"/>'
    things = "".join(placed(_own_names(code, DRAWINGS[code]()), x, 560 - 300 * size, size * 0.88) for code, x, size in ON_THE_TABLE)
    table = (
        '<rect y="548" width="1280" height="172" fill="url(#table)"/>'
        '<path d="M0 548H1280V600Q1240 636 1200 600T1120 600T1040 600T960 600T880 600T800 600T720'
        ' 600T640 600T560 600T480 600T400 600T320 600T240 600T160 600T80 600T0 600Z" fill="url(#cloth)"/>'
    )
    names = (
        '<g text-anchor="middle" font-family="PingFang SC,Noto Sans CJK SC,Microsoft YaHei,sans-serif" fill="#fff">'
        '<text x="640" y="672" font-size="48" font-weight="700" letter-spacing="10">鲜活生活馆</text>'
        '<text x="640" y="706" font-size="22" letter-spacing="4">Fresh &amp; Home · live</text></g>'
    )
    beam = '<rect width="1280" height="84" fill="#b63c3a"/><rect y="76" width="1280" height="10" fill="#7c2730"/>'
    body = (
        f'<defs>{defs}</defs><rect width="1280" height="720" fill="url(#dusk)"/>'
        '<circle cx="640" cy="470" r="330" fill="#ffcf9a" opacity=".28"/>'
    )
    return _page(1280, 720, f"{body}{wire}{bulbs}{beam}{stripes}{table}{things}{names}")


def _own_names(code: str, drawing: str) -> str:
    """Gradient names made different per product: ids are one space per file."""
    drawing = re.sub(r'id="(\w+)"', rf'id="{code}-\1"', drawing)
    return re.sub(r"url\(#(\w+)\)", rf"url(#{code}-\1)", drawing)


def _page(width: int, height: int, body: str) -> str:
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">{body}</svg>\n'
