// The cases of tests/clients/bearer.json: how a request is sent, and how its answer is judged.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { get } from "node:http";

export const bearerCases = JSON.parse(readFileSync(new URL("../../../tests/clients/bearer.json", import.meta.url), "utf8"));

/** Sends one request, with several headers of one name where there are several values. */
export function ask(address, authorizations, more = {}) {
  return new Promise((resolve, reject) => {
    const headers = authorizations.flatMap((value) => ["Authorization", value]);
    const others = Object.entries(more).flat();
    get(address, { headers: ["Host", new URL(address).host, ...headers, ...others] }, (answer) => {
      let body = "";
      answer.setEncoding("utf8");
      answer.on("data", (chunk) => (body += chunk));
      answer.on("end", () => resolve({ status: answer.statusCode, headers: answer.headers, body }));
    }).on("error", reject);
  });
}

export function judge(one, answer, sent) {
  assert.equal(answer.status, one.status);
  const challenge = answer.headers["www-authenticate"] ?? "";
  assert.ok(sent === "" || !`${answer.body}${challenge}`.includes(sent));
  if (one.status === 200) assert.equal(answer.body, "ada");
  else if (one.status === 503) {
    assert.equal(challenge, "");
    assert.ok(Number(answer.headers["retry-after"]) > 0);
    assert.ok(!answer.body.includes("127.0.0.1"));
  } else if (one.error === "") assert.equal(challenge, "Bearer"); // RFC 6750 section 3.1
  else {
    const scope = one.status === 403 ? `, scope="${bearerCases.requires.join(" ")}"` : "";
    assert.match(challenge, /, error_description="[ !#-[\]-~]+"/);
    assert.equal(challenge.replace(/, error_description="[^"]+"/, ""), `Bearer error="${one.error}"${scope}`);
  }
}
