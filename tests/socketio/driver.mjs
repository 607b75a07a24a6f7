// The real socket.io-client, driven line by line: a JSON command on stdin, JSON news on stdout.
// {do: "open", url, options} · {do: "emit", event, args, ack?: number, timeout?} · {do: "connect" | "disconnect"}
// {do: "token", token} · {do: "cut"} · {do: "deafen"}: see below. News: {news, …}, in the order in which the client told them.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const { io } = createRequire(process.env.SOCKETIO_CLIENT + "/")("socket.io-client");
const tell = (news) => process.stdout.write(JSON.stringify(news) + "\n");
const heard = new WeakSet();
let socket;

function wire(engine) {
    if (heard.has(engine)) return;
    heard.add(engine);
    engine.on("packet", (packet) => tell({ news: "wire", type: packet.type, data: packet.data ?? null }));
    engine.on("upgrade", (transport) => tell({ news: "upgrade", transport: transport.name }));
}

const actions = {
    open({ url, options }) {
        socket = io(url, { forceNew: true, reconnectionDelay: 50, reconnectionDelayMax: 200, ...options });
        socket.on("connect", () => tell({
            news: "connect", id: socket.id, transport: socket.io.engine.transport.name,
        }));
        socket.on("connect_error", (error) => tell({
            news: "connect_error", message: error.message, data: error.data ?? null,
        }));
        socket.on("disconnect", (reason) => tell({ news: "disconnect", reason }));
        socket.onAny((event, ...args) => tell({ news: "event", event, args }));
        socket.io.on("reconnect", (attempt) => tell({ news: "reconnect", attempt }));
        if (socket.io.engine) wire(socket.io.engine);
        socket.io.on("open", () => wire(socket.io.engine));
    },
    emit({ event, args, ack, timeout }) {
        if (ack === undefined || ack === null) {
            socket.emit(event, ...args);
        } else if (timeout) {
            socket.timeout(timeout).emit(event, ...args, (error, answer) => tell({
                news: "ack", ack, timedOut: error !== null, answer: answer ?? null,
            }));
        } else {
            socket.emit(event, ...args, (answer) => tell({ news: "ack", ack, timedOut: false, answer }));
        }
    },
    connect: () => socket.connect(),
    disconnect: () => socket.disconnect(),
    // The connection breaks without a word, as a network does.
    cut: () => socket.io.engine.transport.onError("cut"),
    // From now on all that comes on this connection is lost on the way.
    deafen: () => socket.io.engine.removeAllListeners("data"),
    // For the next handshake.
    token: ({ token }) => { socket.auth = { token }; },
};

const lines = createInterface({ input: process.stdin });
for await (const line of lines) {
    const command = JSON.parse(line);
    actions[command.do](command);
}
socket?.disconnect(); // node ends when that has gone out
