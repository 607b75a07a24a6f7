"""Pollroom: live polls over plain HTTP and raw WebSockets.

People join a poll's room, vote once, and everyone in the room sees the tally move.

The way of a vote, file by file:

1. ``websocket/socket.py``      one connection: what comes in, in order and within its budget
2. ``websocket/events.py``      message struct -> handler (``services/rooms/participants.py``); errors -> ERROR frame
3. ``services/vote.py``         cast, retract, tally: the same calls serve HTTP, WebSocket and Socket.IO
4. ``adapters/redis/``          one atomic script a batch: check, one vote, count, append to the vote log
5. ``workers/vote_worker.py``   vote log -> batch -> one SQL transaction with the offset -> trim
6. ``adapters/database.py``     named raw SQL from ``sql/``, MySQL or SQLite
7. ``services/rooms/broadcaster.py``    Redis pub/sub -> feeds: newest tally of a poll, once a tick, encoded once an audience
8. ``websocket/rooms.py``       poll id -> sockets: frame once, write many
"""

__version__ = "0.1.0"
