"""What each product of the demo shop looks like: SVG groups on a field of 400 × 400, drawn by code. Colours stand where they are used.

`pictures.py` puts them on a ground and into files, and several of them onto the poster.
"""

from __future__ import annotations

import math
from collections.abc import Callable


def radial(name: str, light: str, dark: str, at: str = "35% 30%") -> str:
    """A ball's shading: light from the upper left."""
    x, y = at.split()
    return (
        f'<radialGradient id="{name}" cx="{x}" cy="{y}" r="85%"><stop offset="0" stop-color="{light}"/>'
        f'<stop offset="1" stop-color="{dark}"/></radialGradient>'
    )


def linear(name: str, top: str, bottom: str, slant: float = 0) -> str:
    """From top to bottom; `slant` 1: from left to right."""
    return (
        f'<linearGradient id="{name}" x1="0" y1="0" x2="{slant:g}" y2="{1 - slant:g}"><stop offset="0" stop-color="{top}"/>'
        f'<stop offset="1" stop-color="{bottom}"/></linearGradient>'
    )


def shadow(x: float, y: float, width: float, height: float = 16) -> str:
    """Where a thing touches the table."""
    return f'<ellipse cx="{x}" cy="{y}" rx="{width}" ry="{height}" fill="#3b2a1a" opacity=".16"/>'


def placed(body: str, x: float, y: float, scale: float = 1, turn: float = 0, mirror: bool = False) -> str:
    """A group mirrored, scaled, turned (degrees) and moved, in this order."""
    return f'<g transform="translate({x:g} {y:g}) rotate({turn:g}) scale({-scale if mirror else scale:g} {scale:g})">{body}</g>'


def leaf(x: float, y: float, turn: float, length: float = 60, colour: str = "#5da24a") -> str:
    """A leaf with its vein, growing from (x, y)."""
    w = length / 3
    path = f"M0 0 C{w:g} {-w:g} {length - w:g} {-w:g} {length:g} 0 C{length - w:g} {w:g} {w:g} {w:g} 0 0Z"
    return placed(
        f'<path d="{path}" fill="{colour}"/><path d="M4 0H{length - 6:g}" stroke="#fff" stroke-opacity=".4" stroke-width="2"/>',
        x,
        y,
        1,
        turn,
    )


def strawberry() -> str:
    """Red hearts with seeds, in a white bowl."""
    seeds = [(-24, -14), (0, -18), (24, -14), (-34, 8), (-12, 4), (12, 4), (34, 8), (-20, 26), (0, 24), (20, 26), (-8, 46), (8, 46)]
    dots = "".join(f'<ellipse cx="{x}" cy="{y}" rx="2.6" ry="4.4" fill="#ffe08a"/>' for x, y in seeds)
    crown = "".join(leaf(0, -38, turn, 34, "#4f9a3f") for turn in (-165, -130, -90, -50, -15))
    one = (
        '<path d="M0 -40C30 -55 62 -30 50 8C42 38 14 62 0 70C-14 62 -42 38 -50 8C-62 -30 -30 -55 0 -40Z" fill="url(#berry)"/>'
        '<path d="M-36 -22C-30 -36 -16 -38 -10 -36" stroke="#fff" stroke-opacity=".5" stroke-width="7"'
        f' stroke-linecap="round" fill="none"/>{dots}{crown}'
    )
    bowl = (
        '<path d="M62 238H338C338 312 282 344 200 344S62 312 62 238Z" fill="url(#bowl)"/>'
        '<path d="M62 238H338" stroke="#fff" stroke-width="10" stroke-linecap="round"/>'
    )
    spots = [(118, 190, 0.9, -24), (282, 190, 0.9, 22), (166, 132, 0.95, -8), (238, 136, 0.9, 14), (200, 206, 1.08, 2)]
    berries = "".join(placed(one, x, y, size, turn) for x, y, size, turn in spots)
    defs = radial("berry", "#ff7a6b", "#d3202f") + linear("bowl", "#ffffff", "#e3dcd6")
    return f"<defs>{defs}</defs>{shadow(200, 346, 120)}{berries}{bowl}"


def mandarin() -> str:
    """A whole one with its leaves and a half that shows the segments."""
    segments = "".join(
        f'<path d="M0 0L{60 * math.cos(a - 0.34):.1f} {60 * math.sin(a - 0.34):.1f}A62 62 0 0 1'
        f' {60 * math.cos(a + 0.34):.1f} {60 * math.sin(a + 0.34):.1f}Z"'
        ' fill="url(#flesh)" stroke="#ffe9c7" stroke-width="5" stroke-linejoin="round"/>'
        for a in (math.tau * step / 8 for step in range(8))
    )
    half = f'<circle r="84" fill="#f68b1f"/><circle r="76" fill="#fff1d8"/>{segments}'
    pores = "".join(
        (
            f'<circle cx="{math.cos(n * 2.4) * 11 * math.sqrt(n):.1f}" cy="{math.sin(n * 2.4) * 11 * math.sqrt(n):.1f}" r="2"'
            ' fill="#d96b0b" opacity=".4"/>'
        )
        for n in range(2, 58)
    )
    whole = (
        f'<circle r="102" fill="url(#peel)"/>{pores}<ellipse cx="-38" cy="-46" rx="26" ry="15" fill="#fff" opacity=".35"'
        ' transform="rotate(-35 -38 -46)"/>'
    )
    top = (
        '<path d="M0 -92C2 -106 6 -114 12 -122" stroke="#7a5a32" stroke-width="7" stroke-linecap="round"/>'
        + leaf(4, -98, -28, 92)
        + leaf(-2, -98, 200, 78, "#75b65d")
    )
    defs = radial("peel", "#ffc247", "#f07c0e") + radial("flesh", "#ffb648", "#ff8f1c", "50% 50%")
    return f"<defs>{defs}</defs>{shadow(160, 314, 104)}{shadow(284, 330, 86)}{placed(whole + top, 158, 214)}{placed(half, 278, 246, 1, 12)}"


def blueberry() -> str:
    """A punnet full of them."""
    crown = "".join(f'<path d="M0 0L-4 -9L4 -9Z" fill="#25336f" transform="rotate({turn})"/>' for turn in range(0, 360, 72))
    one = f'<circle r="31" fill="url(#blue)"/><ellipse cx="-10" cy="-13" rx="9" ry="6" fill="#fff" opacity=".4"/>{placed(crown, 7, 5)}'
    rows = [(5, 250, 62), (4, 204, 60), (3, 158, 58), (2, 118, 56)]
    berries = "".join(
        placed(one, 200 + (n - (count - 1) / 2) * gap, y + (n % 2) * 7, 1, n * 50 + y)
        for count, y, gap in reversed(rows)
        for n in range(count)
    )
    ribs = "".join(
        f'<path d="M{x} 252L{200 + (x - 200) * 0.86:.0f} 334" stroke="#b68a55" stroke-width="5" opacity=".55"/>' for x in range(70, 340, 26)
    )
    box = f'<path d="M44 244H356L322 344H78Z" fill="url(#wood)"/>{ribs}<rect x="38" y="236" width="324" height="22" rx="8" fill="#e8c391"/>'
    defs = radial("blue", "#7f95e0", "#2c3c86") + linear("wood", "#dcb27a", "#c3935a")
    return f"<defs>{defs}</defs>{shadow(200, 346, 140)}{berries}{leaf(252, 98, -22, 64)}{leaf(246, 100, -80, 48, '#7cba62')}{box}"


def shrimp() -> str:
    """Two curled prawns on ice, with a slice of lemon."""
    rings = "".join(
        (
            f'<path d="M{70 * math.cos(a):.1f} {70 * math.sin(a):.1f}L{116 * math.cos(a):.1f} {116 * math.sin(a):.1f}"'
            ' stroke="#e2663f" stroke-width="5" stroke-linecap="round"/>'
        )
        for a in (math.radians(d) for d in range(-150, 70, 30))
    )
    legs = "".join(
        (
            f'<path d="M{72 * math.cos(a):.1f} {72 * math.sin(a):.1f}L{44 * math.cos(a + 0.2):.1f}'
            f' {44 * math.sin(a + 0.2):.1f}" stroke="#f2936b" stroke-width="6" stroke-linecap="round"/>'
        )
        for a in (math.radians(d) for d in range(-165, 40, 24))
    )
    tail = '<path d="M38 88L-18 118L-8 84Z" fill="#f0683f"/><path d="M40 96L2 146L36 126Z" fill="#e2552f"/>'
    feelers = (
        '<path d="M-84 -4C-150 -10 -150 80 -120 120M-80 4C-130 20 -118 90 -84 128" stroke="#d9542f" stroke-width="4"'
        ' fill="none" stroke-linecap="round"/>'
    )
    body = '<path d="M-93 4A93 93 0 1 1 40 84" fill="none" stroke="url(#shell)" stroke-width="52" stroke-linecap="round"/>'
    one = (
        f'{feelers}{legs}{body}{rings}{tail}<circle cx="-96" cy="-10" r="8" fill="#2b1a17"/><circle cx="-98" cy="-13" r="2.6" fill="#fff"/>'
    )
    ice = "".join(
        (
            '<rect x="-26" y="-26" width="52" height="52" rx="12" fill="#e9f7fd" stroke="#fff" stroke-width="4" opacity=".9"'
            f' transform="translate({x} {y}) rotate({t})"/>'
        )
        for x, y, t in ((76, 300, 12), (132, 320, -14), (196, 312, 20), (258, 322, -8), (318, 300, 15), (104, 268, 30), (296, 262, 38))
    )
    wedges = "".join(f'<path d="M0 0L-14 -36A38 38 0 0 1 14 -36Z" fill="#ffe36b" transform="rotate({t})"/>' for t in range(0, 360, 60))
    lemon = f'<circle r="52" fill="#f5c518"/><circle r="45" fill="#fffbe0"/>{wedges}'
    plate = '<ellipse cx="200" cy="312" rx="176" ry="48" fill="#fff"/><ellipse cx="200" cy="306" rx="150" ry="36" fill="#d9eef7"/>'
    defs = linear("shell", "#ffb58f", "#f4774a", 1)
    prawns = placed(one, 232, 172, 0.82, 18) + placed(one, 164, 212)
    return f"<defs>{defs}</defs>{shadow(200, 352, 150)}{plate}{ice}{placed(lemon, 316, 232, 1, 14)}{prawns}"


def crab() -> str:
    """A hairy crab from the front, tied with straw."""
    legs = ""
    for side in (-1, 1):
        for n, (dx, dy) in enumerate(((118, -34), (140, 8), (132, 52), (104, 92))):
            knee, foot = (side * (74 + n * 4), -6 + n * 16), (side * dx, dy + 18)
            legs += (
                f'<path d="M{side * 60} {10 + n * 10}Q{knee[0] + side * 40} {knee[1] - 34} {foot[0]} {foot[1]}" stroke="#b5602c"'
                f' stroke-width="{17 - n}" fill="none" stroke-linecap="round"/>'
            )
    claw = (
        '<path d="M0 0C-34 -10 -44 -56 -14 -78C-8 -60 2 -52 12 -50C14 -62 22 -74 34 -80C56 -50 42 -8 0 0Z"'
        ' fill="url(#claw)"/><ellipse cx="-4" cy="-8" rx="22" ry="13" fill="#6d4a23"/>'
    )
    claws = placed(claw, -104, -46, 1, -24) + placed(claw, 104, -46, 1, 24, mirror=True)
    arms = "".join(
        f'<path d="M{s * 66} -8Q{s * 112} -14 {s * 104} -48" stroke="#b5602c" stroke-width="24" fill="none" stroke-linecap="round"/>'
        for s in (-1, 1)
    )
    shell = '<path d="M-92 6C-92 -48 -46 -70 0 -70S92 -48 92 6C92 56 44 82 0 82S-92 56 -92 6Z" fill="url(#crust)"/>'
    marks = (
        '<path d="M-42 -26C-28 -6 -28 16 -42 36M42 -26C28 -6 28 16 42 36M-14 44H14" stroke="#8c3f16" stroke-width="6"'
        ' stroke-linecap="round" fill="none" opacity=".5"/>'
    )
    eyes = "".join(
        (
            f'<path d="M{s * 24} -64V-88" stroke="#b5602c" stroke-width="8"/>'
            f'<circle cx="{s * 24}" cy="-92" r="11" fill="#2b1a12"/><circle cx="{s * 24 - 3}" cy="-95" r="3.4" fill="#fff"/>'
        )
        for s in (-1, 1)
    )
    straw = '<path d="M-96 20C-40 34 40 34 96 20M-94 32C-40 46 40 46 94 32" stroke="#d9c27a" stroke-width="7" fill="none"/>'
    defs = radial("crust", "#f5a04d", "#c75a1d") + radial("claw", "#ef9445", "#bd531c")
    return f"<defs>{defs}</defs>{shadow(200, 322, 140, 20)}{placed(legs + arms + claws + shell + marks + straw + eyes, 200, 222, 1.12)}"


def beef() -> str:
    """A marbled steak on a board, with rosemary."""
    outline = "M92 186C96 124 166 106 226 116C292 124 330 158 318 212C308 262 252 262 214 282C170 306 120 300 100 262C88 236 90 212 92 186Z"
    veins = (
        "M130 182C156 170 174 186 196 172S244 148 268 166M122 222C150 208 164 226 190 216S246 190 290 204M138 258C160 244"
        " 178 254 204 242S236 232 258 236M176 150C186 166 180 188 190 204M238 144C232 168 246 190 240 212"
    )
    sprig = '<path d="M0 0C30 -34 70 -60 112 -72" stroke="#5b7a3c" stroke-width="6" fill="none" stroke-linecap="round"/>' + "".join(
        leaf(10 + n * 13, -8 - n * 9, side * 58 - 35, 34, "#6f9a4c") for n in range(8) for side in (-1, 1)
    )
    board = (
        '<rect x="36" y="148" width="328" height="184" rx="34" fill="url(#board)"/>'
        '<circle cx="334" cy="300" r="13" fill="#8d5f34"/>'
        '<path d="M60 178H330M56 214H346M60 300H300" stroke="#b98550" stroke-width="3" opacity=".6"/>'
    )
    pepper = "".join(
        f'<circle cx="{x}" cy="{y}" r="4" fill="#3d2f2a"/>'
        for x, y in ((70, 276), (82, 294), (98, 312), (318, 180), (340, 196), (328, 166))
    )
    steak = (
        f'<path d="{outline}" fill="#8f1d2c" transform="translate(0 12)"/><path d="{outline}" fill="#f6e3d3"/>'
        f'<path d="{outline}" fill="url(#meat)" transform="translate(18 18) scale(.915)"/>'
        f'<path d="{veins}" stroke="#fbe4dc" stroke-width="6" fill="none" stroke-linecap="round" opacity=".85"/>'
    )
    defs = radial("meat", "#e0556a", "#b1273d", "45% 40%") + linear("board", "#dba56a", "#b97d45")
    return f"<defs>{defs}</defs>{shadow(200, 338, 158)}{board}{pepper}{steak}{placed(sprig, 222, 320, 0.9)}"


def yogurt() -> str:
    """Two cups, one open with fruit on it."""
    cup = (
        '<path d="M-66 -50H66L52 92Q50 102 40 102H-40Q-50 102 -52 92Z" fill="url(#cup)"/>'
        '<path d="M-62 -12H62L55 58H-55Z" fill="#7db9a6"/>'
        '<path d="M-22 10C-8 26 8 26 22 10M-22 30H22" stroke="#fff" stroke-width="6" stroke-linecap="round" fill="none"/>'
    )
    lid = '<rect x="-74" y="-66" width="148" height="20" rx="8" fill="#e9eef0"/><path d="M74 -58C92 -58 96 -48 84 -40" fill="#cfd9dd"/>'
    cream = (
        '<ellipse cy="-50" rx="70" ry="16" fill="#eef1ef"/>'
        '<path d="M-58 -52C-50 -92 -16 -84 -4 -104C6 -82 52 -92 58 -52Z" fill="#fffdf8"/>'
        '<path d="M-34 -66C-10 -78 14 -64 34 -72" stroke="#e9e2d6" stroke-width="5" fill="none" stroke-linecap="round"/>'
    )
    fruit = (
        '<circle cx="-22" cy="-86" r="15" fill="#3d4fa1"/><circle cx="30" cy="-84" r="13" fill="#4c60b8"/>'
        '<circle cx="4" cy="-104" r="16" fill="#d4293a"/><circle cx="-1" cy="-109" r="4" fill="#fff" opacity=".5"/>'
    ) + leaf(14, -114, -40, 34)
    spoon = (
        '<path d="M0 0L66 -120" stroke="#c8a36d" stroke-width="12" stroke-linecap="round"/>'
        '<ellipse cx="-8" cy="16" rx="18" ry="26" fill="#d8b57f" transform="rotate(28 -8 16)"/>'
    )
    defs = linear("cup", "#ffffff", "#dfe6e3", 1)
    things = placed(cup + lid, 138, 222) + placed(spoon, 326, 312, 0.72) + placed(cup + cream + fruit, 258, 234, 1.02)
    return f"<defs>{defs}</defs>{shadow(140, 322, 74)}{shadow(266, 336, 76)}{things}"


def croissant() -> str:
    """A crescent of layers, with one more behind it."""
    parts = ""
    for n in (0, 8, 1, 7, 2, 6, 3, 5, 4):
        a = math.radians(-160 + n * 17.5)
        size = 1 - abs(n - 4) * 0.125
        x, y = 118 * math.cos(a), 96 * math.sin(a) + 60
        turn = math.degrees(a) + 90
        layer = (
            '<ellipse rx="30" ry="60" fill="url(#crumb)"/>'
            '<path d="M-17 -42C-24 -12 -24 14 -17 44M0 -52V52" stroke="#a85f18" stroke-width="4" fill="none"'
            ' stroke-linecap="round" opacity=".5"/><path d="M15 -38C21 -12 21 10 16 34" stroke="#fff1c9" stroke-width="5"'
            ' fill="none" stroke-linecap="round" opacity=".6"/>'
        )
        parts += placed(layer, x, y, size, turn)
    crumbs = "".join(
        f'<circle cx="{x}" cy="{y}" r="{r}" fill="#d99a45"/>'
        for x, y, r in ((84, 334, 5), (108, 346, 3), (310, 340, 5), (288, 350, 3), (206, 350, 4))
    )
    cloth = (
        '<path d="M52 318Q200 274 348 318L366 350Q200 322 34 350Z" fill="#fff" opacity=".85"/>'
        '<path d="M60 334Q200 298 340 334" stroke="#7aa6c9" stroke-width="5" fill="none" opacity=".7"/>'
    )
    defs = linear("crumb", "#f8c873", "#c9781f")
    return (
        f"<defs>{defs}</defs>{cloth}{shadow(200, 318, 136, 18)}{placed(parts, 240, 200, 0.78, 12)}{placed(parts, 184, 262, 1, -4)}{crumbs}"
    )


def milk() -> str:
    """A glass bottle and a full glass."""
    bottle = (
        '<path d="M-26 -150H26V-104C26 -78 58 -68 58 -28V112Q58 130 40 130H-40Q-58 130 -58 112V-28C-58 -68 -26 -78 -26'
        ' -104Z" fill="url(#glass)"/><path d="M-20 -96C-20 -72 -52 -62 -52 -24V110Q-52 124 -38 124H38Q52 124 52'
        ' 110V-24C52 -62 20 -72 20 -96Z" fill="#fffdf7"/>'
        '<rect x="-32" y="-172" width="64" height="30" rx="9" fill="#3f7fb5"/>'
    )
    label = (
        '<rect x="-52" y="-6" width="104" height="84" fill="#4d92c9"/>'
        '<path d="M-52 52Q-26 34 0 52T52 52V78H-52Z" fill="#77c06b"/>'
        '<path d="M0 2C14 22 22 30 22 42A22 22 0 0 1 -22 42C-22 30 -14 22 0 2Z" fill="#fff"/>'
    )
    shine = '<path d="M-40 -20V92" stroke="#fff" stroke-width="8" stroke-linecap="round" opacity=".7"/>'
    tumbler = (
        '<path d="M-52 -60H52L42 78Q41 88 32 88H-32Q-41 88 -42 78Z" fill="url(#glass)"/>'
        '<path d="M-48 -34H48L39 76Q38 82 30 82H-30Q-38 82 -39 76Z" fill="#fffdf7"/>'
        '<ellipse cy="-34" rx="48" ry="9" fill="#f1ede2"/>'
        '<path d="M-36 -14L-30 62" stroke="#fff" stroke-width="7" stroke-linecap="round"/>'
    )
    defs = linear("glass", "#e8f4fb", "#c3dcea", 1)
    things = placed(bottle + label + shine, 156, 204) + placed(tumbler, 280, 250)
    return f"<defs>{defs}</defs>{shadow(158, 332, 74)}{shadow(280, 336, 58)}{things}"


def candle() -> str:
    """A burning one in amber glass, among osmanthus."""
    petal = (
        "".join(f'<ellipse cy="-9" rx="7" ry="10" fill="#ffc93c" transform="rotate({t})"/>' for t in range(0, 360, 90))
        + '<circle r="4" fill="#e08e0b"/>'
    )
    flowers = "".join(
        placed(petal, x, y, s, t)
        for x, y, s, t in (
            (82, 306, 1.1, 10),
            (110, 326, 0.9, 40),
            (64, 330, 0.8, 70),
            (306, 316, 1.1, 25),
            (334, 330, 0.9, 60),
            (318, 290, 0.8, 5),
            (286, 336, 0.8, 45),
        )
    )
    twig = '<path d="M316 336C336 296 346 262 344 224" stroke="#80603a" stroke-width="5" fill="none"/>'
    twig += leaf(338, 270, -150, 62) + leaf(344, 240, -40, 54, "#78b260")
    glow = '<circle cx="200" cy="118" r="104" fill="url(#glow)"/>'
    flame = (
        '<path d="M200 66C226 98 228 122 200 150C172 122 174 98 200 66Z" fill="#ffb02e"/>'
        '<path d="M200 98C212 114 212 130 200 146C188 130 188 114 200 98Z" fill="#fff4c2"/>'
        '<path d="M200 142V176" stroke="#4b3625" stroke-width="6" stroke-linecap="round"/>'
    )
    jar = (
        '<path d="M114 156H286V308Q286 338 256 338H144Q114 338 114 308Z" fill="url(#amber)"/>'
        '<ellipse cx="200" cy="176" rx="80" ry="14" fill="#fff3d6"/>'
        '<ellipse cx="200" cy="156" rx="86" ry="16" fill="none" stroke="#e2a45b" stroke-width="6"/>'
    )
    label = (
        '<rect x="142" y="214" width="116" height="86" rx="8" fill="#fffaf0"/>'
        '<path d="M160 282H240" stroke="#d9b989" stroke-width="5" stroke-linecap="round"/>'
    ) + placed(petal, 200, 248, 1.5, 20)
    defs = linear("amber", "#f2bd76", "#b86f2b", 1) + (
        '<radialGradient id="glow"><stop offset="0" stop-color="#ffd977" stop-opacity=".9"/>'
        '<stop offset="1" stop-color="#ffd977" stop-opacity="0"/></radialGradient>'
    )
    return f"<defs>{defs}</defs>{glow}{shadow(200, 340, 104)}{twig}{jar}{flame}{label}{flowers}"


def mug() -> str:
    """A hand-thrown mug with a running glaze, steaming."""
    handle = (
        '<path d="M278 190C352 176 352 292 270 286" stroke="#e6d5bf" stroke-width="26" fill="none"'
        ' stroke-linecap="round"/><path d="M280 184C346 172 346 284 272 280" stroke="#f6ebdc" stroke-width="8"'
        ' fill="none" stroke-linecap="round"/>'
    )
    body = '<path d="M108 150H292C292 150 294 272 276 314Q268 336 240 336H160Q132 336 124 314C106 272 108 150 108 150Z" fill="url(#clay)"/>'
    glaze = (
        '<path d="M108 150H292C293 180 293 200 291 216C284 240 270 236 264 218C258 202 246 206 244 226C240 262 216 262'
        " 214 232C212 208 198 210 194 226C188 250 170 246 168 224C166 206 152 206 148 222C142 246 116 240 110 214C108 190"
        ' 108 168 108 150Z" fill="url(#glaze)"/><path d="M128 172V204" stroke="#fff" stroke-width="9"'
        ' stroke-linecap="round" opacity=".45"/>'
    )
    rim = (
        '<ellipse cx="200" cy="150" rx="92" ry="20" fill="#2f6e8f"/>'
        '<ellipse cx="200" cy="153" rx="80" ry="14" fill="#6b4226"/>'
        '<ellipse cx="190" cy="151" rx="40" ry="6" fill="#8e5c38"/>'
    )
    specks = "".join(
        f'<circle cx="{132 + (n * 47) % 138}" cy="{262 + (n * 29) % 62}" r="2.4" fill="#a98d6c" opacity=".6"/>' for n in range(26)
    )
    steam = "".join(
        (
            f'<path d="M{x} 118C{x - 22} 92 {x + 22} 74 {x} 44" stroke="#fff" stroke-width="10" fill="none"'
            ' stroke-linecap="round" opacity=".75"/>'
        )
        for x in (168, 204, 240)
    )
    defs = linear("clay", "#f3e6d3", "#d9c3a4", 1) + linear("glaze", "#5fb0cf", "#2c7396")
    return f"<defs>{defs}</defs>{shadow(204, 338, 110)}{steam}{handle}{body}{glaze}{specks}{rim}"


def towel() -> str:
    """A stack of four and a sprig of cotton."""
    stack = ""
    for n, (light, dark) in enumerate((("#f7efe4", "#e3d5c2"), ("#bcd7cf", "#9dc0b5"), ("#f6d2c4", "#e5b3a1"), ("#fbf6ee", "#e8dccb"))):
        y = 284 - n * 50
        x = 70 + (n % 2) * 6
        stack += (
            f'<rect x="{x}" y="{y}" width="248" height="52" rx="24" fill="{dark}"/>'
            f'<rect x="{x}" y="{y}" width="248" height="40" rx="20" fill="{light}"/>'
            f'<path d="M{x + 214} {y}Q{x + 250} {y + 4} {x + 248} {y + 26}T{x + 214} {y + 52}" fill="{dark}" opacity=".6"/>'
            f'<path d="M{x + 150} {y + 3}V{y + 49}M{x + 164} {y + 3}V{y + 49}" stroke="#fff" stroke-width="5" opacity=".7"/>'
        )
    puff = (
        '<path d="M-30 20L0 44L30 20L12 6H-12Z" fill="#8a6a42"/><circle cx="-20" cy="-2" r="24" fill="#fffdf8"/>'
        '<circle cx="20" cy="-2" r="24" fill="#fffdf8"/><circle cy="-20" r="25" fill="#fff"/>'
        '<circle cy="8" r="22" fill="#f6f0e6"/>'
    )
    twig = (
        '<path d="M336 340C330 276 300 190 250 118M318 250C338 226 350 210 356 190" stroke="#8a6a42" stroke-width="6"'
        ' fill="none" stroke-linecap="round"/>'
    )
    cotton = twig + placed(puff, 246, 92, 0.95, -24) + placed(puff, 352, 168, 0.82, 24) + leaf(290, 182, 150, 44, "#8aa866")
    return f"{shadow(200, 340, 138)}{stack}{cotton}"


DRAWINGS: dict[str, Callable[[], str]] = {
    "strawberry": strawberry,
    "mandarin": mandarin,
    "blueberry": blueberry,
    "shrimp": shrimp,
    "crab": crab,
    "beef": beef,
    "yogurt": yogurt,
    "croissant": croissant,
    "milk": milk,
    "candle": candle,
    "mug": mug,
    "towel": towel,
}
