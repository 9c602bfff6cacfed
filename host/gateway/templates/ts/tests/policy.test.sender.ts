// Asks the policy without the gateway: `npm install` once, then `npm test`.
import assert from "node:assert";
import { test } from "node:test";
import { ask, fake } from "secmx/testing";
import * as policy from "../policy.ts";

test("a word is seen", () => {
  const destination = fake({ domain: "secret.example" });
  ask(policy, "route", [destination], { settings: { words: ["secret"] } });
  assert.deepEqual(destination.calls, [["setRole", "secure-only"]]);
});
