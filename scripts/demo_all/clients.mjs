// Voters with the real socket.io-client, many in one process: a JSON line on stdin for each thing to do, one on stdout for each news.
// {n, url, token, pollId}: voter n connects, and joins whenever it is connected · {n, event, message}: sends, answered by
// {n, news: "answer", message} (none after 5 s). Others: {n, news: event's name | "joined" | "disconnect" | "refused", message}.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const { io } = createRequire(process.env.SOCKETIO_CLIENT + "/")("socket.io-client");
const sockets = new Map();

function open({ n, url, token, pollId }) {
    const tell = (news, message = null) => process.stdout.write(JSON.stringify({ n, news, message }) + "\n");
    const socket = io(url, { auth: { token }, transports: ["websocket"], forceNew: true });
    socket.on("connect", () => socket.emit("join_poll", { pollId }, (answer) => tell("joined", answer)));
    socket.on("connect_error", (error) => tell("refused", error.data ?? error.message));
    socket.on("disconnect", (reason) => tell("disconnect", reason));
    socket.onAny(tell);
    sockets.set(n, (event, message) => socket.timeout(5000).emit(event, message, (error, answer) =>
        tell("answer", error ? null : answer)));
}

for await (const line of createInterface({ input: process.stdin })) {
    const order = JSON.parse(line);
    if (order.url) open(order);
    else sockets.get(order.n)(order.event, order.message);
}
process.exit();
