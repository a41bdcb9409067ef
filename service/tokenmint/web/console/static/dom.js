// Elements, made without markup: every text goes in as text, so no claim of a token is ever read as HTML.

export const byId = (id) => document.getElementById(id);

/**
 * Return a new element. Attributes of `on` are listeners; `text` is its text; `null` children are left out.
 */
export function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "text") made.textContent = String(value);
    else if (key === "on") for (const [type, listener] of Object.entries(value)) made.addEventListener(type, listener);
    else made.setAttribute(key, value === true ? "" : String(value));
  }
  for (const child of children.flat()) {
    if (child !== null && child !== undefined) made.append(child);
  }
  return made;
}

export function show(parent, ...children) {
  parent.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined));
}

/** A table whose rows become cards on a narrow screen; roles keep it a table there, too. */
export function table(caption, headings, rows, empty) {
  if (!rows.length) return el("p", { class: "quiet empty", text: empty });
  const head = headings.map((text) => el("th", { scope: "col", role: "columnheader", text }));
  const body = rows.map((cells) =>
    el("tr", { role: "row" }, cells.map((cell, at) =>
      el("td", { role: "cell", "data-label": headings[at], class: cell === "—" ? "none" : null }, cell instanceof Node ? cell : String(cell ?? "")))));
  return el("table", { class: "cards", role: "table" },
    el("caption", { class: "visually-hidden", text: caption }),
    el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, head)),
    el("tbody", { role: "rowgroup" }, body));
}

export const code = (text) => el("code", { text });
export const badge = (kind, text) => el("span", { class: `badge ${kind}`, text });

/** Return the text of a remedy, from its segments. */
export function remedy(one) {
  if (!one) return el("p", { class: "quiet", text: "This version does not have this reason." });
  const parts = one.segments.map((segment) =>
    segment.kind === "text" ? segment.text : el(segment.kind === "code" ? "code" : "strong", { text: segment.text }));
  return el("p", {}, one.retry ? [el("strong", { text: "A retry can help. " }), ...parts] : parts);
}

export const plural = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

// --- times ----------------------------------------------------------------------------------------------------------

const iso = (seconds) => new Date(seconds * 1000).toISOString();

export function instant(seconds) {
  return seconds ? `${iso(seconds).slice(0, 19).replace("T", " ")}Z` : "—";
}

export function clockTime(seconds) {
  return seconds ? iso(seconds).slice(11, 19) : "—";
}

export function axisLabel(seconds, length) {
  const text = iso(seconds);
  return length > 3 * 86400 ? text.slice(0, 10) : length > 3600 ? text.slice(5, 16).replace("T", " ") : text.slice(11, 19);
}

/** Return a duration in its two largest units. */
export function duration(seconds) {
  let left = Math.max(0, Math.round(seconds));
  const parts = [];
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]]) {
    const count = Math.floor(left / size);
    left -= count * size;
    if (count || parts.length) parts.push(count ? `${count} ${unit}` : "");
    if (parts.length === 2) break;
  }
  return parts.filter(Boolean).join(" ") || "0 s";
}

export function when(seconds, now) {
  if (!seconds) return "never";
  return seconds > now ? `in ${duration(seconds - now)}` : `${duration(now - seconds)} ago`;
}

export function time(seconds, now) {
  return seconds ? el("time", { datetime: iso(seconds), title: instant(seconds), text: when(seconds, now) }) : "never";
}
