// What all pages share: texts, the client, and the parts that they draw.

import { html, render, useEffect, useLayoutEffect, useRef, useState } from "./preact.js";
import { Pollroom, safeStorage } from "./pollroom.js";

export { html, render, useEffect, useLayoutEffect, useRef, useState };

const LANGUAGES = { en: "English", de: "Deutsch", es: "Español" };
const LOOPBACK = /^(localhost|.*\.localhost|127\.[\d.]+|\[::1\])$/;
const SPEAK_SECONDS = 15;

/** The pages' root, also under a sub-path. */
export const root = new URL("../../", import.meta.url).href;
export const onLoopback = LOOPBACK.test(location.hostname);

const settings = safeStorage("pollroom:page:");

// Texts -------------------------------------------------------------------------------------------------------------

const wished = [settings.get("language"), ...navigator.languages].filter(Boolean).map((name) => name.slice(0, 2));
export const language = wished.find((name) => name in LANGUAGES) ?? "en";
document.documentElement.lang = language;
const texts = await (await fetch(new URL(`${language}.json`, import.meta.url))).json();
const plural = new Intl.PluralRules(language);
// Dates and numbers as in the person's region.
const locale = navigator.languages.find((name) => name.slice(0, 2) === language) ?? language;
const numbers = new Intl.NumberFormat(locale);
const percents = new Intl.NumberFormat(locale, { style: "percent" });
const times = new Intl.DateTimeFormat(locale, { timeStyle: "short" });
const seconds = new Intl.DateTimeFormat(locale, { timeStyle: "medium" });

/** The text of a key. `n` chooses the plural. */
export function t(key, values = {}) {
    let text = texts[key] ?? key;
    if (typeof text === "object") text = text[plural.select(values.n)] ?? text.other;
    return text.replace(/\{(\w+)\}/g, (_, name) => {
        const value = values[name];
        return typeof value === "number" ? numbers.format(value) : (value ?? "");
    });
}

export const number = (value) => numbers.format(value);
export const percent = (part, whole) => percents.format(whole ? part / whole : 0);
export const clock = (at) => times.format(new Date(at));
export const exactClock = (at) => seconds.format(new Date(at));
export const letter = (index) => (index < 26 ? String.fromCharCode(65 + index) : String(index + 1));
/** K7M PRX: two groups are easier to read aloud. */
export const spaced = (code) => `${code.slice(0, 3)} ${code.slice(3)}`;

/** Date and time to the second. */
export const moment = (at) => moments.format(new Date(at));

const DAY = 86_400_000;
const moments = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "medium" });
const dates = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" });

/** When voting opens, and how long until then if that is soon. */
export function opening(poll, now) {
    const at = Date.parse(poll.opensAt);
    if (at - now > DAY) return t("opens_on", { at: dates.format(at) });
    return t("opens", { at: clock(at), in: duration(at - now) });
}

export function duration(milliseconds) {
    const all = Math.max(0, Math.ceil(milliseconds / 1000));
    const parts = [Math.floor(all / 3600), Math.floor(all / 60) % 60, all % 60];
    if (!parts[0]) parts.shift();
    return parts.map((part, index) => (index ? String(part).padStart(2, "0") : part)).join(":");
}

// Speaking to screen readers -----------------------------------------------------------------------------------------

function put(id, text) {
    const region = document.getElementById(id);
    region.textContent = "";
    setTimeout(() => (region.textContent = text), 30); // the same text again is news, too
}

export const speak = (text) => put("status", text);
export const warn = (text) => put("alert", text);

/** Says counts rarely: at most once in 15 s, and only if the leader changed or a share moved by 5 points. */
export function useSpokenResults(poll, tally) {
    const last = useRef(null);
    useEffect(() => {
        if (!tally?.counts) return;
        const shares = poll.options.map(({ id }) => (tally.voters ? (tally.counts[id] ?? 0) / tally.voters : 0));
        const leader = shares.indexOf(Math.max(...shares));
        const before = last.current;
        const now = { poll: poll.id, shares, leader, at: Date.now() };
        if (!before || before.poll !== poll.id) return void (last.current = now);
        const moved = leader !== before.leader || shares.some((share, index) => Math.abs(share - (before.shares[index] ?? 0)) >= 0.05);
        if (!moved || now.at - before.at < 1000 * SPEAK_SECONDS) return;
        last.current = now;
        speak(resultsAsText(poll, tally));
    }, [poll?.id, tally?.seq]);
}

export function resultsAsText(poll, tally) {
    const lines = poll.options.map(({ id, label }) => {
        const n = tally.counts[id] ?? 0;
        return `${label}: ${t("votes", { n })}, ${percent(n, tally.voters)}`;
    });
    return `${t("results_so_far")}. ${lines.join(". ")}. ${t("have_voted", { n: tally.voters })}`;
}

// Hooks --------------------------------------------------------------------------------------------------------------

/** Draws again every so many milliseconds while `on`. */
export function useTick(milliseconds, on = true) {
    const [, set] = useState(0);
    useEffect(() => {
        if (!on) return undefined;
        const timer = setInterval(() => set((n) => n + 1), milliseconds);
        return () => clearInterval(timer);
    }, [on, milliseconds]);
}

export function useRoom(client, target) {
    const [state, set] = useState(null);
    const room = useRef(null);
    useEffect(() => {
        room.current = client.join(target, set);
        return () => room.current.leave();
    }, [client, JSON.stringify(target)]);
    return [state, room];
}

/** True `milliseconds` after `value` became true. */
export function useLate(value, milliseconds) {
    const [late, set] = useState(false);
    useEffect(() => {
        set(false);
        if (!value) return undefined;
        const timer = setTimeout(() => set(true), milliseconds);
        return () => clearTimeout(timer);
    }, [value]);
    return value && late;
}

export function useTitle(text) {
    useEffect(() => {
        document.title = text;
    }, [text]);
}

// Addresses ----------------------------------------------------------------------------------------------------------

export const newClient = (options) => new Pollroom({ base: root, ...options });

/** Where phones reach this server: `PUBLIC_URL`, this page's own address, or the network's. Null if only this computer does. */
export async function audienceAddresses(client) {
    const here = onLoopback ? [] : [root];
    if (!client.user || client.user.guest) return here;
    try {
        const { publicUrl, addresses } = await client.api("GET", "server");
        const found = publicUrl ? [publicUrl] : [...here, ...(onLoopback ? addresses : [])];
        return found.map((address) => (address.endsWith("/") ? address : `${address}/`));
    } catch {
        return here;
    }
}

export const shortAddress = (address) => address.replace(/^https?:\/\//, "").replace(/\/$/, "");

// Parts --------------------------------------------------------------------------------------------------------------

export const Brand = () => html`
    <a class="brand" href=${root}>
        <svg viewBox="0 0 32 32" aria-hidden="true">
            <rect width="32" height="32" rx="9" fill="var(--accent)" />
            <path d="M9 17v6M16 9v14M23 14v9" stroke="var(--on-accent)" stroke-width="4" stroke-linecap="round" />
        </svg>
        Pollroom
    </a>
`;

export const SIGNS = { good: "✓", warn: "!", bad: "✕", info: "i" };

export const Notice = ({ tone = "info", said, children }) => html`
    <div class="notice ${tone}">
        <span class="sign" aria-hidden="true">${SIGNS[tone]}</span>
        <p class="said">${said}</p>
        ${children}
    </div>
`;

/** Right or wrong, as a sign and a word, once it is revealed. */
export function Verdict({ poll, id, mine }) {
    if (!poll.revealed) return null;
    const right = poll.revealed.correctOptionIds.includes(id);
    if (!right && !mine) return null;
    return html`<span class="verdict ${right ? "" : "wrong"}">${right ? "✓" : "✗"} ${t(right ? "right" : "wrong")}</span>`;
}

export function Results({ poll, tally, mine = [], label }) {
    const { voters, counts } = tally;
    return html`
        <ul class="results figures" aria-label=${label ?? t(tally.final ? "results_final" : "results_so_far")}>
            ${poll.options.map((option, index) => {
                const n = counts[option.id] ?? 0;
                return html`
                    <li class="result hue${index % 8}" key=${option.id}>
                        <span class="letter" aria-hidden="true">${letter(index)}</span>
                        <span class="label" dir="auto">
                            ${option.label}${mine.includes(option.id) && html`<span class="mine"> ✓<span class="unseen">${t("your_choice")}</span></span>`}
                            <${Verdict} poll=${poll} id=${option.id} mine=${mine.includes(option.id)} />
                        </span>
                        <span class="share">${percent(n, voters)}<span class="votes"> · ${t("votes", { n })}</span></span>
                        <span class="track" aria-hidden="true">
                            <span class="fill" style=${{ width: `${voters ? (100 * n) / voters : 0}%` }}></span>
                        </span>
                    </li>
                `;
            })}
        </ul>
    `;
}

export const Field = ({ id, label, wrong, hint, children }) => html`
    <div class="field">
        <label for=${id}>${label}</label>
        ${children}
        ${hint && html`<p class="fine" id="${id}-hint">${hint}</p>`}
        ${wrong && html`<p class="wrong" id="${id}-wrong">${wrong}</p>`}
    </div>
`;

/** What went wrong, for people. */
export function explain(error) {
    const known = ["INVALID_CREDENTIALS", "EMAIL_TAKEN", "RATE_LIMITED", "UNAVAILABLE", "FORBIDDEN", "POLL_CLOSED", "POLL_LOCKED", "NOTHING_TO_REVEAL", "UNSUPPORTED_MEDIA", "TOO_LARGE"];
    if (known.includes(error.code)) return t(`error_${error.code}`);
    if (!error.code) return t("error_away");
    return error.message;
}

/** Sign in or create an account. `done` is called with the user. */
export function SignIn({ client, done, create = false }) {
    const [making, make] = useState(create);
    const [failed, fail] = useState(null);
    const [busy, work] = useState(false);
    const submit = async (event) => {
        event.preventDefault();
        const { email, password } = event.target.elements;
        work(true);
        try {
            const user = making ? await client.register(email.value, password.value) : await client.login(email.value, password.value);
            done(user);
        } catch (error) {
            fail(error);
            warn(explain(error));
        }
        work(false);
    };
    return html`
        <form class="stack" onSubmit=${submit}>
            <${AccountFields} failed=${failed} making=${making} />
            <button class="button main wide" disabled=${busy}>${t(making ? "create_account" : "sign_in")}</button>
            <button type="button" class="button plain" onClick=${() => make(!making)}>
                ${t(making ? "have_account" : "no_account")}
            </button>
        </form>
    `;
}

export function AccountFields({ failed, making }) {
    const fields = failed?.fields ?? {};
    const whole = failed && !Object.keys(fields).length;
    return html`
        <${Field} id="email" label=${t("email")} wrong=${fields.email && t("wrong_email")}>
            <input id="email" name="email" type="email" autocomplete="email" required aria-invalid=${!!fields.email} />
        <//>
        <${Field} id="password" label=${t("password")} wrong=${fields.password && t("wrong_password")} hint=${making && t("password_hint")}>
            <input
                id="password"
                name="password"
                type="password"
                autocomplete=${making ? "new-password" : "current-password"}
                minlength="8"
                required
                aria-invalid=${!!fields.password}
            />
        <//>
        ${whole && html`<${Notice} tone="bad" said=${explain(failed)} />`}
    `;
}

export const Languages = () => html`
    <label class="languages fine">
        <span class="unseen">${t("language")}</span>
        <select
            value=${language}
            onChange=${(event) => {
                settings.set("language", event.target.value);
                location.reload();
            }}
        >
            ${Object.entries(LANGUAGES).map(([name, label]) => html`<option value=${name}>${label}</option>`)}
        </select>
    </label>
`;

/** The owner's session downloads it; a plain link carries no token. */
export async function saveCsv(client, poll) {
    const text = await client.api("GET", `polls/${poll.id}/results.csv?excel=1`);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(["\ufeff", text], { type: "text/csv" }));
    link.download = `${poll.code}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** What this browser remembers for its person; with a value it is set. */
export function setting(name, ...value) {
    if (value.length) settings.set(name, value[0]);
    return settings.get(name);
}
