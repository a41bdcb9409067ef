// The picture of access: clients, providers and actors as rows, audiences as columns.
import { byId, duration, el, plural, show } from "./dom.js";

export function draw(section, found) {
  const { audiences } = found;
  show(byId("client-names"), found.clients.map((one) => el("option", { value: one.id })));
  show(byId("audience-names"), audiences.map((one) => el("option", { value: one.name })));
  if (!audiences.length) {
    show(section.querySelector("[data-body]"), el("p", { class: "quiet empty", text: "There are no audiences." }));
    return;
  }
  const names = (of) => [...new Set(audiences.flatMap(of))].sort();
  const actors = (key) => (one) => one.actors?.[key] ?? [];
  const groups = [
    ["Clients", "may have its tokens", found.clients.map((one) => [one.id + (one.public ? " (public)" : ""), (audience) =>
      Object.hasOwn(audience.clients, one.id) ? scopes(audience.clients[one.id]) : null])],
    ["Providers", "whose tokens are exchanged", has(names((one) => one.providers), (one) => one.providers)],
    ["Issued for", "audiences whose tokens are exchanged", has(names((one) => one.reexchange_from), (one) => one.reexchange_from)],
    ["Actors of providers", "may act for the subject", has(names(actors("providers")), actors("providers"), impersonates)],
    ["Actors of audiences", "may act for the subject", has(names(actors("audiences")), actors("audiences"), impersonates)],
    ["Rules", "", rules(audiences)],
  ].filter(([, , rows]) => rows.length);
  const head = el("tr", {}, el("td"), audiences.map((one) =>
    el("th", { scope: "col" }, el("span", { class: "audience", title: one.name, text: short(one.name) }), el("small", { class: "quiet block", text: one.format }))));
  const bodies = groups.map(([title, about, rows]) => el("tbody", {},
    el("tr", { class: "group" }, el("th", { scope: "rowgroup", colspan: audiences.length + 1 }, title, about ? el("small", { class: "quiet", text: ` ${about}` }) : null)),
    rows.map(([name, cell]) => el("tr", {}, el("th", { scope: "row", title: name, text: short(name) }), audiences.map((one) => mark(cell(one)))))));
  const more = [[found.audiences_more, "audience"], [found.clients_more, "client"]].filter(([count]) => count);
  show(section.querySelector("[data-body]"),
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table of access" },
      el("table", { class: "matrix" }, el("caption", { class: "visually-hidden", text: "Access by audience" }), el("thead", {}, head), bodies)),
    more.length ? el("p", { class: "quiet small", text: `and ${more.map(([count, name]) => plural(count, `more ${name}`)).join(", ")}` }) : null);
}

const short = (name) => name.replace(/^https:\/\//, "");
const scopes = (text) => text || "no scopes";
const impersonates = (one) => (one.actors.impersonation ? "as the subject" : one.actors.without_may_act ? "without may_act" : "");

function has(names, listed, text = () => "") {
  return names.map((name) => [name, (audience) => (listed(audience).includes(name) ? text(audience) : null)]);
}

function rules(audiences) {
  const rows = [
    ["Without a profile", (one) => ({ deny: "denied", without: "minted without enrichment", create: "profile is created" })[one.on_missing_profile] ?? one.on_missing_profile],
    ["Lifetime", (one) => `${duration(one.lifetime)}, at most ${duration(one.max_lifetime)}`],
    ["Bound to a key", (one) => one.bound ?? ""],
    ["Single use", (one) => (one.single_use ? "yes" : "")],
    ["Condition", (one) => one.condition],
  ];
  return rows.filter(([, of]) => audiences.some(of)).map(([name, of]) => [name, (one) => ({ text: of(one) })]);
}

/** A text is permission, with a remark; null is none; an object is a fact. */
function mark(value) {
  if (value === null) return el("td", { class: "no" }, el("span", { class: "visually-hidden", text: "no" }));
  if (typeof value === "object") return el("td", { class: "fact", text: value.text });
  return el("td", { class: "yes" }, el("span", { class: "dot", "aria-hidden": "true" }), el("span", { class: "visually-hidden", text: "yes " }), value ? el("small", { text: value }) : null);
}
