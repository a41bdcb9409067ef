// The health of providers, of replicas, and of the process that answers.
import { badge, clockTime, code, el, plural, show, table, time } from "./dom.js";

const KINDS = { good: ["good", "good"], stale: ["warn", "last fetch failed"], failing: ["bad", "no usable keys"] };

export function draw(section, found) {
  const { now } = found;
  const providers = found.providers.map((one) => [
    el("span", {}, el("strong", { text: one.name }), el("small", { class: "quiet block", text: one.issuer })),
    badge(...KINDS[one.state]),
    el("span", { title: one.source }, `${one.keys}${one.skipped ? `, ${one.skipped} not used` : ""}`),
    time(one.fetched, now),
    time(one.trusted_until, now),
  ]);
  const errors = found.providers.filter((one) => one.error).map((one) =>
    el("li", {}, el("strong", { text: one.name }), `: ${one.error} `, el("span", { class: "quiet" }, time(one.error_time, now))));
  const replicas = found.replicas.map((one) => [
    code(one.replica.slice(0, 16)), `generation ${one.generation}`, one.current ? badge("good", "current") : badge("warn", "behind"),
  ]);
  const faults = [...found.problems.map((one) => ["bad", one]), ...found.details.map((one) => ["warn", one])];
  show(section.querySelector("[data-body]"),
    table("Providers", ["Provider", "State", "Keys", "Fetched", "Trusted until"], providers, "There are no providers."),
    found.providers_more ? el("p", { class: "quiet small", text: `and ${plural(found.providers_more, "more provider")}` }) : null,
    errors.length ? el("ul", { class: "list faults" }, errors) : null,
    el("h3", { text: "Replicas" }),
    table("Replicas", ["Replica", "Key ring", "State"], replicas, "No replica has reported."),
    el("h3", { text: "This process" }),
    faults.length
      ? el("ul", { class: "list faults" }, faults.map(([kind, one]) =>
          el("li", {}, badge(kind, kind === "bad" ? "not ready" : "note"), " ", el("strong", { text: one.subject }), `: ${one.text}`)))
      : el("p", { class: "good", text: "Ready, and without faults." }));
  section.querySelector("[data-stamp]").textContent = `${clockTime(now)} UTC`;
}

/** Return the health in a few words, for the summary. */
export function summary(found) {
  const failing = found.providers.filter((one) => one.state === "failing").length;
  const stale = found.providers.filter((one) => one.state === "stale").length;
  const behind = found.replicas.filter((one) => !one.current).length;
  if (found.problems.length) return { text: `not ready: ${found.problems[0].subject}`, kind: "bad" };
  if (failing) return { text: `${plural(failing, "provider")} without usable keys`, kind: "bad" };
  if (stale || behind) return { text: [stale && `${plural(stale, "provider")} with a failed fetch`, behind && `${plural(behind, "replica")} behind`].filter(Boolean).join(", "), kind: "warn" };
  return { text: `ready, ${plural(found.providers.length, "provider")} and ${plural(found.replicas.length, "replica")} good`, kind: "good" };
}
