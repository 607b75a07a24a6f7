// Images of the options.

import { Notice, explain, html, t, useState, warn } from "./ui.js";

export function Options({ client, poll }) {
    const [problem, fail] = useState(null);
    const [busy, work] = useState(null);
    const act = async (option, method, file) => {
        fail(null);
        work(option.id);
        try {
            await client.api(method, `polls/${poll.id}/options/${option.id}/image`, file);
        } catch (error) {
            fail(explain(error));
            warn(explain(error));
        }
        work(null);
    };
    return html`
        <details class="more">
            <summary>${t("images")}</summary>
            <ul class="list">
                ${poll.options.map((option) => html`
                    <li class="item" key=${option.id}>
                        ${option.thumbnailUrl && html`<img src=${option.thumbnailUrl} alt="" width="48" height="48" />`}
                        <span class="what" dir="auto">${option.label}</span>
                        <label class="button small" aria-busy=${busy === option.id}>
                            ${t(option.imageUrl ? "replace_image" : "add_image")}
                            <input
                                class="unseen"
                                type="file"
                                accept="image/png,image/jpeg,image/gif,image/webp"
                                onChange=${(event) => event.target.files[0] && act(option, "PUT", event.target.files[0])}
                            />
                        </label>
                        ${option.imageUrl && html`<button class="button small plain" onClick=${() => act(option, "DELETE")}>${t("remove_image")}</button>`}
                    </li>
                `)}
            </ul>
            ${problem && html`<${Notice} tone="bad" said=${problem} />`}
        </details>
    `;
}
