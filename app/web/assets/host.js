// /host: my polls, and a new one. /host/{id}: run one poll.

import { Brand, Languages, SignIn, html, newClient, render, root, t, useState } from "./ui.js";
import { Mine } from "./mine.js";
import { Run } from "./run.js";

const client = newClient();
const id = location.pathname.slice(new URL(root).pathname.length).split("/")[1];

function App() {
    const [user, know] = useState(client.user?.guest ? null : client.user);
    const [existing, exists] = useState(false);
    const leave = async () => {
        await client.logout().catch(() => {});
        location.assign(`${root}host`);
    };
    return html`
        <header class="bar">
            <${Brand} />
            <nav class="row">
                ${user && html`<a class="button plain small" href="${root}host">${t("my_polls")}</a>`}
                ${user && html`<button class="button plain small" onClick=${leave}>${t("sign_out")}</button>`}
                ${!user && !id && html`<button class="button plain small" onClick=${() => exists(!existing)}>${t(existing ? "no_account" : "sign_in")}</button>`}
                <${Languages} />
            </nav>
        </header>
        <main class="host">
            ${!user && (id || existing)
                ? html`<section class="card narrow stack"><h1>${t("sign_in")}</h1><${SignIn} client=${client} done=${know} /></section>`
                : id
                  ? html`<${Run} client=${client} id=${id} user=${user} />`
                  : html`<${Mine} client=${client} user=${user} />`}
        </main>
    `;
}

render(html`<${App} />`, document.getElementById("app"));
