// Asks the policy without the gateway: `npm install` once, then `npm test`.
import assert from "node:assert";
import { test } from "node:test";
import { ask, fake } from "secmx/testing";
import * as policy from "../policy.ts";

test("a word is seen", () => {
  const { ruling } = ask(policy, "mail", [fake({ hello: "secret.example" }), null, []], { settings: { words: ["secret"] } });
  assert.equal(ruling.val[0].code, 550);
});
