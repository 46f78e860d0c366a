"""Hosts and clerks through the doors that their pages use: a cookie, an Origin, JSON."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Self

from live.demo.client import key
from live.demo.doors import Doors


class Member:
    """Somebody of the staff, logged in."""

    def __init__(self, web_url: str, account: str) -> None:
        self.account = account
        self.doors = Doors(web_url)

    async def login(self, password: str) -> Self:
        """Log in; the cookie stays with these doors. Raises RefusedError(wrong_login)."""
        await self.doors.post("/v1/staff/login", {"account": self.account, "password": password})
        return self

    async def close(self) -> None:
        """Close the connections; the session stays valid, as when a tab is closed."""
        await self.doors.close()


class Host(Member):
    """The console of one room."""

    def __init__(self, web_url: str, account: str, room: str) -> None:
        super().__init__(web_url, account)
        self.room = room

    async def phase(self) -> str:
        """draft, live or ended."""
        return str((await self.doors.get(f"/v1/rooms/{self.room}"))["phase"])

    async def start(self) -> None:
        """Open the show."""
        await self.doors.post(f"/v1/rooms/{self.room}/start")

    async def stop(self) -> None:
        """Close the show, and with it every offer."""
        await self.doors.post(f"/v1/rooms/{self.room}/stop")

    async def run_sheet(self) -> dict[str, Any]:
        """The show's plan, row by row."""
        return dict(await self.doors.get(f"/v1/rooms/{self.room}/run-sheet"))

    async def start_row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Start a row as it was seen; the sheet as it is then. Raises RefusedError(state) when somebody was there before."""
        body = {"version": row["version"], "key": key()}
        return dict(await self.doors.post(f"/v1/rooms/{self.room}/run-sheet/rows/{row['id']}/start", body))

    async def pin(self, offer: int | None) -> None:
        """Explain this now."""
        await self.doors.post(f"/v1/rooms/{self.room}/pin", {"offer": offer})

    async def open_sale(
        self, sku: str, fen: int, stock: Mapping[str, int], *, per_person: int = 1, per_order: int | None = None,
        minutes: int | None = None, wait: float | None = None, countdown: int | None = None,
    ) -> int:  # fmt: skip
        """A flash sale, now or in `wait` seconds; returns its offer's id."""
        body = {"sku": sku, "fen": fen, "per_person": per_person, "per_order": per_order, "stock": dict(stock), "minutes": minutes}
        if wait is not None:
            body |= {"opens": int((time.time() + wait) * 1000), "countdown": countdown}
        return int((await self.doors.post(f"/v1/rooms/{self.room}/sales", body))["offer"])

    async def open_coupon(self, off: int, threshold: int, total: int, *, minutes: int | None = None, **conditions: Any) -> int:
        """A coupon drop, one each; `conditions` as the door takes them."""
        body = {"off": off, "threshold": threshold, "total": total, "per_person": 1, "minutes": minutes, **conditions}
        return int((await self.doors.post(f"/v1/rooms/{self.room}/coupons", body))["offer"])

    async def open_group(
        self, sku: str, stock: Mapping[str, int], *, size: int, minimum: int, tiers: Sequence[tuple[int, int]], minutes: int | None = None
    ) -> int:
        """A group buy, one seat each; `tiers`: (seats, fen)."""
        steps = [{"seats": seats, "fen": fen} for seats, fen in tiers]
        body = {"sku": sku, "per_person": 1, "stock": dict(stock), "size": size, "minimum": minimum, "tiers": steps, "minutes": minutes}
        return int((await self.doors.post(f"/v1/rooms/{self.room}/groups", body))["offer"])

    async def open_teams(
        self, sku: str, fen: int, stock: Mapping[str, int], *, size: int, team_minutes: int, minutes: int | None = None
    ) -> int:
        """A group buy of many small teams, one seat each."""
        body = {"sku": sku, "fen": fen, "stock": dict(stock), "size": size, "team_minutes": team_minutes, "minutes": minutes}
        return int((await self.doors.post(f"/v1/rooms/{self.room}/teams", body))["offer"])

    async def open_packet(self, total: int, shares: int, *, word: str = "", minutes: int | None = None) -> int:
        """A red packet of so many points."""
        body = {"currency": "points", "sum": total, "shares": shares, "word": word, "minutes": minutes}
        return int((await self.doors.post(f"/v1/rooms/{self.room}/packets", body))["offer"])

    async def open_draw(self, prize: tuple[str, str], word: str, *, winners: int, minutes: int) -> tuple[int, str]:
        """A draw that a comment enters; returns its id and what was committed to."""
        body = {"prize_zh": prize[0], "prize_en": prize[1], "winners": winners, "entry": "comment", "word": word, "minutes": minutes}
        made = await self.doors.post(f"/v1/rooms/{self.room}/draws", body)
        return int(made["draw"]), str(made["commitment"])

    async def open_draw_of_points(self, points: int, *, winners: int, minutes: int) -> tuple[int, str]:
        """A draw of points that a press enters which follows the room; returns its id and what was committed to."""
        body = {"points": points, "winners": winners, "entry": "follow", "minutes": minutes}
        made = await self.doors.post(f"/v1/rooms/{self.room}/draws", body)
        return int(made["draw"]), str(made["commitment"])

    async def close_draw(self, draw: int) -> None:
        """Nobody enters any more; it is drawn."""
        await self.doors.post(f"/v1/draws/{draw}/close")

    async def open_leader_group(self, leader: str, sku: str, fen: int, *, size: int, minimum: int, minutes: int = 60) -> int:
        """A group leader's group, two each at most."""
        body = {"leader": leader, "sku": sku, "fen": fen, "size": size, "minimum": minimum, "per_person": 2, "minutes": minutes}
        return int((await self.doors.post(f"/v1/rooms/{self.room}/leader-groups", body))["offer"])

    async def share(self) -> str:
        """The token of this guide's own link to the room."""
        return str((await self.doors.post(f"/v1/rooms/{self.room}/share/staff"))["token"])

    async def sharers(self) -> dict[str, dict[str, Any]]:
        """Who brought how many people and orders, by subject."""
        return {one["who"]: one for one in (await self.doors.get(f"/v1/rooms/{self.room}/sharers"))["sharers"]}

    async def end(self, offer: int) -> None:
        """Nobody can take from it any more."""
        await self.doors.post(f"/v1/offers/{offer}/end")

    async def move_sale(self, offer: int, opens: int) -> None:
        """Another time (epoch ms) for a planned sale."""
        await self.doors.post(f"/v1/offers/{offer}/time", {"opens": opens})

    async def void_coupon(self, offer: int, reason: str) -> None:
        """Take a batch of coupons back."""
        await self.doors.post(f"/v1/offers/{offer}/void", {"reason": reason})

    async def reprice(self, offer: int, fen: int) -> int:
        """Another price of a sale; returns the new price version."""
        return int((await self.doors.post(f"/v1/offers/{offer}/price", {"fen": fen}))["version"])

    async def add_stock(self, offer: int, location: str, qty: int) -> None:
        """More units of a running offer."""
        await self.doors.post(f"/v1/offers/{offer}/stock", {"location": location, "qty": qty})

    async def mute(self, who: str, minutes: int | None, on: bool = True) -> None:
        """This viewer may not, or may again, comment."""
        await self.doors.post(f"/v1/rooms/{self.room}/mute", {"who": who, "minutes": minutes, "on": on})

    async def withdraw(self, comment: str) -> None:
        """Take a comment off every screen."""
        await self.doors.post(f"/v1/rooms/{self.room}/comments/{comment}/withdraw")

    async def offers(self) -> list[dict[str, Any]]:
        """Every offer with its allotments and team, newest first."""
        return list((await self.doors.get(f"/v1/rooms/{self.room}/offers"))["offers"])

    async def pinned(self) -> int | None:
        """What is being explained."""
        found: int | None = next(one["pin"] for one in (await self.doors.get("/v1/rooms"))["rooms"] if one["id"] == self.room)
        return found

    async def catalog(self) -> list[dict[str, Any]]:
        """The shop's goods with their stock per store."""
        return list((await self.doors.get("/v1/catalog"))["skus"])

    async def figures(self) -> dict[str, Any]:
        """The show's figures, from the books."""
        return dict(await self.doors.get(f"/v1/rooms/{self.room}/figures"))

    async def refunds(self) -> list[dict[str, Any]]:
        """What buyers asked for."""
        return list((await self.doors.get(f"/v1/rooms/{self.room}/refunds"))["refunds"])

    async def grant(self, refund: int) -> None:
        """Send everything back."""
        await self.doors.post(f"/v1/refunds/{refund}/grant")

    async def decline(self, refund: int) -> None:
        """Send nothing back."""
        await self.doors.post(f"/v1/refunds/{refund}/decline")


class Clerk(Member):
    """The desk of one store."""

    def __init__(self, web_url: str, account: str, store: str) -> None:
        super().__init__(web_url, account)
        self.store = store

    async def queue(self) -> list[dict[str, Any]]:
        """Waiting tickets, oldest first, then the collected ones."""
        return list((await self.doors.get("/v1/desk/queue"))["tickets"])

    async def ready(self, ticket: int) -> dict[str, Any]:
        """The goods are picked."""
        return dict((await self.doors.post(f"/v1/desk/tickets/{ticket}/ready"))["ticket"])

    async def verify(self, code: str) -> dict[str, Any]:
        """The ticket that this code opens."""
        return dict((await self.doors.post("/v1/desk/verify", {"code": code}))["ticket"])

    async def collect(self, ticket: int, code: str) -> dict[str, Any]:
        """Hand the goods over."""
        return dict((await self.doors.post(f"/v1/desk/tickets/{ticket}/collect", {"code": code}))["ticket"])


class Leader(Clerk):
    """The desk of a group leader's point."""

    async def begin(self, one_time: str, password: str) -> Self:
        """Log in for the first time and choose a password."""
        await self.login(one_time)
        await self.doors.post("/v1/staff/password", {"old": one_time, "new": password})
        return self

    async def groups(self) -> list[dict[str, Any]]:
        """Own groups with their orders, newest first."""
        return list((await self.doors.get("/v1/leader/groups"))["groups"])
