// Whether a ballot is in the commitment of its poll, computed here from what this page shows: docs/verifying.md has the
// format. `crypto.subtle` is missing on plain http.

import { sha256 } from "./sha256.js";

const BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const utf8 = new TextEncoder();

const hash = (...parts) => sha256.array(parts.flat());
const hex = (bytes) => bytes.map((byte) => byte.toString(16).padStart(2, "0")).join("");
const bytes = (text) => (text.match(/../g) ?? []).map((pair) => parseInt(pair, 16));

/** Two bytes of length, then the bytes. */
function field(text) {
    const data = [...utf8.encode(text)];
    return [data.length >> 8, data.length & 255, ...data];
}

function leafOf(poll, { id, optionIds }) {
    const terms = hex(hash(field(poll.question), poll.options.flatMap((option) => [...field(option.id), ...field(option.label)])));
    return hash(0, ["pollroom-ballot-v1", poll.id, terms, id, ...[...optionIds].sort()].flatMap(field));
}

/** The root that a proof leads to (RFC 9162, 2.1.3.2), or null. */
function rootOf(leaf, { index, size, path }) {
    let [node, last] = [leaf, size - 1];
    if (!(index >= 0 && index < size)) return null;
    for (const sibling of path) {
        if (last === 0) return null;
        if (index % 2 || index === last) {
            node = hash(1, bytes(sibling), node);
            while (index % 2 === 0 && index) [index, last] = [Math.floor(index / 2), Math.floor(last / 2)];
        } else {
            node = hash(1, node, bytes(sibling));
        }
        [index, last] = [Math.floor(index / 2), Math.floor(last / 2)];
    }
    return last ? null : node;
}

function fingerprintOf(root) {
    const bits = root.slice(0, 16).map((byte) => byte.toString(2).padStart(8, "0")).join("");
    const letters = bits.match(/.{5}/g).map((five) => BASE32[parseInt(five, 2)]);
    return letters.join("").match(/.{5}/g).slice(0, 5).join("-");
}

/** The place of a ballot, from 1, or null where it is not in the result with this fingerprint. */
export async function placeOf(client, poll, ballot) {
    const leaf = leafOf(poll, ballot);
    let proof;
    try {
        proof = await client.api("GET", `polls/${poll.id}/proof?leaf=${hex(leaf)}`);
    } catch (error) {
        if (error.code === "NOT_FOUND") return null;
        throw error;
    }
    const root = rootOf(leaf, proof);
    return root && fingerprintOf(root) === poll.commitment.fingerprint ? proof.index + 1 : null;
}
