// node ws.js plain|pipelined|batching [prebuilt]: WebSocket rooms with `ws`. Prints its port.
"use strict";
const { WebSocketServer, WebSocket, Sender } = require("ws");
const { Polls, userOf } = require("./poll.js");

const TICK_MS = Number(process.env.TICK_MS || 100);
const polls = new Polls(process.argv[2]);
const prebuilt = process.argv[3] === "prebuilt";
const rooms = new Map();
const moved = new Set();

async function handle(socket, message) {
  switch (message.type) {
    case "AUTH":
      socket.user = userOf(message.token);
      return { type: "AUTHENTICATED" };
    case "JOIN_POLL": {
      await polls.find(message.pollId);
      let room = rooms.get(message.pollId);
      if (!room) rooms.set(message.pollId, (room = new Set()));
      room.add(socket);
      socket.rooms.push(room);
      return { type: "POLL_STATE", pollId: message.pollId, tally: await polls.tally(message.pollId) };
    }
    case "VOTE": {
      if (!socket.user) throw new Error("UNAUTHENTICATED");
      const { pollId, optionId, id } = message;
      await polls.check(message);
      const seq = await polls.cast(socket.user, message);
      if (rooms.has(pollId)) moved.add(pollId);
      return { type: "VOTE_ACCEPTED", id, pollId, optionIds: [optionId], seq, castAt: new Date().toISOString(), repeated: false };
    }
    default:
      throw new Error("UNKNOWN_TYPE");
  }
}

const server = new WebSocketServer({ host: "127.0.0.1", port: 0, maxPayload: 4096, backlog: 4096 });

server.on("connection", (socket) => {
  socket.rooms = [];
  socket.on("error", console.error);
  socket.on("close", () => socket.rooms.forEach((room) => room.delete(socket)));
  socket.on("message", async (data) => {
    let message = {};
    try {
      message = JSON.parse(data);
      socket.send(JSON.stringify(await handle(socket, message)));
    } catch (error) {
      socket.send(JSON.stringify({ type: "ERROR", code: error.message, id: message.id }));
    }
  });
});

// A socket is written directly, without a frame of its own, where nothing of it waits.
function broadcastPrebuilt(room, text) {
  const data = Buffer.from(text);
  const frame = Buffer.concat(
    Sender.frame(data, { fin: true, opcode: 1, mask: false, rsv1: false, readOnly: false }),
  );
  for (const client of room) if (client.readyState === WebSocket.OPEN) client._socket.write(frame);
}

function broadcast(room, text) {
  for (const client of room) if (client.readyState === WebSocket.OPEN) client.send(text);
}

setInterval(async () => {
  const due = [...moved];
  moved.clear();
  for (const pollId of due) {
    const room = rooms.get(pollId);
    const update = { type: "POLL_UPDATE", pollId, tally: await polls.tally(pollId), viewers: room.size };
    update.serverTime = new Date().toISOString();
    (prebuilt ? broadcastPrebuilt : broadcast)(room, JSON.stringify(update));
  }
}, TICK_MS);

server.on("listening", () => console.log(server.address().port));
