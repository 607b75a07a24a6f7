// A client of Pollroom for browsers and Node: one WebSocket, any number of polls. It depends on nothing and draws nothing.

/** The outcome is not known: the same ballot goes out again. */
const AGAIN = new Set(["UNAVAILABLE", "INTERNAL", "RATE_LIMITED"]);
/** Close codes after which nothing gets better by trying again. */
const FINAL = new Set([1003, 1007, 1009]);
const OPEN_SECONDS = 8;
/** After sleep a dead socket still claims to be open. */
const WAKE_SECONDS = 1.2;
const RENEW_AT = 0.8;
const SLICE_HASHES = 2000; // about 20 ms on a phone
const STARTED = Date.now();

export class ApiError extends Error {
    constructor(status, problem) {
        super(problem.detail ?? problem.code);
        Object.assign(this, { status, code: problem.code, fields: problem.fields ?? {}, retryAfter: problem.retryAfter });
    }
}

/** 22 random characters. `crypto.randomUUID` is missing on plain http. */
export function newId() {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** JSON in localStorage, or in memory where that throws: blocked cookies, private windows, a full disk. */
export function safeStorage(prefix = "") {
    let memory = null;
    const area = (act) => {
        if (memory === null) {
            try {
                return act(globalThis.localStorage);
            } catch {
                memory = new Map();
            }
        }
        return act({
            getItem: (name) => memory.get(name) ?? null,
            setItem: (name, text) => memory.set(name, text),
            removeItem: (name) => memory.delete(name),
        });
    };
    return {
        get(name) {
            try {
                return JSON.parse(area((items) => items.getItem(prefix + name)));
            } catch {
                return null;
            }
        },
        set(name, value) {
            const text = JSON.stringify(value);
            area((items) => (value === null ? items.removeItem(prefix + name) : items.setItem(prefix + name, text)));
        },
    };
}

/** The tokens of one account or guest, shared by all tabs. Only the newest refresh token is ever used. */
class Session {
    #call;
    #store;
    #renewing = null;

    constructor(call, store) {
        this.#call = call;
        this.#store = store;
    }

    get kept() {
        return this.#store.get("session");
    }

    keep(answer) {
        const { user, accessToken, refreshToken, expiresIn } = answer;
        const renewAt = Date.now() + 1000 * expiresIn * RENEW_AT;
        this.#store.set("session", { user, accessToken, refreshToken, renewAt });
        return user;
    }

    forget() {
        this.#store.set("session", null);
    }

    /** The access token is renewed before its next use. */
    distrust() {
        const kept = this.kept;
        if (kept) this.#store.set("session", { ...kept, renewAt: 0 });
    }

    /** A token that holds, or null. Throws where the server cannot be asked. */
    async token() {
        const kept = this.kept;
        if (!kept || Date.now() < kept.renewAt) return kept?.accessToken ?? null;
        this.#renewing ??= this.#renew(kept).finally(() => (this.#renewing = null));
        return this.#renewing;
    }

    async #renew({ refreshToken }) {
        try {
            this.keep(await this.#call("POST", "auth/refresh", { refreshToken }));
        } catch (error) {
            const other = this.kept?.refreshToken !== refreshToken; // another tab was faster
            if (!other && (error.status !== 401 && error.status !== 422)) throw error;
            if (!other) this.forget();
        }
        return this.kept?.accessToken ?? null;
    }
}

export class Pollroom {
    #rooms = new Set();
    #socket = null;
    #stream = null;
    #timers = new Map();
    #tries = 0;
    #blocked = 0;
    #welcomed = false;
    #ready = false;
    #held = false;
    #bare = false;
    #refused = 0;
    #silent = 0;
    #welcome = { pingInterval: 20, reconnect: { minDelay: 0.5, maxDelay: 30 }, features: [] };
    #ballots = new Map();
    #waiting = new Map();
    #becoming = null;
    #proving = null;
    #token;

    /** See pollroom.d.ts. */
    constructor({ base = new URL("./", import.meta.url).href, token, watchOnly = false, storage } = {}) {
        this.base = new URL(base.endsWith("/") ? base : base + "/").href;
        this.storage = storage ?? safeStorage(`pollroom:${new URL(this.base).pathname}:`);
        this.session = watchOnly || token ? null : new Session((...call) => this.#fetch(null, ...call), this.storage);
        this.#token = token ?? (() => this.#sessionToken());
        this.ahead = 0;
        this.link = "connecting";
        this.lostAt = null;
        this.full = false;
        this.signedOut = false;
        if (!watchOnly) for (const ballot of this.storage.get("ballots") ?? []) this.#ballots.set(ballot.id, ballot);
        for (const name of ["pageshow", "online"]) globalThis.addEventListener?.(name, (event) => this.#awake(event));
        globalThis.document?.addEventListener("visibilitychange", (event) => this.#awake(event));
    }

    get user() {
        return this.session?.kept?.user ?? null;
    }

    /** Milliseconds on the server's clock. */
    now() {
        return Date.now() + this.ahead;
    }

    // HTTP ------------------------------------------------------------------------------------------------------------

    async register(email, password) {
        return this.#signIn(await this.#fetch(null, "POST", "auth/register", { email, password }));
    }

    async login(email, password) {
        return this.#signIn(await this.#fetch(null, "POST", "auth/login", { email, password }));
    }

    async guest(proven = false) {
        const user = await this.#becomeGuest(proven);
        this.signedOut = false;
        if (this.#welcomed && !this.#held) this.#authenticate();
        this.#tell();
        return user;
    }

    async logout() {
        try {
            await this.api("POST", "auth/logout");
        } finally {
            this.session.forget();
            this.#reopen();
        }
    }

    #signIn(answer) {
        const user = this.session.keep(answer);
        this.signedOut = false;
        if (this.#held) this.#reopen(); // a socket keeps its first user
        else if (this.#welcomed) this.#authenticate();
        return user;
    }

    /** The answer's JSON or text, null without a body. Throws `ApiError`, or `TypeError` where the server is away. */
    async api(method, path, body, headers) {
        try {
            return await this.#fetch(await this.#token(), method, path, body, headers);
        } catch (error) {
            if (error.status !== 401 || !this.session?.kept) throw error;
            this.session.distrust();
            return this.#fetch(await this.#token(), method, path, body, headers);
        }
    }

    async #fetch(token, method, path, body, headers = {}) {
        const sent = { ...headers };
        const raw = body === undefined || body instanceof globalThis.Blob;
        if (token) sent.Authorization = `Bearer ${token}`;
        if (!raw) sent["Content-Type"] = "application/json";
        const init = { method, headers: sent, body: raw ? body : JSON.stringify(body) };
        const response = await fetch(this.base + path, init);
        if (response.status === 204) return null;
        const json = (response.headers.get("content-type") ?? "").includes("json");
        if (response.ok) return json ? response.json() : response.text();
        throw new ApiError(response.status, json ? await response.json() : { code: "UNAVAILABLE" });
    }

    async #sessionToken() {
        const had = this.session?.kept;
        const token = (await this.session?.token()) ?? null;
        if (had && token === null) {
            this.signedOut = true;
            this.#tell();
        }
        return token;
    }

    // Rooms and ballots -----------------------------------------------------------------------------------------------

    /** `target`: a code, or `{pollId}`. `show` gets the room's state at once and at every change. */
    join(target, show) {
        const room = new Room(this, target, show, (message) => this.#send(message));
        this.#rooms.add(room);
        if (this.#stream) this.#follow(room);
        else if (this.#ready) room.enter();
        else if (!this.#socket && !this.#timers.has("again")) this.#open();
        room.tell();
        return room;
    }

    leave(room) {
        this.#rooms.delete(room);
        if (!this.#rooms.size) this.#drop();
    }

    /** Ballots of a poll that have no answer yet, oldest first. */
    pending(pollId) {
        return [...this.#ballots.values()].filter((ballot) => ballot.pollId === pollId);
    }

    /** Kept until it is answered: `VOTE_ACCEPTED`, `VOTE_RETRACTED` or the `ERROR`. Rejects where the connection ends for good. */
    async cast(ballot) {
        if (!/^[\w-]{1,64}$/.test(ballot.id)) throw new Error("invalid ballot id");
        const known = this.#waiting.get(ballot.id) ?? {};
        known.answer ??= new Promise((resolve, reject) => Object.assign(known, { resolve, reject }));
        this.#waiting.set(ballot.id, known);
        this.#ballots.set(ballot.id, { userId: this.user?.id, madeAt: Date.now(), ...ballot });
        this.#keep();
        this.#tell();
        if (!this.#held && this.session && !this.session.kept) await this.#authenticate();
        else this.#sendBallot(this.#ballots.get(ballot.id));
        return known.answer;
    }

    #keep() {
        this.storage.set("ballots", this.#ballots.size ? [...this.#ballots.values()] : null);
    }

    #sendBallot(ballot) {
        if (!ballot || !(this.#held || (this.#bare && !this.signedOut))) return;
        const user = this.user;
        if (user && ballot.userId !== user.id) {
            // Made by somebody else on this device: sent now, it would be a second vote.
            if (ballot.userId) return this.#answered({ type: "ERROR", code: "SIGNED_OUT", id: ballot.id, pollId: ballot.pollId });
            ballot.userId = user.id;
            this.#keep();
        }
        const { id, pollId, optionIds, retract } = ballot;
        if (this.#stream) this.#post(ballot);
        else if (retract) this.#send({ type: "RETRACT_VOTE", pollId, id });
        else this.#send({ type: "VOTE", pollId, optionIds, id });
    }

    #answered(message) {
        const ballot = this.#ballots.get(message.id);
        this.#ballots.delete(message.id);
        this.#keep();
        for (const room of this.#rooms) room.answered(message, ballot);
        this.#waiting.get(message.id)?.resolve(message);
        this.#waiting.delete(message.id);
    }

    #tell() {
        for (const room of this.#rooms) room.tell();
    }

    // The socket ------------------------------------------------------------------------------------------------------

    #open() {
        this.#drop();
        if (this.#blocked >= 2) return this.#openStreams();
        const socket = new WebSocket(this.base.replace(/^http/, "ws") + "ws");
        this.#socket = socket;
        socket.onmessage = ({ data }) => {
            this.#silent = 0;
            this.#stop("wake");
            this.#take(JSON.parse(data));
        };
        socket.onclose = ({ code }) => this.#lost(code);
        this.#later("opening", OPEN_SECONDS, () => this.#lost(1006));
    }

    /** Replaces the timer of this name. */
    #later(name, seconds, act) {
        this.#stop(name);
        const run = () => {
            this.#timers.delete(name);
            act();
        };
        this.#timers.set(name, setTimeout(run, 1000 * seconds));
    }

    #stop(name) {
        clearTimeout(this.#timers.get(name));
        this.#timers.delete(name);
    }

    #send(message) {
        if (this.#socket?.readyState === 1) this.#socket.send(JSON.stringify(message));
    }

    #take(message) {
        if (message.serverTime) this.ahead = Date.parse(message.serverTime) - Date.now();
        switch (message.type) {
            case "WELCOME":
                this.#stop("opening");
                this.#welcome = { ...this.#welcome, ...message };
                this.#welcomed = true;
                this.#blocked = 0;
                this.#watchOver();
                return this.#authenticate();
            case "AUTHENTICATED":
                this.#held = true;
                this.#refused = 0;
                this.#later("renewal", Math.max(1, ((Date.parse(message.expiresAt) - this.now()) / 1000) * RENEW_AT), () => {
                    this.session?.distrust();
                    this.#authenticate();
                });
                return this.#ballots.forEach((ballot) => this.#sendBallot(ballot));
            case "VOTE_ACCEPTED":
            case "VOTE_RETRACTED":
                return this.#answered(message);
            case "ERROR":
                if (this.#ballots.has(message.id)) return this.#refusedBallot(message);
                break;
            case "POLL_STATE":
            case "DECK_STATE":
                this.#alive();
        }
        for (const room of [...this.#rooms]) room.take(message, this.#welcome.features);
    }

    #refusedBallot(message) {
        const ballot = this.#ballots.get(message.id);
        if (message.code === "CHALLENGE_REQUIRED" && this.session?.kept) {
            ballot.refused = true;
            return this.#prove(message);
        }
        if (!AGAIN.has(message.code)) return this.#answered(message);
        this.#later(message.id, message.retryAfter ?? 1, () => this.#sendBallot(ballot));
        for (const room of this.#rooms) room.unsure(message);
    }

    #alive() {
        this.#tries = 0;
        this.link = "live";
        this.lostAt = null;
        this.full = false;
    }

    /** If no token can be had, the socket watches and ballots wait. */
    async #authenticate() {
        const socket = this.#socket;
        let token;
        try {
            const guest = this.#ballots.size && this.session && !this.session.kept && !this.signedOut;
            if (guest) await this.#becomeGuest();
            token = (await this.#token()) ?? null;
        } catch (error) {
            console.warn(error);
        }
        if (socket !== this.#socket || !this.#welcomed) return;
        if (token) this.#send({ type: "AUTH", token });
        else if (token === null) this.#bare = true;
        else this.#later("renewal", 5, () => this.#authenticate());
        this.#ready = true;
        for (const room of this.#rooms) if (!room.inside) room.enter();
        if (this.#bare && !token) this.#ballots.forEach((ballot) => this.#sendBallot(ballot));
    }

    #becomeGuest(proven = false) {
        this.#becoming ??= this.#newGuest(proven)
            .then((answer) => this.session.kept?.user ?? this.session.keep(answer)) // another tab may have been faster
            .finally(() => (this.#becoming = null));
        return this.#becoming;
    }

    async #newGuest(proven) {
        if (!proven) {
            try {
                return await this.#fetch(null, "POST", "auth/guest");
            } catch (error) {
                if (error.code !== "CHALLENGE_REQUIRED") throw error;
            }
        }
        return this.#fetch(null, "POST", "auth/guest", { solution: await this.#solve() });
    }

    /** The guest of this browser solves a challenge, then sends its ballots again. */
    #prove(refusal) {
        this.#proving ??= this.#solve()
            .then((solution) => this.api("POST", "auth/proof", { solution }))
            .then((answer) => {
                this.session.keep(answer);
                if (this.#stream) this.#ballots.forEach((ballot) => this.#sendBallot(ballot));
                else return this.#authenticate(); // its answer sends the ballots
            })
            .catch((error) => {
                const final = error instanceof ApiError && !AGAIN.has(error.code);
                for (const { id, pollId } of [...this.#ballots.values()].filter(({ refused }) => refused)) {
                    if (final) this.#answered({ ...refusal, id, pollId });
                    else this.#later(id, 2, () => this.#sendBallot(this.#ballots.get(id)));
                }
            })
            .finally(() => (this.#proving = null));
    }

    /** A challenge of ALTCHA: in slices, so that the page stays responsive. */
    async #solve() {
        const { algorithm, challenge, maxnumber, salt, signature } = await this.#fetch(null, "GET", "auth/challenge");
        const { sha256 } = await import("./sha256.js");
        for (let number = 0; number <= maxnumber; number++) {
            if (sha256(salt + number) === challenge) return btoa(JSON.stringify({ algorithm, challenge, number, salt, signature }));
            if (number % SLICE_HASHES === SLICE_HASHES - 1) await new Promise((resume) => setTimeout(resume));
        }
        throw new Error("the challenge has no solution");
    }

    /** A lost network closes no socket. */
    #watchOver() {
        this.#later("pulse", this.#welcome.pingInterval, () => {
            if (this.#silent++ >= 2) return this.#lost(1006);
            this.#send({ type: "PING" });
            this.#watchOver();
        });
    }

    /** Does not wait for the next try. */
    retryNow() {
        if (this.#timers.has("again")) this.#open();
        else this.#ballots.forEach((ballot) => this.#sendBallot(ballot));
    }

    /** The page is seen again, or the network is back. */
    #awake(event) {
        if (globalThis.document?.visibilityState === "hidden" || !this.#rooms.size) return;
        if (event.type === "pageshow" && !event.persisted) return;
        if (this.#timers.has("again")) return this.#open();
        if (this.#stream) return this.#reopen();
        this.#send({ type: "PING" });
        this.#later("wake", WAKE_SECONDS, () => this.#reopen());
    }

    #drop() {
        for (const name of [...this.#timers.keys()]) this.#stop(name);
        if (this.#socket) {
            this.#socket.onmessage = this.#socket.onclose = null;
            this.#socket.close();
        }
        this.#stream?.abort();
        this.#socket = this.#stream = null;
        this.#welcomed = this.#ready = this.#held = this.#bare = false;
        this.#silent = 0;
        for (const room of this.#rooms) room.inside = false;
    }

    #reopen() {
        this.#drop();
        if (this.#rooms.size) this.#open();
    }

    #lost(why) {
        const held = this.#held;
        if (!this.#welcomed && !this.#stream) this.#blocked++;
        this.#drop();
        if (this.link === "live") this.lostAt = Date.now();
        if (this.link !== "connecting") this.link = "lost";
        if (FINAL.has(why) || (why === 4401 && !held && !this.session)) return this.#end(why);
        if (why === 4401 && !held) {
            this.session.distrust();
            if (++this.#refused > 1) {
                this.session.forget();
                this.signedOut = true;
            }
        }
        this.full = why === 4503;
        if (why === 4429) this.#tries = 30;
        const { minDelay, maxDelay } = this.#welcome.reconnect;
        this.#later("again", Math.random() * Math.min(maxDelay, minDelay * 2 ** this.#tries++), () => this.#open());
        this.#tell();
    }

    #end(why) {
        for (const room of [...this.#rooms]) room.end(why);
    }

    /** Called by a room that is over. */
    ended(room, why) {
        for (const ballot of this.pending(room.pollId)) {
            this.#ballots.delete(ballot.id);
            this.#waiting.get(ballot.id)?.reject(new Error(`disconnected: ${why}`));
            this.#waiting.delete(ballot.id);
        }
        this.#keep();
        this.leave(room);
    }

    // Server-sent events, where WebSockets are blocked -----------------------------------------------------------------

    #openStreams() {
        this.#stream = new AbortController();
        for (const room of this.#rooms) this.#follow(room);
    }

    async #follow(room) {
        const stream = this.#stream;
        try {
            const token = (await this.#token()) ?? null;
            const path = await room.streamPath();
            const headers = token ? { Authorization: `Bearer ${token}` } : {};
            const response = await fetch(this.base + path, { headers, signal: stream.signal });
            // Where streams are unknown, this throws only if the poll is gone.
            if (response.status === 404) await this.api("GET", path.replace("/stream", ""));
            if (!response.ok) throw new ApiError(response.status, { code: "UNAVAILABLE" });
            if (stream !== this.#stream) return;
            this.#held = token !== null;
            this.#bare = token === null;
            this.#ballots.forEach((ballot) => this.#sendBallot(ballot));
            for await (const message of events(response.body)) {
                if (stream !== this.#stream) return;
                if (message.type.endsWith("_STATE")) this.#alive();
                if (message.serverTime) this.ahead = Date.parse(message.serverTime) - Date.now();
                room.take(message, []);
            }
            throw new TypeError("the stream ended");
        } catch (error) {
            if (stream !== this.#stream || room.ended) return;
            if (error.code === "NOT_FOUND") return room.end("NOT_FOUND");
            if (this.link !== "live") this.#blocked = 0; // not even HTTP works: begin with sockets again
            this.#lost(1006);
        }
    }

    /** A ballot over HTTP, while there is no socket. */
    async #post(ballot) {
        const stream = this.#stream;
        const { id, pollId, optionIds, retract } = ballot;
        const path = `polls/${pollId}/votes`;
        try {
            const answer = retract
                ? await this.api("DELETE", `${path}/mine`, undefined, { "Idempotency-Key": id })
                : await this.api("POST", path, { optionIds, id });
            this.#answered({ type: retract ? "VOTE_RETRACTED" : "VOTE_ACCEPTED", ...answer });
            if (stream === this.#stream) this.#reopen(); // a stream keeps the rights of its start
        } catch (error) {
            const { code = "UNAVAILABLE", message, retryAfter } = error;
            this.#refusedBallot({ type: "ERROR", id, pollId, code, message, retryAfter });
        }
    }
}

/** One code, or one poll: what is known of it, and what its person did. */
class Room {
    #client;
    #show;
    #send;
    #joinId = newId();
    #extra = null;

    constructor(client, target, show, send) {
        this.#client = client;
        this.#show = show;
        this.#send = send;
        this.code = typeof target === "string" ? target.toUpperCase() : null;
        this.pollId = target.pollId ?? null;
        this.inside = false;
        this.ended = null;
        this.fresh();
        this.deck = null;
        this.viewers = 0;
    }

    fresh() {
        this.poll = this.tally = this.yourVote = this.outcome = null;
    }

    /** `VOTE_ACCEPTED` as last heard, also from before a reload. */
    get receipt() {
        return this.pollId && this.#client.storage.get(`receipt:${this.pollId}`);
    }

    get state() {
        const { link, lostAt, full, user } = this.#client;
        const { code, ended, poll, tally, viewers, yourVote, deck, outcome } = this;
        const kept = this.receipt;
        const receipt = kept && kept.userId === (user?.id ?? null) ? kept : null;
        const signedOut = kept !== null && !user && kept.userId !== null;
        const pending = this.pollId ? this.#client.pending(this.pollId) : [];
        return { link, lostAt, full, signedOut, user, code, ended, poll, tally, viewers, yourVote, deck, outcome, receipt, pending };
    }

    tell() {
        if (!this.ended) this.#show(this.state);
    }

    vote(optionIds, id = newId()) {
        return this.#cast({ id, pollId: this.pollId, optionIds });
    }

    retract(id = newId()) {
        return this.#cast({ id, pollId: this.pollId, retract: true });
    }

    async #cast(ballot) {
        if (this.ended) throw new Error("disconnected");
        if (!ballot.pollId) throw new Error("the poll is not known yet");
        this.outcome = null;
        return this.#client.cast(ballot);
    }

    leave() {
        if (this.ended) return;
        if (this.deck) this.#send({ type: "LEAVE_DECK", deckId: this.deck.id });
        if (this.pollId) this.#send({ type: "LEAVE_POLL", pollId: this.pollId });
        this.ended = "left";
        this.#client.leave(this);
    }

    end(why) {
        if (this.ended) return;
        this.ended = why;
        this.#client.ended(this, why);
        this.#show(this.state);
    }

    // What the client calls --------------------------------------------------------------------------------------------

    enter() {
        const id = this.#joinId;
        if (this.deck) this.#send({ type: "JOIN_DECK", deckId: this.deck.id, id });
        else if (this.code) this.#send({ type: "JOIN_POLL", code: this.code, id });
        else this.#send({ type: "JOIN_POLL", pollId: this.pollId, id });
    }

    async streamPath() {
        if (this.code && !this.pollId && !this.deck) {
            const { poll, deck } = await this.#client.api("GET", `join/${this.code}`);
            if (deck) this.deck = deck;
            else this.pollId = poll.id;
        }
        return this.deck ? `decks/${this.deck.id}/stream` : `polls/${this.pollId}/stream`;
    }

    take(message, features) {
        const { type, poll, pollId, deck } = message;
        if (type === "ERROR") {
            if (message.id === this.#joinId) this.#notJoined(message, features);
        } else if (type === "DECK_STATE" || type === "DECK_CHANGED") {
            if (this.deck ? this.deck.id === deck.id : this.code === deck.code) this.#deal(message);
        } else if (type === "DECK_UPDATE") {
            if (this.deck?.id === message.deckId) this.#set({ viewers: message.viewers });
        } else if (type === "DECK_DELETED") {
            if (this.deck?.id === message.deckId) this.end(type);
        } else if (type === "POLL_STATE" && (poll.id === this.pollId || (!this.deck && poll.code === this.code))) {
            this.inside = true;
            this.pollId = poll.id;
            this.#update(message);
        } else if (type === "POLL_DELETED" && pollId === this.pollId) {
            if (!this.deck) this.end(type);
        } else if ((poll?.id ?? pollId) === this.pollId && message.tally) {
            this.#update(message);
        }
    }

    #notJoined({ code, retryAfter }, features) {
        if (AGAIN.has(code)) setTimeout(() => this.ended || this.inside || this.enter(), 1000 * (retryAfter ?? 1));
        else if (this.code && !this.deck && features.includes("deck") && this.#joinId.endsWith("-d") === false) {
            this.#joinId += "-d";
            this.#send({ type: "JOIN_DECK", code: this.code, id: this.#joinId });
        } else this.end("NOT_FOUND");
    }

    /** A deck, and the poll that it shows now. */
    #deal(message) {
        const { type, deck, poll, tally, viewers } = message;
        this.inside = true;
        this.deck = deck;
        this.viewers = viewers;
        if (deck.currentPollId !== this.pollId) {
            if (this.#extra) this.#send({ type: "LEAVE_POLL", pollId: this.#extra });
            this.#extra = null;
            this.pollId = deck.currentPollId;
            this.fresh();
            if (type === "DECK_CHANGED" && this.receipt) {
                this.#extra = this.pollId;
                this.#send({ type: "JOIN_POLL", pollId: this.pollId });
            }
        }
        if (poll) this.#update({ poll, tally, viewers });
        else this.tell();
    }

    #set(fields) {
        Object.assign(this, fields);
        this.tell();
    }

    /** The highest (epoch, seq) is the newest. An equal one may newly include the counts. */
    #update({ poll, tally, viewers, yourVote }) {
        const { epoch, seq } = this.tally ?? tally;
        if (tally.epoch < epoch || (tally.epoch === epoch && tally.seq < seq)) return;
        const changed = { tally };
        if (poll) changed.poll = poll;
        if (viewers !== undefined) changed.viewers = viewers;
        if (yourVote !== undefined) changed.yourVote = yourVote;
        this.#set(changed);
    }

    answered(message, ballot) {
        if (message.pollId !== undefined && message.pollId !== this.pollId) return;
        if (message.pollId === undefined && ballot?.pollId !== this.pollId) return;
        const restored = !ballot || ballot.madeAt < STARTED;
        const changed = this.yourVote !== null && this.yourVote.id !== message.id;
        this.outcome = { ...message, at: this.#client.now(), restored, changed };
        if (message.seq !== undefined && message.seq >= (this.yourVote?.seq ?? 0)) {
            const { id, optionIds, seq, castAt } = message;
            this.yourVote = message.type === "VOTE_ACCEPTED" ? { id, optionIds, seq, castAt } : null;
            const kept = this.yourVote && { ...message, userId: this.#client.user?.id ?? null };
            this.#client.storage.set(`receipt:${this.pollId}`, kept);
        }
        this.tell();
    }

    /** The server could not say whether it counts: it is sent again. */
    unsure(message) {
        if (message.pollId === this.pollId || this.#client.pending(this.pollId).some(({ id }) => id === message.id)) {
            this.#set({ outcome: message });
        }
    }
}

/** The messages of a `text/event-stream`. */
async function* events(body) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        const parts = (rest + value).replaceAll("\r\n", "\n").split("\n\n");
        rest = parts.pop();
        for (const part of parts) {
            const data = part.split("\n").filter((line) => line.startsWith("data:"));
            if (data.length) yield JSON.parse(data.map((line) => line.slice(5).trimStart()).join("\n"));
        }
    }
}
