// The list of one's polls, and the form of a new one: account, question, options, start.

import { AccountFields, Field, Notice, explain, html, root, spaced, t, useEffect, useState, useTitle, warn } from "./ui.js";

export function Mine({ client, user }) {
    useTitle(`${t(user ? "my_polls" : "make_poll")} · Pollroom`);
    return html`
        <div class=${user ? "desk" : "narrow"}>
            <section class="card stack">
                <h1>${t("new_poll")}</h1>
                <${NewPoll} client=${client} user=${user} />
            </section>
            ${user && html`<${List} client=${client} />`}
        </div>
    `;
}

const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);

function NewPoll({ client, user }) {
    const [failed, fail] = useState(null);
    const [busy, work] = useState(false);
    const [count, know] = useState(0);
    const [key] = useState(() => crypto.getRandomValues(new Uint32Array(4)).join("-"));
    const submit = async (event) => {
        event.preventDefault();
        const form = event.target.elements;
        const options = lines(form.options.value);
        if (options.length < 2) return fail({ code: "", fields: { options: "few" }, account: false });
        work(true);
        fail(null);
        let account = false;
        try {
            if (!client.user || client.user.guest) {
                account = true;
                await client.register(form.email.value, form.password.value);
                account = false;
            }
            const minutes = Number(form.minutes.value);
            const { poll } = await client.api("POST", "polls", {
                question: form.question.value,
                options,
                maxChoices: Math.min(Number(form.most.value) || 1, options.length),
                resultsVisibility: form.visibility.value,
                allowChange: form.change.checked,
                guests: form.guests.checked,
                verifiable: form.verifiable.checked,
                closesAt: minutes ? new Date(client.now() + 60_000 * minutes).toISOString() : null,
            }, { "Idempotency-Key": key });
            location.assign(`${root}host/${poll.id}`);
        } catch (error) {
            error.account = account;
            fail(error);
            warn(explain(error));
            work(false);
        }
    };
    const fields = (failed && !failed.account && failed.fields) || {};
    const wrong = (name) => Object.keys(fields).some((field) => field.startsWith(name));
    const whole = failed && !failed.account && !["question", "options"].some(wrong);
    return html`
        <form class="stack" onSubmit=${submit}>
            ${!user && html`
                <div class="pair"><${AccountFields} failed=${failed?.account ? failed : null} making=${true} /></div>
            `}
            <${Field} id="question" label=${t("question")} wrong=${wrong("question") && t("wrong_question")}>
                <input id="question" name="question" required maxlength="300" dir="auto" placeholder=${t("question_example")} aria-invalid=${wrong("question")} />
            <//>
            <${Field}
                id="options"
                label=${t("options")}
                hint=${count ? t("options_count", { n: count }) : t("options_hint")}
                wrong=${wrong("options") && t(fields.options === "few" ? "few_options" : "wrong_options")}
            >
                <textarea
                    id="options"
                    name="options"
                    required
                    dir="auto"
                    rows="4"
                    placeholder=${t("options_example")}
                    aria-describedby="options-hint"
                    aria-invalid=${wrong("options")}
                    onInput=${(event) => know(lines(event.target.value).length)}
                ></textarea>
            <//>
            <details class="more">
                <summary>${t("more_settings")}</summary>
                <div class="stack">
                    <div class="pair">
                        <${Field} id="most" label=${t("most")}>
                            <input id="most" name="most" type="number" inputmode="numeric" min="1" max="100" value="1" />
                        <//>
                        <${Field} id="minutes" label=${t("minutes")} hint=${t("minutes_hint")}>
                            <input id="minutes" name="minutes" type="number" inputmode="decimal" min="0" step="any" />
                        <//>
                    </div>
                    <${Field} id="visibility" label=${t("visibility")}>
                        <select id="visibility" name="visibility">
                            ${["always", "after_vote", "after_close", "owner"].map((name) => html`<option value=${name}>${t(`visibility_${name}`)}</option>`)}
                        </select>
                    <//>
                    <label class="tick"><input type="checkbox" name="change" defaultChecked /> ${t("allow_change")}</label>
                    <label class="tick"><input type="checkbox" name="guests" defaultChecked /> ${t("allow_guests")}</label>
                    <label class="tick"><input type="checkbox" name="verifiable" /> ${t("verifiable")}</label>
                </div>
            </details>
            ${whole && html`<${Notice} tone="bad" said=${explain(failed)} />`}
            <button class="button main wide" disabled=${busy}>${t("start")}</button>
        </form>
    `;
}

function List({ client }) {
    const [items, keep] = useState(null);
    const [cursor, next] = useState(null);
    const load = async (from) => {
        const page = await client.api("GET", `polls?limit=20${from ? `&cursor=${encodeURIComponent(from)}` : ""}`);
        keep((old) => [...(from ? old : []), ...page.items]);
        next(page.nextCursor);
    };
    useEffect(() => void load().catch((error) => warn(explain(error))), []);
    return html`
        <section class="stack" aria-label=${t("my_polls")}>
            <h2>${t("my_polls")}</h2>
            ${items && !items.length && html`<p class="empty soft">${t("no_polls")}</p>`}
            <ul class="list">
                ${items?.map((poll) => html`
                    <li key=${poll.id}>
                        <a class="item" href="${root}host/${poll.id}">
                            <span class="what" dir="auto">${poll.question}</span>
                            <span class="code soft">${spaced(poll.code)}</span>
                            <span class="pill ${poll.status}">${t(`status_${poll.status}`)}</span>
                        </a>
                    </li>
                `)}
            </ul>
            ${cursor && html`<button class="button" onClick=${() => load(cursor)}>${t("older")}</button>`}
        </section>
    `;
}
