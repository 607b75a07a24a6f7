"""Packets to messages and back. Payloads are the JSON of the WebSocket transport; events are named by its type in lower case."""

import json
import re
from typing import Any, Final

import msgspec
from engineio import packet as engine
from msgspec import Struct
from socketio import packet

from ..domain.decoding import shallow
from ..domain.errors import PollroomError
from ..services.rooms.message_decoder import Refused, parse_as
from ..services.rooms.messages import CLIENT_MESSAGES, ClientMessage, Ping, type_of

MAX_MESSAGE_BYTES: Final = 4096
"""Bytes of one packet, as of one frame of the other socket transport."""

EVENT: Final = "message"
"""The one event that the library knows: a client's own names never choose a handler of the library."""

GARBAGE: Final = "49"
"""An engine's message that is no packet of Socket.IO: takes the place of what the engine cannot read."""

_TYPES: Final = {type_of(kind).lower(): type_of(kind) for kind in CLIENT_MESSAGES if kind is not Ping}
"""Types by event name. The engine has pings of its own."""

_PACKET: Final = re.compile(r"([0-6])(?:[0-9]{1,9}-)?(?:(/[^,]*),?)?([0-9]{1,15})?(.*)", re.DOTALL)
_arguments: Final = msgspec.json.Decoder(list[msgspec.Raw])
_name: Final = msgspec.json.Decoder(str)
_encode: Final = msgspec.json.Encoder().encode


class Asked(Struct):
    """An event that a client sent: ``text`` is the array of its name and arguments, ``ack`` the callback's number."""

    text: str
    ack: int | None = None

    def read(self) -> ClientMessage:
        """Raises ``Refused``."""
        whole = self.text.encode("utf-8", "surrogatepass")
        error = None
        if len(whole) > MAX_MESSAGE_BYTES:
            error = PollroomError("TOO_LARGE", f"A message has at most {MAX_MESSAGE_BYTES} bytes.")
        try:
            name, payload = _split(shallow(whole, levels=2))
        except PollroomError as bad:
            raise Refused(error or bad) from None
        return parse_as(_TYPES.get(name, ""), payload, error)


def _split(data: bytes) -> tuple[str, bytes]:
    """An event's name and its one argument."""
    try:
        name, *arguments = _arguments.decode(data)
        if len(arguments) > 1:
            raise PollroomError("BAD_MESSAGE", "One object is expected.")
        return _name.decode(name), bytes(arguments[0]) if arguments else b"{}"
    except (ValueError, RecursionError):
        pass
    # The fast decoder calls a lone surrogate malformed JSON: the argument's own decoding says what is wrong with it.
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        tree = None
    if not isinstance(tree, list) or len(tree) != 2 or not isinstance(tree[0], str):
        raise PollroomError("BAD_MESSAGE")
    return tree[0], json.dumps(tree[1]).encode()


class Handshake(Struct):
    """``auth`` of a connecting client, as it came."""

    text: str


class Packet(packet.Packet):  # type: ignore[misc]
    """The library's packet, decoded so that nothing a client sends is decided there.

    Every event is ``EVENT`` with an ``Asked``; so are acknowledgements, binary packets and garbage, which are refused by it.
    """

    def __init__(
        self,
        packet_type: int = packet.EVENT,
        data: Any = None,
        namespace: str | None = None,
        id: int | None = None,
        binary: bool | None = None,
        encoded_packet: str | bytes | None = None,
    ) -> None:
        super().__init__(packet_type, data, namespace, id, binary=False)
        if encoded_packet is not None:
            self.decode(encoded_packet)

    def decode(self, encoded_packet: str | bytes) -> int:
        match = _PACKET.fullmatch(encoded_packet) if isinstance(encoded_packet, str) else None
        kind, namespace, number, text = match.groups() if match else ("9", None, None, "")
        self.packet_type, self.namespace, self.id = int(kind), namespace, None
        self.data: Any = None
        if self.packet_type == packet.CONNECT:
            self.data = Handshake(text) if text else None
        elif self.packet_type != packet.DISCONNECT:
            asks = self.packet_type in (packet.EVENT, packet.BINARY_EVENT)
            bad = "" if self.packet_type != packet.EVENT else text
            self.packet_type = packet.EVENT
            self.data = [EVENT, Asked(bad, int(number) if number and asks else None)]
        return 0


def sound(encoded: str, controls: frozenset[str]) -> bool:
    """Whether the engine can read it: one of these of its own packets, or a message that is a packet of Socket.IO."""
    return encoded in controls or (encoded[:1] == "4" and encoded[1:2] in "0123456" and len(encoded) > 1)


def event(kind: str, payload: bytes) -> engine.Packet:
    return engine.Packet(engine.MESSAGE, f'2["{kind.lower()}",{payload.decode()}]')


def event_of(message: Struct) -> engine.Packet:
    return event(type_of(type(message)), _encode(message))


def acknowledgement(number: int, message: Struct) -> engine.Packet:
    return engine.Packet(engine.MESSAGE, f"3{number}[{_encode(message).decode()}]")


def disconnection() -> engine.Packet:
    """After it a client does not come back by itself."""
    return engine.Packet(engine.MESSAGE, "1")


def close() -> engine.Packet:
    return engine.Packet(engine.CLOSE)
