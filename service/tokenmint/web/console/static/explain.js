// A token is explained: the steps, the one that fails, and the line of the configuration that decides.
import { ask, Refused } from "./api.js";
import { badge, byId, code, el, remedy, show } from "./dom.js";

const MOST = 60 * 1024; // bytes; the service's own limit is limits.message_bytes
const GRANT = "urn:ietf:params:oauth:grant-type:token-exchange";
const MARKS = { passed: ["✓", "passed"], failed: ["✗", "failed"], skipped: ["–", "skipped"] };

async function explain(event) {
  event.preventDefault();
  const error = byId("explain-error");
  error.textContent = "";
  const fields = Object.fromEntries([...new FormData(byId("explain-form")).entries()]
    .map(([name, value]) => [name, name.endsWith("_token") ? value.replace(/\s+/g, "") : value.trim()]));
  if (!fields.actor_token) delete fields.actor_token_type;
  const body = Object.fromEntries(Object.entries({ grant_type: GRANT, ...fields }).filter(([, value]) => value));
  if (new URLSearchParams(body).toString().length > MOST) {
    error.textContent = `This is more than ${MOST / 1024} KiB, and no token is that long.`;
    return;
  }
  try {
    draw(await ask("/api/explain", body));
  } catch (refused) {
    if (!(refused instanceof Refused)) throw refused;
    error.textContent = refused.status === 403 ? `${refused.message}.` : `${refused.message} (${refused.reason})`;
  }
}

function draw(found) {
  const result = byId("explain-result");
  const last = found.steps.at(-1);
  const steps = found.steps.map((step) => {
    const [mark, text] = MARKS[step.outcome];
    return el("li", { class: step.outcome },
      el("span", { class: "mark", "aria-hidden": "true", text: mark }),
      el("span", { class: "visually-hidden", text: `${text}: ` }), code(step.name),
      step.reason ? [" ", badge("bad", step.reason)] : null,
      step.detail ? el("p", { class: "detail", text: step.detail }) : null);
  });
  const heading = el("h3", {}, found.refused ? ["Refused: ", code(last.reason)] : "A token would be minted");
  show(result, heading,
    found.provider ? el("p", { class: "quiet" }, "Provider ", code(found.provider)) : null,
    found.refused ? decided(found.decided_by) : null,
    found.refused ? [el("h4", { text: "The way out" }), remedy(found.remedy)] : null,
    el("h4", { text: "Steps" }), el("ol", { class: "steps" }, steps));
  result.focus({ preventScroll: false });
}

function decided(keys) {
  if (!keys.length) {
    return el("p", { class: "quiet", text: "No key of the configuration decides this: the token, the request or the profile does." });
  }
  const rows = keys.map((one) =>
    el("li", {},
      el("p", {}, code(one.key), " ", el("span", { class: "quiet", text: one.where || (one.missing ? "there is no such table, or none that fits" : "not written: the default decides") })),
      one.text ? el("pre", {}, el("code", { text: one.text })) : null));
  return el("div", {}, el("h4", { text: "Decided by" }), el("ul", { class: "decided" }, rows));
}

export function clear() {
  byId("explain-form").reset();
  byId("explain-error").textContent = "";
  show(byId("explain-result"));
}

export function start() {
  byId("explain-form").addEventListener("submit", explain);
  byId("explain-form").addEventListener("reset", () => {
    byId("explain-error").textContent = "";
    show(byId("explain-result"));
  });
}
