// /: enter a code, or make a poll.

import { Brand, Languages, html, letter, newClient, render, root, t, useState, useTitle, warn } from "./ui.js";

const client = newClient();

/** The code in what people type, paste or scan: K7MPRX, "k7m prx", a whole link. */
function codeIn(text) {
    const link = /\/p\/([a-z2-9]{6})\b/i.exec(text);
    return (link ? link[1] : text.replace(/[\s-]/g, "")).toUpperCase();
}

function App() {
    const [wrong, fail] = useState(null);
    useTitle("Pollroom");
    const submit = (event) => {
        event.preventDefault();
        const code = codeIn(event.target.elements.code.value);
        if (/^[A-HJKMNP-Z2-9]{6}$/.test(code)) return location.assign(`${root}p/${code}`);
        fail(t("unknown_line"));
        return warn(t("unknown_line"));
    };
    const member = client.user && !client.user.guest;
    return html`
        <header class="bar"><${Brand} /><${Languages} /></header>
        <main class="home">
            <section class="hero">
                <h1>${t("home_title")}</h1>
                <p class="lead">${t("home_line")}</p>
                <form class="join" onSubmit=${submit} novalidate>
                    <label class="unseen" for="code">${t("code")}</label>
                    <input
                        id="code"
                        name="code"
                        class="code"
                        placeholder="K7M PRX"
                        autocomplete="off"
                        autocapitalize="characters"
                        autocorrect="off"
                        spellcheck=${false}
                        enterkeyhint="go"
                        maxlength="200"
                        aria-invalid=${!!wrong}
                        aria-describedby="code-wrong"
                        autofocus
                    />
                    <button class="button main">${t("join")}</button>
                </form>
                <p id="code-wrong" class="wrong">${wrong}</p>
            </section>
            <${Picture} />
            <section class="card make">
                <div>
                    <h2>${t("make_title")}</h2>
                    <p class="soft">${t("make_line")}</p>
                </div>
                <a class="button" href="${root}host">${t(member ? "my_polls" : "make_poll")}</a>
            </section>
        </main>
    `;
}

/** What a poll looks like, for those who have not seen one. */
const Picture = () => html`
    <div class="picture card" aria-hidden="true">
        ${[0, 1, 2].map((index) => html`
            <p class="row"><span class="letter hue${index}">${letter(index)}</span><span class="track hue${index}"><span class="fill grow${index}"></span></span></p>
        `)}
    </div>
`;

render(html`<${App} />`, document.getElementById("app"));
