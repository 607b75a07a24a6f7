// /p/{code}/check: the result, on screen, on paper and as a table.

import {
    Brand, Languages, Notice, Results, explain, html, moment, newClient, render, root, saveCsv, spaced, t, useLate,
    speak, useRoom, useState, useTitle, warn,
} from "./ui.js";
import { placeOf } from "./verify.js";

const code = decodeURIComponent(location.pathname.slice(new URL(root).pathname.length).split("/")[1]).toUpperCase();
const client = newClient();

function App() {
    const [state] = useRoom(client, code);
    return html`
        <header class="top"><${Brand} /><span class="code">${spaced(code.slice(0, 6))}</span><span></span></header>
        <main class="phone"><${View} state=${state} /></main>
        <footer class="foot unprinted"><${Languages} /></footer>
    `;
}

function View({ state }) {
    const slow = useLate(!state?.poll, 1000);
    const poll = state?.poll;
    useTitle(poll ? `${t("result")} · ${poll.question}` : "Pollroom");
    if (state?.ended) return html`<h1>${t(state.ended === "NOT_FOUND" ? "unknown" : "deleted", { code })}</h1><a class="button" href=${root}>${t("other_code")}</a>`;
    if (!poll) return slow ? html`<p class="soft quiet" role="status">${t("connecting")}</p>` : null;
    return html`<${Result} state=${state} />`;
}

function Result({ state }) {
    const { poll, tally, receipt, yourVote } = state;
    const [problem, fail] = useState(null);
    const mine = yourVote ?? receipt;
    const save = () => saveCsv(client, poll).catch((error) => {
        fail(explain(error));
        warn(explain(error));
    });
    return html`
        <h1 dir="auto">${poll.question}</h1>
        ${poll.description && html`<p class="description" dir="auto">${poll.description}</p>`}
        <p class="soft figures">
            ${tally.final ? t("final_at", { at: moment(poll.closesAt) }) : t("not_final")}
        </p>
        ${mine && html`<${Notice} tone="good" said=${t(tally.final ? "in_it" : "counted")}>
            <p dir="auto">${poll.options.filter(({ id }) => mine.optionIds?.includes(id)).map(({ label }) => label).join(", ")}</p>
        <//>`}
        ${tally.counts
            ? html`
                  <${Results} poll=${poll} tally=${tally} mine=${mine?.optionIds} />
                  <p class="soft figures">${t("have_voted", { n: tally.voters })}</p>
                  <p class="row unprinted">
                      <button class="button" onClick=${save}>${t("csv")}</button>
                      <button class="button" onClick=${() => print()}>${t("print")}</button>
                      ${!tally.final && html`<a class="button plain" href="${root}p/${poll.code}">${t("vote_here")}</a>`}
                  </p>
              `
            : html`<section class="hidden-result stack">
                  <p class="big figures">${t(tally.final ? "closed_voted" : "have_voted", { n: tally.voters })}</p>
                  <p class="soft">${t("not_shown")}</p>
              </section>`}
        ${poll.commitment && html`<${Fingerprint} poll=${poll} mine=${mine} />`}
        ${problem && html`<${Notice} tone="bad" said=${problem} />`}
    `;
}

/** Of a verifiable poll, and whether one's own ballot is in it. */
function Fingerprint({ poll, mine }) {
    const [found, know] = useState(null);
    const look = async () => {
        try {
            const place = await placeOf(client, poll, mine);
            const count = poll.commitment.size;
            const answer = place
                ? { tone: "good", said: t("is_in"), line: t("is_in_line", { place, count }) }
                : { tone: "bad", said: t("is_not_in"), line: t("is_not_in_line") };
            know(answer);
            (place ? speak : warn)(`${answer.said} ${answer.line}`);
        } catch (error) {
            know({ tone: "bad", said: explain(error) });
            warn(explain(error));
        }
    };
    return html`
        <section class="stack">
            <h2>${t("fingerprint")}</h2>
            <p class="fingerprint">${poll.commitment.fingerprint}</p>
            <p class="soft">${t("compare")}</p>
            ${mine && html`<p class="row unprinted"><button class="button" onClick=${look}>${t("is_it_in")}</button></p>`}
            ${found && html`<${Notice} tone=${found.tone} said=${found.said}>${found.line && html`<p>${found.line}</p>`}<//>`}
        </section>
    `;
}

render(html`<${App} />`, document.getElementById("app"));
