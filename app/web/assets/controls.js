// What a host can do with a poll, for the host's page and for the keys of the screen.

import { explain, html, root, setting, t, useLayoutEffect, useRef, useState, warn } from "./ui.js";

/** Whether a stranger in the hall sees no counts now. */
export const hiddenFromHall = ({ resultsVisibility, status }) =>
    resultsVisibility === "owner" || (status !== "closed" && resultsVisibility !== "always");

/** The question before something that cannot be undone. */
export function Sure({ sure, confirm, cancel, kind = "" }) {
    const yes = useRef(null);
    useLayoutEffect(() => yes.current.focus(), [sure.name]);
    return html`
        <div class="sure card stack ${kind}" role="alertdialog" aria-label=${sure.text}>
            <p>${sure.text}</p>
            <div class="row">
                <button class="button main" onClick=${confirm} ref=${yes}>${t(`do_${sure.name}`)}</button>
                <button class="button" onClick=${cancel}>${t("not_yet")}</button>
            </div>
        </div>
    `;
}

/** `poll` may be null. `actions`: buttons in order. `acts`: the same by name. `sure`: a question to answer first. */
export function useControls(client, poll, tally) {
    const [problem, fail] = useState(null);
    const [sure, ask] = useState(null);
    if (!poll) return { actions: [], acts: {} };
    const hidden = hiddenFromHall(poll);
    const call = async (method, path, body) => {
        fail(null);
        ask(null);
        try {
            return await client.api(method, `polls/${poll.id}${path}`, body);
        } catch (error) {
            fail(explain(error));
            warn(explain(error));
            return null;
        }
    };
    const acts = {
        open: () => call("POST", "/open"),
        close: () => ask({ name: "close", text: t("sure_close", { n: tally.voters }), act: () => call("POST", "/close") }),
        show: () => {
            setting(`rule:${poll.id}`, poll.resultsVisibility);
            return call("PATCH", "", { resultsVisibility: "always" });
        },
        hide: () => {
            const before = setting(`rule:${poll.id}`);
            const again = before && hiddenFromHall({ ...poll, resultsVisibility: before }) ? before : "owner";
            return call("PATCH", "", { resultsVisibility: again });
        },
        more: () => {
            const from = Math.max(Date.parse(poll.closesAt), client.now());
            return call("PATCH", "", { closesAt: new Date(from + 30_000).toISOString() });
        },
        pause: () => call("POST", "/pause"),
        resume: () => call("POST", "/resume"),
        reveal: () => {
            const reveal = () => call("POST", "/reveal");
            if (poll.status === "closed") return reveal();
            return ask({ name: "reveal", text: t("sure_close", { n: tally.voters }), act: reveal });
        },
        again: async () => {
            const answer = await call("POST", "/again", {});
            if (answer) location.assign(`${root}host/${answer.poll.id}`);
        },
        remove: () => ask({ name: "remove", text: t("sure_remove"), act: () => call("DELETE", "") }),
    };
    const names = [];
    if (poll.status === "draft" || poll.status === "scheduled") names.push("open");
    if (poll.status === "open") names.push("close", poll.paused ? "resume" : "pause");
    if (poll.status !== "draft") names.push(hidden ? "show" : "hide");
    if (poll.status === "open" && poll.closesAt) names.push("more");
    if (["open", "closed"].includes(poll.status) && !poll.revealed) names.push("reveal");
    if (poll.status === "closed") names.push("again");
    names.push("remove");
    return {
        actions: names.map((name) => ({ name, act: acts[name], main: ["open", "close", "again"].includes(name) })),
        acts: Object.fromEntries(names.map((name) => [name, acts[name]])),
        hidden,
        problem,
        sure,
        confirm: () => sure?.act(),
        cancel: () => ask(null),
    };
}
