// /p/{code}: vote and watch. /p/{code}/embed is the same page for a frame.

import {
    Brand, Languages, Notice, Results, SignIn, duration, exactClock, explain, html, newClient, number, opening, render, resultsAsText,
    root, spaced, speak, t, useEffect, useLate, useRef, useRoom, useSpokenResults, useState, useTick, useTitle, warn,
} from "./ui.js";
import { Ballot, choiceRule, half } from "./ballot.js";

const framed = "framed" in document.body.dataset;
const code = decodeURIComponent(location.pathname.slice(new URL(root).pathname.length).split("/")[1]).toUpperCase();
const client = newClient();

function App() {
    const [state, room] = useRoom(client, code);
    if (!state) return null;
    return html`
        <${Header} state=${state} />
        <main class="phone">
            <${Link} state=${state} />
            <${View} state=${state} room=${room} />
        </main>
        ${framed && html`<${Height} />`}
    `;
}

function Header({ state }) {
    const shown = state.poll && !state.ended;
    return html`
        <header class="top">
            ${framed ? html`<span></span>` : html`<${Brand} />`}
            <span class="code">${spaced(code.slice(0, 6))}</span>
            <span class="here figures">
                ${shown && html`
                    <span class="dot ${state.link}" aria-hidden="true"></span>
                    <span aria-hidden="true">${number(state.viewers)}</span>
                    <span class="unseen">${t("are_here", { n: state.viewers })}</span>
                `}
            </span>
        </header>
    `;
}

/** A short loss is not worth a word. */
function Link({ state }) {
    const lost = useLate(state.link === "lost" && !state.ended, 2000);
    const full = useLate(state.full, 0);
    if (full) return html`<${Notice} tone="warn" said=${t("full")}><p>${t("full_line")}</p><//>`;
    if (!lost || state.pending.length) return null;
    return html`<${Notice} tone="warn" said=${t("lost")}><p>${t("lost_line", { at: exactClock(state.lostAt) })}</p><//>`;
}

function View({ state, room }) {
    const { poll, deck, ended } = state;
    const slow = useLate(!poll && !deck && !ended, 1000);
    const moved = useMovedOn(poll?.id);
    if (ended === "NOT_FOUND") return html`<${Unknown} />`;
    if (ended === "POLL_DELETED" || ended === "DECK_DELETED") {
        return html`<${Plain} sign="×" title=${t("deleted")} line=${t("deleted_line")} button=${t("other_code")} />`;
    }
    if (ended) return html`<${Plain} sign="!" title=${t("ended")} button=${t("other_code")} />`;
    if (deck?.endedAt) return html`<${Plain} sign="✓" title=${t("over")} line=${t("over_line")} button=${t("other_code")} />`;
    if (!poll && deck) return html`${moved}<${Waiting} deck=${deck} />`;
    if (!poll) return slow ? html`<p class="soft quiet" role="status">${t("connecting")}</p>` : null;
    return html`${moved}<${Poll} key=${poll.id} state=${state} room=${room} />`;
}

/** The host went on while a choice was half made. */
function useMovedOn(pollId) {
    const [from, leave] = useState(null);
    const before = useRef(pollId);
    useEffect(() => {
        if (before.current !== pollId && before.current && half.pollId === before.current) {
            leave(pollId ?? "none");
            warn(t("moved_on"));
        }
        before.current = pollId;
        half.pollId = null;
    }, [pollId]);
    return from === (pollId ?? "none") && html`<${Notice} tone="warn" said=${t("moved_on")} />`;
}

function Plain({ sign, title, line, button, href = root }) {
    useTitle(title);
    useEffect(() => speak(title), [title]);
    return html`
        <section class="plain stack">
            <span class="big-sign" aria-hidden="true">${sign}</span>
            <h1>${title}</h1>
            ${line && html`<p class="soft">${line}</p>`}
            ${button && html`<p><a class="button" href=${href} target=${framed ? "_top" : undefined}>${button}</a></p>`}
        </section>
    `;
}

const Unknown = () => html`<${Plain} sign="?" title=${t("unknown", { code: code.slice(0, 12) })} line=${t("unknown_line")} button=${t("other_code")} />`;

const Waiting = ({ deck }) => html`
    ${deck.position && html`<p class="soft figures">${t("of", { n: deck.position, count: deck.count })}</p>`}
    <${Plain} sign="…" title=${t("nothing")} line=${t("nothing_line")} />
`;

function Poll({ state, room }) {
    const { poll, tally, deck, pending } = state;
    const mine = state.yourVote ?? state.receipt;
    const [changing, change] = useState(false);
    const [watching, watch] = useState(false);
    const heading = useRef(null);
    const status = poll.paused ? "paused" : poll.status;
    const form = poll.status === "open" && !pending.length && (!mine || changing) && !watching;
    const voting = form || (poll.status === "open" && state.signedOut);
    useTitle(`${status === "open" ? "● " : ""}${t(`status_${status}`)} · ${poll.question}`);
    useSpokenResults(poll, tally);
    useEffect(() => {
        // On a new question the focus moves only where it was inside the old one.
        if (document.activeElement === document.body && document.body.dataset.asked) heading.current?.focus();
        document.body.dataset.asked = "yes";
        speak(`${t(`status_${status}`)}: ${poll.question}`);
    }, []);
    const before = useRef(status);
    useEffect(() => {
        if (poll.revealed && before.current !== "revealed") {
            before.current = "revealed";
            return speak(`${t("right")}: ${labels(poll, poll.revealed.correctOptionIds).join(", ")}`);
        }
        if (before.current !== status) speak(t(`said_${status}`));
        before.current = status;
        return undefined;
    }, [status, !!poll.revealed]);
    useEffect(() => {
        if (mine) change(false);
    }, [mine?.seq]);
    const vote = (optionIds) => {
        if (room.current.state.pending.length) return; // tapped again before the page was drawn
        change(false);
        room.current.vote(optionIds).catch(() => {});
    };
    return html`
        <div class="meta soft figures">
            <span>${deck?.position && t("of", { n: deck.position, count: deck.count })}</span>
            <${Countdown} poll=${poll} />
        </div>
        <h1 dir="auto" tabindex="-1" ref=${heading}>${poll.question}</h1>
        ${poll.description && html`<p class="description" dir="auto">${poll.description}</p>`}
        <${Outcome} state=${state} mine=${mine} voting=${voting} room=${room} />
        ${voting
            ? html`<${MayVote} state=${state}>
                  <${Ballot} poll=${poll} chosen=${mine?.optionIds} vote=${vote} paused=${poll.paused}
                      ready=${() => !client.user && poll.guests && client.guest(poll.guests === "challenge").catch(() => {})} />
              <//>`
            : html`<${Tally} state=${state} mine=${mine} />`}
        <div class="row after">
            ${poll.status === "open" && !voting && !watching && mine && !pending.length && poll.allowChange &&
            html`<button class="button" onClick=${() => change(true)}>${t("change")}</button>`}
            ${changing && html`<button class="button plain" onClick=${() => change(false)}>${t("keep")}</button>`}
            ${poll.status === "open" && !mine && !pending.length &&
            html`<button class="button plain" onClick=${() => watch(!watching)}>${t(watching ? "vote_after_all" : "just_watch")}</button>`}
            ${poll.status === "closed" && tally.counts && !framed && html`<a class="button plain" href="${root}p/${poll.code}/check">${t("check_link")}</a>`}
        </div>
        <p class="fine">${t("who_sees")}</p>
    `;
}

function Countdown({ poll }) {
    const closes = poll.status === "open" && poll.closesAt ? Date.parse(poll.closesAt) : null;
    const opens = poll.status === "scheduled" ? Date.parse(poll.opensAt) : null;
    useTick(500, !!(closes || opens));
    const left = closes ? closes - client.now() : null;
    const whole = left === null ? null : Math.ceil(left / 1000);
    useEffect(() => {
        if ([60, 30, 10].includes(whole)) speak(t("seconds_left", { n: whole }));
    }, [whole]);
    if (left === null || left > 86_400_000) return null;
    return html`<span class="countdown ${whole <= 10 ? "soon" : ""}" role="timer" aria-label=${t("time_left")}>${duration(left)}</span>`;
}

/** Whoever may not vote here learns why before choosing. */
function MayVote({ state, children }) {
    const { poll, user, signedOut } = state;
    const [renewed, renew] = useState(0);
    const done = () => renew(renewed + 1);
    useEffect(() => signedOut && warn(t("signed_out")), [signedOut]);
    if (signedOut) {
        const guest = () => client.guest(poll.guests === "challenge").then(done, (error) => warn(explain(error)));
        return html`
            <${Notice} tone="bad" said=${t("signed_out")}><p>${t("signed_out_line")}</p><//>
            <div class="card"><${SignIn} client=${client} done=${done} /></div>
            ${poll.guests && html`<button class="button" onClick=${guest}>${t("new_guest")}</button>`}
        `;
    }
    if (!poll.guests && (!user || user.guest)) {
        return html`
            <${Notice} said=${t("accounts_only")} />
            <div class="card"><${SignIn} client=${client} done=${done} create=${true} /></div>
        `;
    }
    return children;
}

const labels = (poll, ids) => poll.options.filter(({ id }) => ids?.includes(id)).map(({ label }) => label);

/** What became of the last vote. */
function Outcome({ state, mine, voting, room }) {
    const { poll, outcome, pending, link, yourVote } = state;
    const waits = pending.length > 0;
    const slow = useLate(waits, 300);
    const kept = useLate(waits && (link !== "live" || outcome?.code === "UNAVAILABLE"), 800);
    const found = said({ poll, outcome, mine, voting });
    useEffect(() => {
        if (!found || waits) return;
        (found.tone === "bad" ? warn : speak)([found.said, found.line].filter(Boolean).join(" "));
    }, [outcome, waits]);
    if (kept) {
        return html`
            <${Notice} tone="warn" said=${t("kept")}>
                <p>${t("kept_line")}</p>
                <button class="button small" onClick=${() => client.retryNow()}>${t("try_now")}</button>
            <//>
        `;
    }
    if (waits) return slow ? html`<p class="soft quiet">${t("sending")}</p>` : null;
    if (poll.status === "scheduled") return html`<${Scheduled} poll=${poll} />`;
    if (poll.paused) return html`<${Notice} tone="warn" said=${t("paused")}><p>${t("paused_line")}</p><//>`;
    if (!found) return null;
    return html`
        <${Notice} tone=${found.tone} said=${found.said}>
            ${found.line && html`<p>${found.line}</p>`}
            ${found.chosen && html`<p dir="auto">${labels(poll, (yourVote ?? mine).optionIds).join(", ")}</p>`}
        <//>
    `;
}

function said({ poll, outcome, mine, voting }) {
    const refusals = {
        ALREADY_VOTED: { tone: "info", said: t("already"), line: t("already_line"), chosen: !!mine },
        CHANGE_LIMIT: { tone: "warn", said: t("limit"), chosen: !!mine },
        FORBIDDEN: { tone: "bad", said: t("accounts_only") },
        POLL_CLOSED: { tone: "bad", said: t("too_late", { at: exactClock(Date.parse(poll.closesAt ?? 0) || outcome?.at) }) },
        POLL_PAUSED: { tone: "warn", said: t("paused_vote") },
        SIGNED_OUT: { tone: "bad", said: t("other_user") },
        UNAUTHENTICATED: { tone: "bad", said: t("signed_out"), line: t("signed_out_line") },
    };
    if (outcome?.type === "ERROR" && outcome.code !== "UNAVAILABLE") {
        return refusals[outcome.code] ?? { tone: "bad", said: t("not_counted"), line: outcome.message };
    }
    if (voting || !mine || outcome?.type === "VOTE_RETRACTED") return null;
    if (poll.revealed) {
        const right = poll.revealed.correctOptionIds;
        const exact = right.length === mine.optionIds.length && right.every((id) => mine.optionIds.includes(id));
        return { tone: exact ? "good" : "info", said: t(exact ? "was_right" : "was_wrong"), chosen: true };
    }
    if (poll.status === "closed") return { tone: "good", said: t("in_it"), chosen: true };
    if (outcome?.repeated && outcome.restored) return { tone: "good", said: t("counted_earlier"), chosen: true };
    if (outcome?.changed) return { tone: "good", said: t("changed"), chosen: true };
    return { tone: "good", said: t("counted"), chosen: true };
}

function Scheduled({ poll }) {
    useTick(1000);
    return html`<${Notice} said=${opening(poll, client.now())}><p>${t("opens_line")}</p><//>`;
}

function Tally({ state, mine }) {
    const { poll, tally } = state;
    if (poll.status === "scheduled") return html`<${Choices} poll=${poll} />`;
    if (!tally.counts) {
        const when = { after_close: "hidden_until_close", after_vote: "hidden_until_vote", owner: "hidden_until_host" };
        const closed = poll.status === "closed";
        return html`
            <section class="hidden-result stack">
                <p class="big figures">${t(closed ? "closed_voted" : "have_voted", { n: tally.voters })}</p>
                <p class="soft">${t(closed ? "not_shown" : when[poll.resultsVisibility])}</p>
            </section>
            ${!mine && html`<${Choices} poll=${poll} />`}
        `;
    }
    return html`
        <section class="stack shown">
            ${tally.final && html`<h2>${t("result")}</h2>`}
            <${Results} poll=${poll} tally=${tally} mine=${mine?.optionIds} />
            <p class="soft figures row between">
                <span>${t("have_voted", { n: tally.voters })}</span>
                <button class="button plain small unseen" onClick=${() => speak(resultsAsText(poll, tally))}>${t("read_results")}</button>
            </p>
            ${poll.commitment && html`<p class="soft">${t("compare_screen")} <span class="fingerprint">${poll.commitment.fingerprint}</span></p>`}
        </section>
    `;
}

const Choices = ({ poll }) => html`
    ${poll.status !== "closed" && html`<p class="soft">${choiceRule(poll)}</p>`}
    <ul class="choices">
        ${poll.options.map((option) => html`<li class="choice" dir="auto">${option.label}</li>`)}
    </ul>
`;

/** Tells the page around the frame how high this one is. */
function Height() {
    useEffect(() => {
        const observer = new ResizeObserver(() => {
            parent.postMessage({ type: "pollroom:height", height: document.documentElement.scrollHeight }, "*");
        });
        observer.observe(document.body);
        return () => observer.disconnect();
    }, []);
    return null;
}

render(html`<${App} />${!framed && html`<footer class="foot"><${Languages} /></footer>`}`, document.getElementById("app"));
