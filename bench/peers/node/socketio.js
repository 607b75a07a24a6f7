// node socketio.js: rooms with Socket.IO and its Redis adapter. Prints its port.
"use strict";
const { createServer } = require("node:http");
const { createAdapter } = require("@socket.io/redis-adapter");
const Redis = require("ioredis");
const { Server } = require("socket.io");
const { Polls, userOf } = require("./poll.js");

const TICK_MS = Number(process.env.TICK_MS || 100);
const polls = new Polls("pipelined");
const moved = new Set();
const http = createServer();
const publisher = new Redis(process.env.REDIS_URL);
const io = new Server(http, {
  adapter: createAdapter(publisher, publisher.duplicate()),
  transports: ["websocket"],
  pingInterval: 60000,
  maxHttpBufferSize: 4096,
});

io.use((socket, next) => {
  try {
    if (socket.handshake.auth.token) socket.data.user = userOf(socket.handshake.auth.token);
    next();
  } catch (error) {
    next(error);
  }
});

io.on("connection", (socket) => {
  const refuse = (message, error) => socket.emit("ERROR", { code: error.message, id: message.id });
  socket.on("JOIN_POLL", async (message) => {
    try {
      await polls.find(message.pollId);
      await socket.join(message.pollId);
      socket.emit("POLL_STATE", { pollId: message.pollId, tally: await polls.tally(message.pollId) });
    } catch (error) {
      refuse(message, error);
    }
  });
  socket.on("VOTE", async (message) => {
    try {
      if (!socket.data.user) throw new Error("UNAUTHENTICATED");
      const { pollId, optionId, id } = message;
      await polls.check(message);
      const seq = await polls.cast(socket.data.user, message);
      moved.add(pollId);
      socket.emit("VOTE_ACCEPTED", { id, pollId, optionIds: [optionId], seq, castAt: new Date().toISOString(), repeated: false });
    } catch (error) {
      refuse(message, error);
    }
  });
});

setInterval(async () => {
  const due = [...moved];
  moved.clear();
  for (const pollId of due) {
    const viewers = io.sockets.adapter.rooms.get(pollId)?.size ?? 0;
    if (!viewers) continue;
    const tally = await polls.tally(pollId);
    io.to(pollId).emit("POLL_UPDATE", { pollId, tally, viewers, serverTime: new Date().toISOString() });
  }
}, TICK_MS);

http.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, () => console.log(http.address().port));
