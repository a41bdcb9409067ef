// The page: signing in and out, and the turns in which its parts are read again.
import * as access from "./access.js";
import { ask, forget, isSignedIn, keep, Refused } from "./api.js";
import { byId, el, show } from "./dom.js";
import * as exchanges from "./exchanges.js";
import * as explain from "./explain.js";
import * as health from "./health.js";
import * as keys from "./keys.js";
import * as refusals from "./refusals.js";

const IDLE = 15 * 60 * 1000; // milliseconds without any input, after which the secret is forgotten
const SLOWEST = 60; // seconds between attempts while the service does not answer

const summary = { health: null, keys: null, refusals: null };
const section = (name) => byId(name);

async function readKeys() {
  const found = await ask("/api/keys");
  keys.draw(section("keys"), found);
  summarise("keys", keys.next(found));
}

async function readRefusals() {
  const found = await ask("/api/refusals");
  refusals.draw(section("refusals"), found);
  summarise("refusals", refusals.summary(found));
  return found.complete ? 0 : 1; // counting goes on at once
}

async function readHealth() {
  const found = await ask("/api/health");
  health.draw(section("health"), found);
  summarise("health", health.summary(found));
}

const readAccess = async () => access.draw(section("access"), await ask("/api/access"));

/** Each part: its section, how it is read, and the seconds between two readings. */
const PARTS = [
  ["exchanges", () => exchanges.refresh(), 3],
  ["keys", readKeys, 10],
  ["refusals", readRefusals, 10],
  ["health", readHealth, 10],
  ["access", readAccess, 60],
];
let timers = [];

function summarise(part, { text, kind }) {
  summary[part] = [text, kind];
  const known = Object.entries(summary).filter(([, value]) => value);
  show(byId("summary"), known.map(([name, [said, how]]) => el("li", {}, el("a", { href: `#${name}`, class: how, text: said }))));
}

function turn(part, read, pause, failures = 0) {
  const at = PARTS.findIndex(([name]) => name === part);
  const after = (seconds, failed) => {
    timers[at] = setTimeout(() => turn(part, read, pause, failed), seconds * 1000);
  };
  if (!isSignedIn()) return;
  if (document.hidden) {
    after(1, failures);
    return;
  }
  read().then((soon) => {
    clearFault(part);
    after(soon || pause, 0);
  }).catch((error) => {
    if (!(error instanceof Refused)) throw error;
    if (error.status === 401) {
      signOut(error.reason === "SIGNED_OUT" ? "" : "The service does not accept these credentials any more.");
      return;
    }
    fault(part, error);
    after(error.status === 403 ? SLOWEST : Math.min(SLOWEST, pause * 2 ** failures), failures + 1);
  });
}

function fault(part, error) {
  const body = section(part);
  body.classList.add("stale");
  const said = body.querySelector("[data-fault]") ?? el("p", { class: "error", "data-fault": "" });
  said.textContent = error.status === 403 ? `${error.message}.` : `Not up to date: ${error.message}.`;
  body.querySelector("header").after(said);
}

function clearFault(part) {
  section(part).classList.remove("stale");
  section(part).querySelector("[data-fault]")?.remove();
}

// --- signing in and out ------------------------------------------------------------------------------------------------

async function signIn(event) {
  event.preventDefault();
  const [name, secret, error] = [byId("login-name"), byId("login-secret"), byId("login-error")];
  error.textContent = "";
  if (/[^\x20-\x7e]/.test(name.value + secret.value)) {
    error.textContent = "Names and secrets of operators have ASCII characters alone.";
    return;
  }
  keep(name.value.trim(), secret.value.trim());
  try {
    open(await ask("/api/session"));
  } catch (refused) {
    if (!(refused instanceof Refused)) throw refused;
    if (refused.status === 403) open({ operator: name.value.trim(), roles: [] }); // authenticated, without the role viewer
    else {
      forget();
      error.textContent = `${refused.message}.`;
      secret.focus();
    }
  } finally {
    secret.value = "";
  }
}

function open(session) {
  byId("login").hidden = true;
  for (const id of ["board", "nav", "who"]) byId(id).hidden = false;
  byId("operator").textContent = session.operator;
  byId("roles").textContent = session.roles.join(", ");
  byId("login-name").value = "";
  byId("content").focus();
  touch();
  for (const [part, read, pause] of PARTS) turn(part, read, pause);
}

function signOut(why) {
  forget();
  for (const timer of timers) clearTimeout(timer);
  timers = [];
  exchanges.clear();
  explain.clear();
  byId("filters").reset();
  for (const name of Object.keys(summary)) summary[name] = null;
  for (const body of document.querySelectorAll("[data-body], #summary, datalist")) show(body);
  for (const stamp of document.querySelectorAll("[data-stamp]")) stamp.textContent = "";
  for (const [part] of PARTS) clearFault(part);
  for (const id of ["board", "nav", "who"]) byId(id).hidden = true;
  byId("operator").textContent = byId("roles").textContent = "";
  byId("login").hidden = false;
  byId("login-error").textContent = why;
  byId("login-name").focus();
}

let idle = 0;
function touch() {
  clearTimeout(idle);
  if (isSignedIn()) idle = setTimeout(() => signOut("Signed out after a quarter of an hour without input."), IDLE);
}

function start() {
  if (!CSS.supports("-webkit-text-security", "disc")) byId("login-secret").type = "password";
  byId("login-form").addEventListener("submit", signIn);
  byId("sign-out").addEventListener("click", () => signOut(""));
  for (const type of ["pointerdown", "keydown"]) document.addEventListener(type, touch, { passive: true });
  window.addEventListener("pagehide", () => { if (isSignedIn()) signOut(""); }); // no restored page has the secret
  exchanges.start();
  explain.start();
  byId("login-name").focus();
}

start();
