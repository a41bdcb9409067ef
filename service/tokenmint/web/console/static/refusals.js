// The refusals by reason, over an hour and a day, each with the way out.
import { clockTime, code, el, instant, plural, remedy, show } from "./dom.js";

export function draw(section, found) {
  const body = section.querySelector("[data-body]");
  const open = new Set([...body.querySelectorAll("details[open]")].map((one) => one.dataset.reason));
  const focused = document.activeElement?.closest?.("#refusals details")?.dataset.reason;
  const most = Math.max(1, ...found.reasons.map((one) => one.day));
  const rows = found.reasons.map((one) => {
    const bar = el("span", { class: "share", "aria-hidden": "true" });
    bar.style.width = `${(one.day / most) * 100}%`;
    return el("li", {},
      el("details", { "data-reason": one.reason, open: open.has(one.reason) },
        el("summary", {},
          code(one.reason),
          el("span", { class: "counts" },
            el("b", { text: one.hour.toLocaleString("en") }), " last hour, ",
            el("b", { text: one.day.toLocaleString("en") }), " last day"),
          el("span", { class: "shares" }, bar)),
        remedy(one.remedy)));
  });
  show(body,
    rows.length ? el("ul", { class: "refused" }, rows) : el("p", { class: "good empty", text: "Nothing was refused." }),
    el("p", { class: "quiet small", text: span(found) }),
    el("p", { class: "quiet small", text: "Calls without valid credentials are in the log and in the metrics alone: the stream has room for authenticated clients only." }));
  if (focused) body.querySelector(`details[data-reason="${CSS.escape(focused)}"] summary`)?.focus();
  section.querySelector("[data-stamp]").textContent = `${clockTime(found.now)} UTC`;
}

function span(found) {
  if (!found.since) return "The audit stream has no events yet.";
  if (!found.complete) return `Counted back to ${instant(found.since)}; counting goes on.`;
  return `The audit stream goes back to ${instant(found.since)}.`;
}

/** Return the refusals of the last hour in a few words, for the summary. */
export function summary(found) {
  const count = found.reasons.reduce((sum, one) => sum + one.hour, 0);
  return { text: `${plural(count, "refusal")} in the last hour`, kind: "" };
}
