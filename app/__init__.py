"""Pollroom: live polls over HTTP, WebSockets and Socket.IO.

People join a poll's room, vote once, and everyone in the room sees the tally move.

A vote: ``websocket/events.py`` > ``services/rooms/dispatcher.py`` >
``services/voting/votes.py`` > ``adapters/redis/ledger/batcher.py`` > ``adapters/redis/scripts/cast.lua``.

A tally: ``adapters/redis/pubsub/bus.py`` > ``services/rooms/broadcaster.py`` > ``websocket/rooms.py``.

``docs/architecture.md`` describes both.
"""

__version__ = "0.1.0"
