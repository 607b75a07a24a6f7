// The link for the audience: never localhost.

import { Notice, audienceAddresses, html, root, shortAddress, spaced, t, useEffect, useState } from "./ui.js";
import { generate } from "./qr.js";

/** A QR code as one path; scanners want four quiet modules around it. */
export function Qr({ text, label }) {
    const code = generate(text);
    const quiet = 4;
    let path = "";
    for (let y = 0; y < code.size; y++) {
        for (let x = 0; x < code.size; x++) if (code.get(x, y)) path += `M${x + quiet} ${y + quiet}h1v1h-1z`;
    }
    const side = code.size + 2 * quiet;
    return html`
        <svg class="qr" viewBox="0 0 ${side} ${side}" role="img" aria-label=${label} shape-rendering="crispEdges">
            <rect width=${side} height=${side} fill="#fff" />
            <path d=${path} fill="#000" />
        </svg>
    `;
}

export function Share({ client, poll }) {
    const [addresses, know] = useState(null);
    const [address, choose] = useState(null);
    const [copied, copy] = useState(false);
    useEffect(() => {
        audienceAddresses(client).then((found) => {
            know(found);
            choose(found[0] ?? null);
        });
    }, []);
    const link = address && `${address}p/${poll.code}`;
    return html`
        <aside class="card share stack">
            <h2>${t("share")}</h2>
            <p class="code huge">${spaced(poll.code)}</p>
            ${addresses && !addresses.length && html`<${Notice} tone="warn" said=${t("only_here")}><p>${t("only_here_line")}</p><p><code>HOST=0.0.0.0 scripts/run</code></p><//>`}
            ${link && html`
                <${Qr} text=${link} label=${t("qr_of", { address: shortAddress(link) })} />
                <p class="link"><a href=${link}>${shortAddress(link)}</a></p>
                ${addresses.length > 1 && html`
                    <label class="field"><span class="label">${t("which_address")}</span>
                        <select value=${address} onChange=${(event) => choose(event.target.value)}>
                            ${addresses.map((each) => html`<option value=${each}>${shortAddress(each)}</option>`)}
                        </select>
                    </label>
                `}
                ${navigator.clipboard && html`
                    <button class="button small" onClick=${() => navigator.clipboard.writeText(link).then(() => copy(true), () => {})}>
                        ${t(copied ? "copied" : "copy_link")}
                    </button>
                `}
            `}
            <a class="button main wide" href="${root}p/${poll.code}/screen" target="_blank" rel="noopener">${t("open_screen")}</a>
            <a class="button wide" href="${root}p/${poll.code}">${t("vote_yourself")}</a>
        </aside>
    `;
}
