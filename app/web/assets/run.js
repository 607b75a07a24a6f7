// Run one poll: open, close, show, hide, share.

import {
    Notice, Results, clock, explain, html, number, root, saveCsv, t, useEffect, useRoom, useState, useTitle, warn,
} from "./ui.js";
import { Share } from "./share.js";
import { Options } from "./options.js";
import { Sure, useControls } from "./controls.js";

export function Run({ client, id, user }) {
    const [target] = useState(() => ({ pollId: id }));
    const [state] = useRoom(client, target);
    const poll = state?.poll;
    useTitle(poll ? `${t(`status_${poll.paused ? "paused" : poll.status}`)} · ${poll.question}` : "Pollroom");
    if (!state || (!poll && !state.ended)) return html`<p class="soft">${t("connecting")}</p>`;
    if (state.ended) {
        const gone = state.ended === "POLL_DELETED" ? t("deleted") : t("no_such_poll");
        return html`<section class="card narrow stack"><h1>${gone}</h1><a class="button" href="${root}host">${t("my_polls")}</a></section>`;
    }
    if (poll.ownerId !== user.id) {
        return html`<section class="card narrow stack"><h1>${t("not_yours")}</h1><a class="button" href="${root}p/${poll.code}">${t("vote_here")}</a></section>`;
    }
    return html`<${Desk} client=${client} state=${state} />`;
}

function Desk({ client, state }) {
    const { poll, tally, viewers, link } = state;
    const controls = useControls(client, poll, tally);
    const [right, mark] = useState([]);
    // Sockets do not tell what is right, not even the owner's.
    useEffect(() => {
        client.api("GET", `polls/${poll.id}`).then((seen) => mark(seen.poll.correctOptionIds ?? []), () => {});
    }, [poll.id]);
    return html`
        <div class="run">
            <section class="now stack">
                <div class="row">
                    <span class="pill ${poll.paused ? "paused" : poll.status}">
                        ${poll.status === "open" && html`<span class="dot" aria-hidden="true"></span>`}${t(`status_${poll.paused ? "paused" : poll.status}`)}
                    </span>
                    <span class="soft figures">${t("are_here", { n: viewers })}</span>
                    ${link === "lost" && html`<span class="pill">${t("lost")}</span>`}
                </div>
                <h1 dir="auto">${poll.question}</h1>
                <p class="tallied figures"><strong>${number(tally.voters)}</strong> ${t("voted_word", { n: tally.voters })}</p>
                <${Buttons} controls=${controls} unneeded=${right.length ? ["remove"] : ["remove", "reveal"]} />
                ${controls.problem && html`<${Notice} tone="bad" said=${controls.problem} />`}
                ${tally.counts && poll.status !== "draft" && html`
                    <div class="card stack">
                        <${Results} poll=${poll} tally=${tally} />
                        <p class="fine">${t(controls.hidden ? "private_hidden" : "private_shown")}</p>
                    </div>
                `}
                ${poll.status === "closed" && html`
                    <p class="row">
                        <span class="soft">${t("closed_at", { at: clock(Date.parse(poll.closesAt)) })}</span>
                        <button class="button small" onClick=${() => saveCsv(client, poll).catch((error) => warn(explain(error)))}>${t("csv")}</button>
                        <a class="button small" href="${root}p/${poll.code}/check">${t("result_page")}</a>
                    </p>
                `}
                ${!poll.revealed && html`<${Options} client=${client} poll=${poll} right=${right} mark=${mark} />`}
                <p><button class="button danger small plain" onClick=${controls.acts.remove}>${t("do_remove")}</button></p>
            </section>
            <${Share} client=${client} poll=${poll} />
        </div>
    `;
}

function Buttons({ controls, unneeded }) {
    const { sure, confirm, cancel } = controls;
    const actions = controls.actions.filter(({ name }) => !unneeded.includes(name));
    return html`
        <div class="buttons">
            ${actions.map(({ name, main, act }) => html`
                <button key=${name} class="button ${main ? "main" : ""}" onClick=${act}>${t(`do_${name}`)}</button>
            `)}
        </div>
        ${sure && html`
            <${Sure} sure=${sure} confirm=${confirm} cancel=${cancel} />
        `}
    `;
}
