// Asks a policy outside the gateway, under `node --test` or any other runner: settings, lists and time are yours, and so are the facts.
import { answering, connect } from "secmx";

/** Asks one question. Gives the ruling, what was logged and counted, and what the store holds. */
export function ask(policy, question, facts, { settings = {}, lists = {}, now = 0, store = {}, dns = {} } = {}) {
  const story = { log: [], counts: {}, store: { ...store } };
  const host = {
    log: (severity, text) => story.log.push(`${severity} ${text}`),
    settings: () => JSON.stringify(settings),
    inList: (name, value) => {
      if (!lists[name]) throw new Error(`the configuration names no list \`${name}\``);
      return lists[name].includes(value.toLowerCase());
    },
    now: () => now,
    count: (name, by) => (story.counts[name] = (story.counts[name] ?? 0) + by),
  };
  connect(host, { store: memory(story.store), dns: { query: (name, kind) => answer(dns, `${name} ${kind}`) } });
  return { ruling: answering("this test", [question], policy)[question](...facts), ...story };
}

function memory(held) {
  return {
    get: (key) => (key in held ? new TextEncoder().encode(held[key]) : undefined),
    set: (key, value) => (held[key] = new TextDecoder().decode(value)),
    increment: (key, by) => Number((held[key] = String(Number(held[key] ?? 0) + by))),
  };
}

/** `dns` is as in tests/cases.toml: values, or a word such as "servfail". What is not given is an error. */
function answer(dns, asked) {
  const given = dns[asked];
  if (given === undefined) throw new Error(`the test does not say what DNS answers: add dns: { "${asked}": "none" }`);
  if (given === "none" || given === "bogus") throw { tag: given };
  if (given === "servfail") throw { tag: "unavailable" };
  return { values: [given].flat(), secure: false };
}

/**
 * Stands for a session, a message or a destination: `fake({ domain: "health.test" })` answers `domain()`. Whatever else is called is
 * written down in `calls`, so that a test sees what the policy changed.
 */
export function fake(facts) {
  const calls = [];
  const answer = (name) => (...given) => {
    if (!(name in facts)) calls.push([name, ...given]);
    return typeof facts[name] === "function" ? facts[name](...given) : facts[name];
  };
  return new Proxy({}, { get: (_, name) => (name === "calls" ? calls : answer(name)) });
}
