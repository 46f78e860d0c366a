"""What a hub counts."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

sockets = Gauge("live_hub_sockets", "Open sockets that said hello")
rooms = Gauge("live_hub_rooms", "Rooms with a viewer on this hub")
commands = Counter("live_hub_commands", "Commands read", ["type"])
closed = Counter("live_hub_closed", "Sockets closed", ["code"])
skips = Counter("live_hub_skips", "Frames or parts not sent to a slow socket", ["lane"])
joins = Counter("live_hub_joins", "Hellos answered", ["source"])
looks = Counter("live_hub_looks", "Reads of a room")
frames = Counter("live_hub_frames", "Room frames built", ["variant"])
sweep = Histogram("live_hub_sweep_seconds", "Writing one frame to every socket of a room", buckets=(0.001, 0.005, 0.02, 0.05, 0.1, 0.3, 1))
batch = Histogram("live_hub_batch", "Intents decided by one turnstile call", buckets=(1, 2, 5, 10, 20, 50, 100, 200))
verdicts = Histogram("live_hub_verdict_seconds", "From turnstile to verdict", buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.3, 0.8, 3))
