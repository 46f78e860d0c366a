"""The run sheet's act: two who press at once start its next row once."""

from __future__ import annotations

import asyncio

from live.demo.acts.stage import Stage
from live.demo.doors import RefusedError


async def play(stage: Stage) -> None:
    """The host and the owner press; every viewer sees one coupon, and both consoles the same sheet."""
    await stage.step("host and owner both start the run sheet's next row; it starts once, and the other is told by whom")
    sheet = await stage.host.run_sheet()
    row = next(each for each in sheet["rows"] if each["id"] == sheet["next"])
    pressed = await asyncio.gather(*(one.start_row(row) for one in (stage.host, stage.owner)), return_exceptions=True)
    refused = [each for each in pressed if isinstance(each, RefusedError)]
    stage.same([(each.code, each.facts["state"]) for each in refused], [("state", "STARTED")], "the second press")
    mine, theirs = await stage.host.run_sheet(), await stage.owner.run_sheet()
    stage.same(mine["rows"], theirs["rows"], "the sheet on both consoles")
    started = next(each for each in mine["rows"] if each["id"] == row["id"])
    stage.same((started["state"], started["by"]), ("STARTED", refused[0].facts["by"]), "the row")
    offer = started["offer"]
    await stage.all_see(lambda mirror: mirror.heard("offer.opened", offer=offer) and mirror.offer(offer), "the row's card")
