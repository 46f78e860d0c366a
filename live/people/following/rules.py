"""Following a room: how often one person may change their mind, and how the room is shown its count. Pure."""

from __future__ import annotations

BURST = 10  # presses of one person at once; a thumb that plays with the button
PER_SECOND = 0.5  # and in the long run; each change is told to the room
SHOW = "follow.show"  # topic of the job that shows a room its count; many changes in a moment are one number
KEY = "follows"  # of the room's state
