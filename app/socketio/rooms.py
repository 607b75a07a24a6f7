"""The rooms of Socket.IO clients. A packet is encoded once per audience."""

from engineio import packet as engine

from ..services.rooms.rooms import Order, Rooms
from . import codec as packets
from .connection import SocketIOConnection


class SocketIORooms(Rooms[SocketIOConnection, engine.Packet]):
    def encode(self, kind: str, payload: bytes, order: Order | None) -> engine.Packet:
        return packets.event(kind, payload)
