// The keys on a time axis, the changes that come next, and the parties that lack the next key.
import { axisLabel, clockTime, code, duration, el, instant, plural, show, table, time, when } from "./dom.js";

const STATES = ["prepared", "active", "retiring", "revoked"];
const BECOMES = { active: "begins to sign", retiring: "stops signing", unpublished: "leaves the key set" };

export function draw(section, keys) {
  const body = section.querySelector("[data-body]");
  show(body,
    el("div", { class: "legend", "aria-hidden": "true" },
      STATES.map((state) => el("span", {}, el("i", { class: `swatch ${state}` }), state)),
      el("span", {}, el("i", { class: "swatch planned" }), "planned")),
    picture(keys),
    keys.gone ? el("p", { class: "quiet small", text: `${plural(keys.gone, "older key")} not shown` }) : null,
    el("div", { class: "columns" }, coming(keys), behind(keys)));
  section.querySelector("[data-stamp]").textContent = `generation ${keys.generation}, ${clockTime(keys.now)} UTC`;
}

function picture(keys) {
  const length = keys.end - keys.begin;
  const at = (moment) => `${((moment - keys.begin) / length) * 100}%`;
  if (!keys.rows.length) return el("p", { class: "quiet empty", text: "There are no keys." });
  const rows = keys.rows.map((row) => {
    const bars = el("div", { class: "bars", role: "img", "aria-label": told(row) }, row.spans.map((span) => {
      const bar = el("div", { class: `span ${span.state}${span.planned ? " planned" : ""}`,
        title: `${span.state}: ${instant(span.begin)} to ${instant(span.end)}${span.planned ? ", planned" : ""}` });
      bar.style.left = at(span.begin);
      bar.style.width = `${((span.end - span.begin) / length) * 100}%`;
      return bar;
    }));
    return el("li", {},
      el("p", { class: "key" }, code(row.key_id.slice(0, 12)), ` ${row.algorithm} `, el("span", { class: `state ${row.state}`, text: row.state })),
      bars);
  });
  const line = el("div", { class: "now", "aria-hidden": "true" }, el("span", { text: "now" }));
  const marks = el("div", { class: "over" }, line);
  line.style.left = at(keys.now);
  const axis = el("div", { class: "axis", "aria-hidden": "true" }, keys.ticks.map((tick) => {
    const mark = el("span", { text: axisLabel(tick, length) });
    mark.style.left = at(tick);
    return mark;
  }));
  return el("div", { class: "timeline" }, marks, el("ol", { class: "rows" }, rows), axis);
}

function told(row) {
  const spans = row.spans.map((span) =>
    `${span.planned ? "planned " : ""}${span.state} from ${instant(span.begin)} to ${instant(span.end)}`);
  return `Key ${row.key_id.slice(0, 12)}, ${row.algorithm}, ${row.state}: ${spans.join("; ")}`;
}

function coming(keys) {
  const rows = keys.coming.map((change) =>
    el("li", {}, el("strong", { text: when(change.time, keys.now) }), " ", code(change.key_id.slice(0, 12)),
      ` ${BECOMES[change.to] ?? change.to} `, el("span", { class: "quiet", text: instant(change.time) })));
  return el("div", {}, el("h3", { text: "What comes next" }),
    rows.length ? el("ol", { class: "list" }, rows) : el("p", { class: "quiet", text: "No change is planned." }));
}

function behind(keys) {
  const title = el("h3", { text: "Without the next key" });
  const { replicas_behind: replicas, verifiers_behind: verifiers } = keys;
  if (!keys.prepared.length) return el("div", {}, title, el("p", { class: "quiet", text: "There is no next key." }));
  if (!replicas.length && !verifiers.length) {
    const everybody = `${plural(keys.replicas, "replica")} and ${plural(keys.verifiers, "known verifier")}`;
    return el("div", {}, title, el("p", { class: "good", text: `None: ${everybody} have it.` }));
  }
  const rows = [
    ...replicas.map((one) => ["replica", code(one.replica.slice(0, 16)), `generation ${one.generation}`]),
    ...verifiers.map((one) => ["verifier", el("span", {}, code(one.address), ` ${one.agent}`), time(one.fetched, keys.now)]),
  ];
  const more = keys.verifiers_behind_more;
  return el("div", {}, title,
    table("Replicas and verifiers without the next key", ["Kind", "Name", "Last fetch"], rows, ""),
    more ? el("p", { class: "quiet small", text: `and ${plural(more, "more verifier")}` }) : null);
}

/** Return the next change in a few words, for the summary. */
export function next(keys) {
  const change = keys.coming[0];
  if (!change) return { text: "no change planned", kind: "" };
  const lacking = keys.replicas_behind.length + keys.verifiers_behind.length + keys.verifiers_behind_more;
  const soon = change.time - keys.now;
  const detail = lacking ? `, ${plural(lacking, "party lacks", "parties lack")} the next key` : "";
  return { text: `${duration(soon)} until the next change${detail}`, kind: lacking && soon < 3600 ? "warn" : "" };
}
