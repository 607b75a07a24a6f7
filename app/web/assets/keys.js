// Keys of the host and the screen. Single characters can be switched off (WCAG 2.1.4): then Alt and the character work.

import { html, setting, t, useEffect, useRef, useState } from "./ui.js";

const FREE = new Set(["ArrowRight", "ArrowLeft", "ArrowUp", "ArrowDown", "PageUp", "PageDown", "Escape"]);
const BUSY = "input, textarea, select, [contenteditable]";
const PRESSABLE = "button, a[href], summary, label";

/** `commands`: `{name, keys, act}`; a command without `act` is not possible now. */
export function useKeys(commands) {
    const [single, allow] = useState(setting("single_keys") ?? true);
    const latest = useRef(null);
    latest.current = { commands, single };
    useEffect(() => {
        const press = (event) => {
            const { commands: now, single: plain } = latest.current;
            if (event.ctrlKey || event.metaKey || event.repeat || event.isComposing) return;
            if (event.target.closest?.(BUSY) || document.querySelector("dialog[open]")) return;
            if ((event.key === " " || event.key === "Enter") && event.target.closest?.(PRESSABLE)) return;
            if (!FREE.has(event.key) && event.altKey === plain) return;
            const key = event.altKey && /^Key[A-Z]$/.test(event.code) ? event.code.slice(3).toLowerCase() : event.key.toLowerCase();
            const command = now.find(({ keys, act }) => act && keys.some((each) => each.toLowerCase() === key));
            if (!command) return;
            event.preventDefault();
            command.act();
        };
        addEventListener("keydown", press);
        return () => removeEventListener("keydown", press);
    }, []);
    const change = (on) => {
        setting("single_keys", on);
        allow(on);
    };
    return [single, change];
}

const NAMES = { " ": "Space", ArrowRight: "→", ArrowLeft: "←", ArrowUp: "↑", ArrowDown: "↓", Escape: "Esc" };

/** Every key with what it does, as buttons. */
export function KeyList({ commands, single, change, close }) {
    const dialog = useRef(null);
    useEffect(() => dialog.current.showModal(), []);
    const run = (act) => {
        dialog.current.close();
        act();
    };
    return html`
        <dialog ref=${dialog} class="keys" onClose=${close} aria-labelledby="keys-title">
            <h2 id="keys-title">${t("keys")}</h2>
            <ul>
                ${commands.map(({ name, keys, act }) => html`
                    <li key=${name}>
                        <button class="button small" disabled=${!act} onClick=${() => run(act)}>${t(`key_${name}`)}</button>
                        <span>${keys.map((key) => html`<kbd key=${key}>${single || FREE.has(key) ? "" : "Alt "}${NAMES[key] ?? key.toUpperCase()}</kbd> `)}</span>
                    </li>
                `)}
            </ul>
            <label class="tick"><input type="checkbox" checked=${single} onChange=${(event) => change(event.target.checked)} /> ${t("single_keys")}</label>
            <button class="button main wide" onClick=${() => dialog.current.close()}>${t("close_list")}</button>
        </dialog>
    `;
}
