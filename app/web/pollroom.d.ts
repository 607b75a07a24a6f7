/** A client of Pollroom. The rules that it follows, and the shapes below, are those of docs/protocol.md. */

export type Link = "connecting" | "live" | "lost";

export interface User {
    id: string;
    email: string | null;
    name: string | null;
    guest: boolean;
    createdAt: string;
}

export interface Option {
    id: string;
    label: string;
    imageUrl: string | null;
    thumbnailUrl: string | null;
}

export interface Poll {
    id: string;
    code: string;
    ownerId: string;
    question: string;
    description: string | null;
    options: Option[];
    minChoices: number;
    maxChoices: number;
    resultsVisibility: "always" | "after_vote" | "after_close" | "owner";
    allowChange: boolean;
    guests: boolean | "challenge";
    status: "draft" | "scheduled" | "open" | "closed";
    opensAt: string | null;
    closesAt: string | null;
    createdAt: string;
    paused: boolean;
    round: number;
    previousPollId: string | null;
    deckId: string | null;
    revealed: { at: string; correctOptionIds: string[] } | null;
    verifiable: boolean;
    commitment: { size: number; root: string; fingerprint: string } | null;
    /** Only in HTTP answers to the owner. */
    correctOptionIds?: string[];
    /** Fields of newer servers. */
    [field: string]: unknown;
}

export interface Tally {
    epoch: number;
    seq: number;
    voters: number;
    /** Missing while they are hidden from this client. */
    counts?: Record<string, number>;
    final: boolean;
}

export interface Deck {
    id: string;
    code: string;
    ownerId: string;
    title: string;
    currentPollId: string | null;
    position: number | null;
    count: number;
    version: number;
    createdAt: string;
    endedAt: string | null;
}

export interface YourVote {
    id: string;
    optionIds: string[];
    seq: number;
    castAt: string;
}

/** A ballot without an answer. It survives a reload. */
export interface Pending {
    id: string;
    pollId: string;
    optionIds?: string[];
    retract?: true;
    madeAt: number;
}

/** `VOTE_ACCEPTED`, `VOTE_RETRACTED` or `ERROR`. */
export interface Answer {
    type: string;
    id?: string;
    pollId?: string;
    optionIds?: string[];
    seq?: number;
    castAt?: string;
    repeated?: boolean;
    /** Of an `ERROR`. `SIGNED_OUT`: the ballot was made by another user of this device and was not sent. */
    code?: string;
    message?: string;
    retryAfter?: number;
    /** Of an `ERROR` with `VALIDATION_FAILED`: the wrong fields. */
    fields?: Record<string, string>;
}

/** A snapshot of a room. Whatever is not known yet is null. */
export interface State {
    link: Link;
    /** When the connection was lost, in milliseconds of this device's clock. */
    lostAt: number | null;
    /** The server takes no more sockets at the moment. */
    full: boolean;
    /** This browser voted here with a session that is gone. A new guest would be a second vote: ask first, then call `login` or `guest`. */
    signedOut: boolean;
    user: User | null;
    code: string | null;
    /** Why nothing more comes: `"NOT_FOUND"`, `"POLL_DELETED"`, `"DECK_DELETED"`, `"left"` or a close code. */
    ended: string | number | null;
    poll: Poll | null;
    tally: Tally | null;
    viewers: number;
    yourVote: YourVote | null;
    deck: Deck | null;
    /** The last answer to a ballot of this poll. `restored`: it was made before a reload. `changed`: it replaced another one. */
    outcome: (Answer & { at?: number; restored?: boolean; changed?: boolean }) | null;
    /** The last `VOTE_ACCEPTED` of this user and poll, also from before a reload. */
    receipt: Answer | null;
    pending: Pending[];
}

export interface Room {
    readonly state: State;
    readonly pollId: string | null;
    /** Resolves to the answer. The ballot is kept until there is one. Rejects if the connection ended for good. */
    vote(optionIds: string[], id?: string): Promise<Answer>;
    retract(id?: string): Promise<Answer>;
    leave(): void;
}

export interface Options {
    /** Address of the server. Default: where this file was loaded from. */
    base?: string;
    /** An app's own tokens. Returns a fresh one, or null to only watch; it is asked again if it throws. */
    token?: () => Promise<string | null | undefined> | string | null | undefined;
    /** Ignore the session that this browser keeps, and have no rights. */
    watchOnly?: boolean;
    /** Where sessions and ballots are kept. Default: localStorage, or memory where that throws. */
    storage?: Storage;
}

export interface Storage {
    get(name: string): any;
    set(name: string, value: unknown): void;
}

export class ApiError extends Error {
    status: number;
    code: string;
    fields: Record<string, string>;
    retryAfter?: number;
}

export class Pollroom {
    constructor(options?: Options);
    readonly base: string;
    /** The user of this browser's session. */
    readonly user: User | null;
    /** Milliseconds on the server's clock. */
    now(): number;
    /** Joins a room by its code, or by `{pollId}`. `show` gets the state at once and at every change. */
    join(target: string | { pollId: string }, show: (state: State) => void): Room;
    register(email: string, password: string): Promise<User>;
    login(email: string, password: string): Promise<User>;
    /**
     * Also done by the first vote of somebody without a session. `proven`: solves a challenge first, which takes a phone about a
     * second. Polls with `guests: "challenge"` take proven guests alone; a vote there solves one if it has to.
     * The file `sha256.js` must lie beside this one.
     */
    guest(proven?: boolean): Promise<User>;
    logout(): Promise<void>;
    /** Tries now what waits for a connection. */
    retryNow(): void;
    /** Any call of the contract, as `api("POST", "polls", {…})`, with the session's token. Throws `ApiError`. */
    api(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<any>;
}

/** 22 random characters from `A-Za-z0-9_-`, on plain http, too. */
export function newId(): string;
export function safeStorage(prefix?: string): Storage;
