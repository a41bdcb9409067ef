// The exchanges, from the audit stream: live, filtered by the service, bounded here.
import { ask, Refused } from "./api.js";
import { badge, byId, clockTime, code, el, instant, plural, show, table } from "./dom.js";

const MOST = 300;
const TYPING = 300; // milliseconds
let events = [];
let newest = "";
let older = "";
let turn = 0; // grows with each filter, so that a late answer to an earlier one is not shown

const section = () => byId("exchanges");
const isLive = () => byId("live").getAttribute("aria-pressed") === "true";

function filters() {
  const form = new FormData(byId("filters"));
  return Object.fromEntries([...form.entries()].map(([name, value]) => [name, String(value).trim()]));
}

/** Read what is new, or with `again` everything that the filters let through. */
export async function refresh(again = false) {
  if (!again && !isLive()) return;
  const asked = again ? ++turn : turn;
  const bounds = again || !newest ? {} : { after: newest };
  const found = await ask("/api/exchanges", { ...filters(), ...bounds });
  if (asked !== turn) return;
  const first = again || !newest || found.older; // more than one page came: what was shown no longer joins it
  newest = found.newest || newest;
  if (first) [events, older] = [found.events, found.older];
  else events = [...found.events, ...events];
  if (events.length > MOST) {
    events = events.slice(0, MOST);
    older = events.at(-1).id;
  }
  draw(found.now);
}

async function readOlder() {
  const asked = turn;
  const found = await ask("/api/exchanges", { ...filters(), before: older });
  if (asked !== turn) return;
  byId("live").setAttribute("aria-pressed", "false"); // otherwise the newest would displace them
  events = [...events, ...found.events].slice(-MOST);
  older = found.older;
  draw(found.now);
}

function draw(now) {
  const rows = events.map((event) => [
    el("time", { title: instant(event.time), text: clockTime(event.time) }),
    code(event.caller ?? "—"),
    outcome(event),
    (event.audience ?? []).join(", ") || "—",
    event.provider ?? "—",
    person(event),
    ids(event),
  ]);
  const headings = ["Time", "Client", "Outcome", "Audience", "Provider", "Principal", "Token, trace"];
  show(section().querySelector("[data-body]"),
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table of exchanges" },
      table("Exchanges, the newest first", headings, rows, older ? "None of the newest events matches." : "No exchange matches.")),
    older ? el("p", {}, el("button", { type: "button", class: "plain", text: "Read older ones",
      on: { click: () => readOlder().catch(tell) } })) : null);
  section().querySelector("[data-stamp]").textContent =
    `${plural(events.length, "event")}, ${isLive() ? "read" : "paused"} at ${clockTime(now)} UTC`;
}

function outcome(event) {
  if (event.reason) {
    const times = event.count ? ` × ${event.count}` : "";
    const title = event.detail ? { title: event.detail } : {};
    return el("span", title, badge("bad", `${event.reason}${times}`), event.detail ? el("small", { class: "quiet detail", text: event.detail }) : null);
  }
  if (event.refused?.length) return el("span", {}, badge("warn", "in part"), " ", event.refused.join(", "));
  if (event.minted?.length) return badge("good", event.minted.some((one) => one.reused) ? "reused" : "minted");
  return badge("", (event.method ?? "").split("/").pop() || event.outcome || "—");
}

function person(event) {
  if (!event.principal) return "—";
  return el("span", {}, event.principal, event.actor ? el("small", { class: "quiet", text: ` by ${event.actor}` }) : null);
}

function ids(event) {
  const parts = (event.minted ?? []).map((one) => el("div", {}, code(one.jti)));
  if (event.trace_id) parts.push(el("div", { class: "quiet" }, "trace ", code(event.trace_id)));
  return parts.length ? el("span", { class: "ids" }, parts) : "—";
}

function tell(error) {
  if (!(error instanceof Refused)) throw error;
  section().querySelector("[data-stamp]").textContent = error.message;
}

export function start() {
  let timer = 0;
  const again = (pause) => {
    clearTimeout(timer);
    timer = setTimeout(() => refresh(true).catch(tell), pause);
  };
  byId("filters").addEventListener("input", () => again(TYPING));
  byId("filters").addEventListener("reset", () => again(0));
  byId("filters").addEventListener("submit", (event) => { event.preventDefault(); again(0); });
  byId("live").addEventListener("click", () => {
    byId("live").setAttribute("aria-pressed", String(!isLive()));
    if (isLive()) again(0);
  });
}

export function clear() {
  [events, newest, older] = [[], "", ""];
  turn += 1;
}
