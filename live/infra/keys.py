"""Every Redis key and its life. All keys of a room carry the `{room}` hash tag: one slot, one node, one script.

Per room (no TTL: a room's keys live as long as the room; a rebuild makes them anew from SQL):
`meta`     hash: fence, run_id, epoch (of the log), seq, sv (state version), act_no, own (top own position), cn (comment no.), nudged (ms)
`log`      stream of critical events, id `<seq>-0`
`state`    hash: key -> [version, value]
`own`      stream of people's news (who, `prev|body`), several an entry, whose id `<p>-0` is the position of its last
`ownlast`  hash: person -> last own position;  `ownver` hash: person|key -> newest version told
`intents`  stream of intents not yet booked, group `ledger`
`chat`     stream of comments within the budget;  `chat:all` every comment, for consoles and the archive
`muted`    hash: who -> until (epoch ms)
`viewers`  hash: hub -> count|until (epoch ms);  `likes` number
`watched`  hash: person -> ms watched of the show that is on|until (epoch ms), '' -> when it began; kept for 24 h after the last of it
`offers`   set of offer ids that have a hash here
`offer:N`  hash: an offer's turnstile fields, left:<loc>, move:<loc>;  `used:N` hash: person -> units
With a TTL: `rids:0` and `rids:1` hashes of even and odd UTC days: rid -> an intent's record, kept until the end of the next day;
`say:<who>:<cid>` 60 s (a comment said), `shown:<s>` 2 s (comments by person), `late` 1 h (list of comments shown only when sent again, for
the archive).
"""

from __future__ import annotations

URGENT = b"!"  # what a nudge says when a critical or own event was written; `.`: state or chat, at most every NUDGE_MS of room.lua
ALIVE = "alive:"  # + process kind: zset of instance ids by the second they were last seen


def room_key(room: str, name: str) -> str:
    """A key of a room."""
    return f"{{{room}}}:{name}"


def nudge_channel(room: str) -> str:
    """Pub/sub: something happened in this room, look."""
    return f"{{{room}}}:nudge"


def hub_channel(hub: str) -> str:
    """Pub/sub: verdicts for the intents one hub process sent."""
    return f"hub:{hub}"
