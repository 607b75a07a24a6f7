// Joins a poll's room over a raw WebSocket, in browsers and Node 22. Reconnects, and resends a ballot until it is answered.

// Do not reconnect after these, nor after 4401 if no token was ever accepted.
const FINAL = new Set([1003, 1007, 1009, "POLL_DELETED", "NOT_FOUND", "left"]);
const AGAIN = new Set(["UNAVAILABLE", "INTERNAL", "RATE_LIMITED"]);

/**
 * `token()` returns a fresh access token, or nothing to only watch; it is called again if it throws. `show` receives each
 * newer {poll?, tally, viewers?, …}. `over(why)` is called when the client gives up, with a final close code or name.
 */
export function join(url, code, token, show, over = () => {}) {
    const ballots = new Map(); // id -> ballot that has no answer yet
    let socket, pollId, newest, renewal, pulse, ahead, silent, joined, held, anonymous, ended, tries = 0;
    let pingInterval = 20, reconnect = { minDelay: 0.5, maxDelay: 30 };

    const send = (message) => socket.readyState === WebSocket.OPEN && socket.send(JSON.stringify(message));
    const enter = () => send({ type: "JOIN_POLL", code });
    const later = (task, seconds) => {
        const here = socket;
        return setTimeout(() => here === socket && !ended && task(), 1000 * seconds);
    };

    /** Waits for the token, because a ballot without one is refused for good. */
    function cast({ id, optionIds }) {
        if (joined && (held || anonymous)) send({ type: "VOTE", pollId, optionIds, id });
    }

    /** If `token()` fails, the socket keeps watching and ballots wait. */
    async function authenticate() {
        const here = socket;
        let fresh;
        try {
            fresh = (await token()) || null;
        } catch (error) {
            console.error(error);
        }
        if (here !== socket) return;
        if (fresh) send({ type: "AUTH", token: fresh });
        else if (fresh === null) anonymous = true;
        else renewal = later(authenticate, 5);
        if (!held) enter();
    }

    const take = {
        WELCOME(message) {
            ({ pingInterval, reconnect } = message);
            watchOver();
            ahead = Date.now() - Date.parse(message.serverTime);
            authenticate();
        },
        AUTHENTICATED({ expiresAt }) {
            held = true;
            clearTimeout(renewal);
            renewal = later(authenticate, Math.max(1, (Date.parse(expiresAt) + ahead - Date.now()) * 0.0008));
        },
        POLL_STATE(message) {
            joined = true;
            tries = 0;
            pollId = message.poll.id;
            ballots.forEach(cast);
            update(message);
        },
        POLL_UPDATE: update,
        POLL_CHANGED: update,
        VOTE_ACCEPTED: answer,
        POLL_DELETED: () => lost("POLL_DELETED"),
        ERROR(message) {
            const ballot = ballots.get(message.id);
            const again = AGAIN.has(message.code);
            if (!ballot) console.error(message.code, message.message);
            if (again) later(() => (ballot ? cast(ballot) : enter()), message.retryAfter ?? 1);
            else if (ballot) answer(message);
            else if (message.code === "NOT_FOUND") lost("NOT_FOUND");
        },
    };

    function answer(message) {
        ballots.get(message.id)?.resolve(message);
        ballots.delete(message.id);
    }

    /** The highest (epoch, seq) is the newest. An equal one may newly include the counts. */
    function update(message) {
        const { epoch, seq } = message.tally;
        if (newest && (epoch < newest.epoch || (epoch === newest.epoch && seq < newest.seq))) return;
        newest = message.tally;
        show(message);
    }

    function open() {
        joined = held = anonymous = false;
        silent = 0;
        socket = new WebSocket(url);
        socket.onmessage = ({ data }) => {
            silent = 0;
            const message = JSON.parse(data);
            take[message.type]?.(message);
        };
        socket.onclose = (event) => lost(event.code);
        watchOver();
    }

    /** Detects a lost network, which closes no socket. */
    function watchOver() {
        clearInterval(pulse);
        pulse = setInterval(() => (silent++ < 2 ? send({ type: "PING" }) : lost(1006)), 1000 * pingInterval);
    }

    /** `why`: a close code, or one of the names in FINAL. */
    function lost(why) {
        socket.onmessage = socket.onclose = null;
        socket.close();
        clearTimeout(renewal);
        clearInterval(pulse);
        ended = FINAL.has(why) || (why === 4401 && !held);
        if (ended) {
            ballots.forEach((ballot) => ballot.reject(new Error(`disconnected: ${why}`)));
            ballots.clear();
            return over(why);
        }
        if (why === 4429) tries = Infinity;
        const most = Math.min(reconnect.maxDelay, reconnect.minDelay * 2 ** tries++);
        setTimeout(() => ended || open(), Math.random() * most * 1000);
    }

    /** Resolves to VOTE_ACCEPTED or the ERROR. Rejects once the connection has ended; the same id may be sent again. */
    async function vote(optionIds, id = crypto.randomUUID()) {
        if (ended || !/^[\w-]{1,64}$/.test(id)) throw new Error(ended ? "disconnected" : "invalid ballot id");
        const ballot = ballots.get(id) ?? { id, optionIds };
        ballot.answer ??= new Promise((resolve, reject) => Object.assign(ballot, { resolve, reject }));
        ballots.set(id, ballot);
        cast(ballot);
        return ballot.answer;
    }

    open();
    return { vote, leave: () => ended || lost("left") };
}
