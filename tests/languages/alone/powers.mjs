// A policy that keeps things and asks DNS, asked without a gateway.
import { NoAnswer, lookUp, quarantine, store } from "secmx";
import { ask } from "secmx/testing";
const inspect = () => {
  const number = store.increment("seen", 2);
  store.set("word", "kept ü", 60);
  try {
    lookUp("down.test", "TXT");
  } catch (error) {
    if (!(error instanceof NoAnswer)) throw error;
    return quarantine("told", `${number} ${error.why} ${lookUp("known.test", "TXT").values}`);
  }
};
const dns = { "down.test TXT": "servfail", "known.test TXT": ["one"] };
const { ruling, store: held } = ask({ inspect }, "inspect", [], { dns, store: { seen: "3" } });
if (ruling.val.text !== "5 unavailable one" || held.seen !== "5" || held.word !== "kept ü") throw new Error(JSON.stringify([ruling, held]));
