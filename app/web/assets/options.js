// Images of the options, and which of them are right.

import { Notice, explain, html, t, useState, warn } from "./ui.js";

export function Options({ client, poll, right, mark }) {
    const [problem, fail] = useState(null);
    const [busy, work] = useState(null);
    const attempt = async (what, act) => {
        fail(null);
        work(what);
        try {
            await act();
        } catch (error) {
            fail(explain(error));
            warn(explain(error));
        }
        work(null);
    };
    const image = (option, method, file) =>
        attempt(option.id, () => client.api(method, `polls/${poll.id}/options/${option.id}/image`, file));
    const toggle = (option, on) => {
        const next = on ? [...right, option.id] : right.filter((id) => id !== option.id);
        const options = poll.options.map(({ id, label }) => ({ label, correct: next.includes(id) }));
        mark(next);
        attempt(option.id, () =>
            client.api("PATCH", `polls/${poll.id}`, { options }).catch((error) => {
                mark(right);
                throw error;
            }),
        );
    };
    return html`
        <details class="more">
            <summary>${t("answers_more")}</summary>
            <ul class="list">
                ${poll.options.map((option) => html`
                    <li class="item" key=${option.id}>
                        ${option.thumbnailUrl && html`<img src=${option.thumbnailUrl} alt="" width="48" height="48" />`}
                        <span class="what" dir="auto">${option.label}</span>
                        ${!poll.revealed && html`
                            <label class="tick">
                                <input
                                    type="checkbox"
                                    checked=${right.includes(option.id)}
                                    aria-busy=${busy === option.id}
                                    onChange=${(event) => toggle(option, event.target.checked)}
                                />
                                ${t("right")}
                            </label>
                        `}
                        ${poll.status !== "closed" && html`
                            <label class="button small" aria-busy=${busy === option.id}>
                                ${t(option.imageUrl ? "replace_image" : "add_image")}
                                <input
                                    class="unseen"
                                    type="file"
                                    accept="image/png,image/jpeg,image/gif,image/webp"
                                    onChange=${(event) => event.target.files[0] && image(option, "PUT", event.target.files[0])}
                                />
                            </label>
                        `}
                        ${option.imageUrl && html`<button class="button small plain" onClick=${() => image(option, "DELETE")}>${t("remove_image")}</button>`}
                    </li>
                `)}
            </ul>
            ${problem && html`<${Notice} tone="bad" said=${problem} />`}
        </details>
    `;
}
