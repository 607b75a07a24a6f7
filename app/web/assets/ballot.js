// The form of a vote: choose, then vote. A tap on an option sends nothing.

import { html, letter, t, useState, warn } from "./ui.js";

export function choiceRule({ minChoices, maxChoices, options }) {
    if (maxChoices === 1) return t("choose_one");
    if (minChoices === maxChoices) return t("choose_exactly", { n: maxChoices });
    if (minChoices === 1 && maxChoices === options.length) return t("choose_any");
    if (minChoices === 1) return t("choose_up_to", { n: maxChoices });
    return t("choose_between", { n: maxChoices, from: minChoices });
}

/** The poll in which somebody has chosen without voting. */
export const half = { pollId: null };

/** `chosen`: the vote that stands. `ready` is called once, when somebody begins to choose. */
export function Ballot({ poll, chosen, vote, ready, paused }) {
    const { id, options, minChoices, maxChoices } = poll;
    const [picked, pick] = useState(() => chosen ?? []);
    const [problem, say] = useState(null);
    const single = maxChoices === 1;
    const known = picked.filter((each) => options.some((option) => option.id === each));
    const toggle = (option, input) => {
        if (!known.length) ready?.();
        half.pollId = id;
        if (single) return pick([option.id]);
        if (known.includes(option.id)) {
            say(null);
            return pick(known.filter((each) => each !== option.id));
        }
        if (known.length < maxChoices) return pick([...known, option.id]);
        input.checked = false;
        const text = t("too_many", { n: maxChoices });
        say(text);
        return warn(text);
    };
    const submit = (event) => {
        event.preventDefault();
        if (paused) return undefined;
        if (known.length >= minChoices) {
            half.pollId = null;
            return vote(known);
        }
        const text = single ? t("choose_first") : t("too_few", { n: minChoices });
        say(text);
        return warn(text);
    };
    return html`
        <form class="ballot" onSubmit=${submit}>
            <fieldset>
                <legend class="soft">${choiceRule(poll)}</legend>
                ${options.map((option, index) => html`
                    <label class="option hue${index % 8} ${option.thumbnailUrl ? "pictured" : ""}" key=${option.id}>
                        <input
                            type=${single ? "radio" : "checkbox"}
                            name="ballot-${id}"
                            value=${option.id}
                            checked=${known.includes(option.id)}
                            onChange=${(event) => toggle(option, event.target)}
                        />
                        ${option.thumbnailUrl
                            ? html`<img src=${option.thumbnailUrl} alt="" width="56" height="56" loading="lazy" />`
                            : html`<span class="letter" aria-hidden="true">${letter(index)}</span>`}
                        <span class="label" dir="auto">${option.label}</span>
                    </label>
                `)}
            </fieldset>
            <div class="send">
                ${problem && html`<p class="problem">${problem}</p>`}
                <button class="button main wide ${known.length >= minChoices && !paused ? "" : "waiting"}" aria-disabled=${!!paused}>
                    ${t(chosen ? "vote_again" : "vote")}
                </button>
            </div>
        </form>
    `;
}
