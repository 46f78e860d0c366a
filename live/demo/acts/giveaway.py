"""The giveaways: a red packet that many want, one with a password, a draw that is checked as anybody can check it,
and one of points among those who follow the room."""

from __future__ import annotations

from live.demo.acts.stage import Stage, outcome, together
from live.promotions.draw.rules import proof_fault, ticket

POINTS, SHARES, HANDS = 1_000, 20, 30  # more hands than shares
WORD = "新品上市"
PRIZE = 50  # points
ENTER, ENTRANTS, WINNERS = "抽我 / pick me", 12, 3


async def play(stage: Stage) -> None:
    """All, one after the other."""
    await _packet(stage)
    await _password(stage)
    await _draw(stage)
    await _follow(stage)


async def _packet(stage: Stage) -> None:
    await stage.step(f"{HANDS} viewers open {SHARES} red packets, on two devices each")
    offer = await stage.host.open_packet(POINTS, SHARES, minutes=5)
    hands = stage.people[:HANDS]
    await stage.all_see(lambda mirror: mirror.offer(offer), "the packet's card", hands)
    answers = await together(outcome(viewer.open_packet(offer)) for viewer in (*hands, *hands))
    got = [answer for answer in answers if isinstance(answer, dict)]
    stage.same(len(got), SHARES, "packets opened")
    stage.same(sum(answer["amount"] for answer in got), POINTS, "points given out")
    stage.same({answer for answer in answers if isinstance(answer, str)} - {"limit", "sold_out"}, set(), "other refusals")
    stage.same(sum(await together(viewer.points() for viewer in hands)), POINTS, "points in the books")
    report = await stage.doors.get(f"/v1/offers/{offer}/packet")
    stage.same((report["taken"], report["taken_sum"]), (SHARES, POINTS), "what the packet's report says")


async def _password(stage: Stage) -> None:
    await stage.step("a packet opens to who says its word, and to nobody else")
    offer, (one, other) = await stage.host.open_packet(10, 2, word=WORD), stage.people[:2]
    await stage.all_see(lambda mirror: mirror.offer(offer), "the packet's card", (one, other))
    with stage.refused("wrong_word", "a packet without its word"):
        await one.open_packet(offer)
    await other.say(WORD)
    stage.check((await other.open_packet(offer, WORD))["amount"] > 0, "a share for the word")
    await stage.host.end(offer)


async def _draw(stage: Stage) -> None:
    await stage.step(f"{WINNERS} of {ENTRANTS} are drawn; the proof is checked")
    draw, committed = await stage.host.open_draw(("龙井一盒", "A box of Longjing"), "抽我", winners=WINNERS, minutes=5)
    people = stage.people[:ENTRANTS]
    await stage.all_see(lambda mirror: mirror.heard("draw.opened", draw=draw), "the draw", people)
    for viewer in (*people, people[0], stage.guests[0]):  # once more, and a guest: neither is in it once more
        await viewer.say(ENTER)
    await stage.host.close_draw(draw)
    await stage.all_see(lambda mirror: mirror.heard("draw.done", draw=draw), "the winners", people)
    proof = await stage.doors.get(f"/v1/draws/{draw}/proof")
    stage.same(proof_fault(proof, committed), None, "the proof of the draw")
    stage.same(proof["tickets"], sorted(ticket(committed, viewer.sub) for viewer in people), "who was in it")
    stage.same(len(proof["winners"]), WINNERS, "winners")


async def _follow(stage: Stage) -> None:
    await stage.step(f"{ENTRANTS} follow the room and take part, one stops following; {WINNERS} have {PRIZE} points each")
    people = stage.people[:ENTRANTS]
    before = sum(await together(viewer.points() for viewer in people))
    draw, committed = await stage.host.open_draw_of_points(PRIZE, winners=WINNERS, minutes=5)
    await stage.all_see(lambda mirror: mirror.heard("draw.opened", draw=draw), "the draw", people)
    entered = await together(viewer.enter_draw(draw) for viewer in (*people, *people))  # each presses twice
    stage.check(all(entered), "everybody who pressed to be in")
    gone = people[0]
    await gone.follow(False)
    await stage.all_see(lambda mirror: (mirror.value("follows") or {}).get("followers") == ENTRANTS - 1, "how many follow")
    await stage.host.close_draw(draw)
    await stage.all_see(lambda mirror: mirror.heard("draw.done", draw=draw), "the winners", people)
    proof = await stage.doors.get(f"/v1/draws/{draw}/proof")
    stage.same(proof_fault(proof, committed), None, "the proof of the draw")
    stage.same(proof["tickets"], sorted(ticket(committed, viewer.sub) for viewer in people[1:]), "who was in it")
    after = sum(await together(viewer.points() for viewer in people))
    stage.same(after - before, WINNERS * PRIZE, "points in the books")
    with stage.refused("ended", "a press after the draw"):
        await gone.enter_draw(draw)
