// /p/{code}/screen: the big screen. It watches as a stranger, so it shows what the hall may see; only its keys use the owner's session.

import {
    Verdict, audienceAddresses, duration, exactClock, html, letter, newClient, number, opening, percent, render, root, shortAddress, spaced, speak,
    t, useEffect, useRoom, useSpokenResults, useState, useTick, useTitle,
} from "./ui.js";
import { Sure, useControls } from "./controls.js";
import { KeyList, useKeys } from "./keys.js";
import { Qr } from "./share.js";

const code = decodeURIComponent(location.pathname.slice(new URL(root).pathname.length).split("/")[1]).toUpperCase();
const watcher = newClient({ watchOnly: true });
const owner = newClient();

function App() {
    const [state] = useRoom(watcher, code);
    const [address, know] = useState(undefined);
    useEffect(() => void audienceAddresses(owner).then((found) => know(found[0] ?? null)), []);
    useWakeLock();
    if (!state) return null;
    if (state.ended) return html`<${Gone} state=${state} />`;
    return html`<${Screen} state=${state} address=${address} />`;
}

const Gone = ({ state }) => html`
    <main class="lobby only"><h1>${t(state.ended === "NOT_FOUND" ? "unknown" : "deleted", { code })}</h1></main>
    <footer class="foot"><a class="button small" href="${root}host">${t("my_polls")}</a></footer>
`;

function Screen({ state, address }) {
    const { poll, tally, deck } = state;
    const [large, enlarge] = useState(false);
    const [blank, blacken] = useState(false);
    const [sorted, sort] = useState(false);
    const [listed, list] = useState(false);
    const mine = poll && owner.user?.id === poll.ownerId;
    const controls = useControls(owner, poll, tally);
    const closed = poll?.status === "closed";
    const acts = mine ? controls.acts : {};
    const commands = [
        { name: "open_close", keys: [" "], act: acts.open ?? acts.close },
        { name: "show_hide", keys: ["h"], act: acts.show ?? acts.hide },
        { name: "reveal", keys: ["c"], act: acts.reveal },
        { name: "pause", keys: ["p"], act: acts.pause ?? acts.resume },
        { name: "more", keys: ["+"], act: acts.more },
        { name: "qr", keys: ["q"], act: () => enlarge(!large) },
        { name: "sort", keys: ["s"], act: closed && tally.counts ? () => sort(!sorted) : null },
        { name: "blank", keys: ["b", "."], act: () => blacken(!blank) },
        { name: "full", keys: ["f"], act: fullScreen },
        { name: "cancel", keys: ["Escape"], act: controls.cancel },
        { name: "list", keys: ["?"], act: () => list(true) },
    ];
    const [single, change] = useKeys(commands);
    const status = poll ? (poll.paused ? "paused" : poll.status) : "waiting";
    useTitle(poll ? `${status === "open" ? "● " : ""}${t(`status_${status}`)} · ${poll.question}` : spaced(code));
    useEffect(() => poll && speak(`${t(`said_${status}`)} ${poll.question}`), [poll?.id, status]);
    useSpokenResults(poll, tally);
    const lobby = large || !poll || status === "scheduled" || status === "draft";
    return html`
        ${lobby
            ? html`<${Lobby} state=${state} address=${address} />`
            : html`<${Chart} poll=${poll} tally=${tally} viewers=${state.viewers} deck=${deck} sorted=${sorted && closed} />`}
        <${Foot} state=${state} status=${status} address=${address} small=${!lobby} list=${() => list(true)} />
        ${controls.sure && html`<${Sure} sure=${controls.sure} confirm=${controls.confirm} cancel=${controls.cancel} kind="over" />`}
        ${controls.problem && html`<p class="sure card over" role="alert">${controls.problem}</p>`}
        ${listed && html`<${KeyList} commands=${commands.filter(({ name }) => name !== "cancel")} single=${single} change=${change} close=${() => list(false)} />`}
        ${blank && html`<button class="blank" aria-label=${t("key_blank")} onClick=${() => blacken(false)}></button>`}
    `;
}

function Lobby({ state, address }) {
    const { poll, viewers } = state;
    return html`
        <main class="lobby">
            ${address && html`<${Qr} text="${address}p/${code}" label=${t("qr_of", { address: shortAddress(address) })} />`}
            <div class="invite">
                <h1 dir="auto">${poll?.question ?? t("join_in")}</h1>
                ${poll?.status === "scheduled" && html`<${Opens} poll=${poll} />`}
                ${address === null && html`<p class="warning">${t("only_here")} <code>HOST=0.0.0.0 scripts/run</code></p>`}
                ${address && html`<p class="where">${shortAddress(address)}</p>`}
                <p class="code">${spaced(code)}</p>
                <p class="soft figures">${t("are_here", { n: viewers })}</p>
                ${!navigator.wakeLock && html`<p class="soft small">${t("no_sleep")}</p>`}
            </div>
        </main>
    `;
}

function Opens({ poll }) {
    useTick(500);
    return html`<p class="figures">${opening(poll, watcher.now())}</p>`;
}

function Chart({ poll, tally, viewers, deck, sorted }) {
    const { counts, voters, final } = tally;
    const rows = poll.options.map((option, index) => ({ ...option, index, n: counts?.[option.id] ?? 0 }));
    const right = poll.revealed?.correctOptionIds;
    const most = Math.max(...rows.map(({ n }) => n));
    const leaders = rows.filter(({ n }) => final && n === most && n > 0);
    if (sorted) rows.sort((one, other) => other.n - one.n);
    const columns = rows.length > 24 ? 3 : rows.length > 12 ? 2 : 1;
    const longest = Math.max(...rows.map(({ label }) => label.length));
    const size = { "--rows": Math.ceil(rows.length / columns), "--columns": columns, "--label": longest > 20 ? "40%" : "26%" };
    return html`
        <main class="chart">
            <div class="ask">
                <h1 dir="auto" class=${poll.question.length > 90 ? "long" : ""}>${poll.question}</h1>
                <div class="aside figures">
                    ${deck?.position && html`<span class="soft">${t("of", { n: deck.position, count: deck.count })}</span>`}
                    <${Countdown} poll=${poll} />
                </div>
            </div>
            <ul class="rows figures ${counts ? "" : "bare"}" style=${size} aria-label=${t(final ? "results_final" : "results_so_far")}>
                ${rows.map(({ id, label, thumbnailUrl, index, n }) => html`
                    <li class="hue${index % 8} ${right && !right.includes(id) ? "wrong-answer" : ""}" key=${id}>
                        ${thumbnailUrl ? html`<img src=${thumbnailUrl} alt="" />` : html`<span class="letter" aria-hidden="true">${letter(index)}</span>`}
                        <span class="label" dir="auto"><span class="text">${label}<${Verdict} poll=${poll} id=${id} /></span></span>
                        ${counts && html`
                            <span class="track" aria-hidden="true"><span class="fill" style=${{ width: `${voters ? (100 * n) / voters : 0}%` }}></span></span>
                            <span class="share">${percent(n, voters)}</span>
                            <span class="votes"><span aria-hidden="true">${number(n)}</span><span class="unseen">${t("votes", { n })}</span></span>
                            ${leaders.some((leader) => leader.id === id) &&
                            html`<span class="winner">★ ${t(leaders.length > 1 ? "tie" : "most_votes")}</span>`}
                        `}
                    </li>
                `)}
            </ul>
            <p class="voted figures">
                <strong>${final ? t("voted_final", { n: voters }) : t("voted_of", { n: voters, here: Math.max(viewers, voters) })}</strong>
                ${!counts && html`<span class="soft">${t(final ? "not_shown" : "results_hidden")}</span>`}
                ${final && html`<span class="soft">${t("final_at", { at: exactClock(Date.parse(poll.closesAt)) })}</span>`}
                ${poll.commitment && html`<span class="fingerprint">${poll.commitment.fingerprint}</span>`}
            </p>
        </main>
    `;
}

function Countdown({ poll }) {
    const closes = poll.status === "open" && poll.closesAt ? Date.parse(poll.closesAt) : null;
    useTick(250, !!closes);
    const left = closes ? closes - watcher.now() : null;
    if (left === null || left > 86_400_000) return null;
    return html`<span class="countdown ${left <= 10_000 ? "soon" : ""}" role="timer" aria-label=${t("time_left")}>${duration(left)}</span>`;
}

/** Code and address in every state. */
function Foot({ state, status, address, small, list }) {
    return html`
        <footer class="foot">
            ${small && address && html`<${Qr} text="${address}p/${code}" label=${t("qr_of", { address: shortAddress(address) })} />`}
            <p class="where">${address ? shortAddress(address) : address === null ? html`<span class="warning">${t("only_here")}</span>` : ""}</p>
            <p class="enter"><span class="soft">${t("code")}</span> <span class="code">${spaced(code)}</span></p>
            <p class="state">
                ${state.link === "lost"
                    ? html`<span class="dot lost" aria-hidden="true"></span> ${t("offline_since", { at: exactClock(state.lostAt) })}`
                    : html`<span class="dot ${status}" aria-hidden="true"></span> ${status === "waiting" ? "" : t(`status_${status}`)}`}
            </p>
            <span class="tools">
                <button class="tool" onClick=${fullScreen} aria-label=${t("key_full")} title=${t("key_full")}>
                    <svg viewBox="0 0 16 16" aria-hidden="true" fill="none" stroke="currentColor" stroke-width="2"><path d="M1 6V1h5M10 1h5v5M15 10v5h-5M6 15H1v-5" /></svg>
                </button>
                <button class="tool" onClick=${list} aria-label=${t("keys")} title=${t("keys")}>?</button>
            </span>
        </footer>
    `;
}

function fullScreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else document.documentElement.requestFullscreen?.().catch(() => {});
}

function useWakeLock() {
    useEffect(() => {
        const ask = () => document.visibilityState === "visible" && navigator.wakeLock?.request("screen").catch(() => {});
        ask();
        document.addEventListener("visibilitychange", ask);
        return () => document.removeEventListener("visibilitychange", ask);
    }, []);
}

render(html`<${App} />`, document.getElementById("app"));
