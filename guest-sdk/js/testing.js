// Asks a policy outside the gateway, under `node --test` or any other runner: settings, lists and time are yours, and so are the facts.
import { answering, connect } from "secmx";

/** Asks one question. Gives the ruling, and what was logged and counted. */
export function ask(policy, question, facts, { settings = {}, lists = {}, now = 0 } = {}) {
  const story = { log: [], counts: {} };
  connect({
    log: (severity, text) => story.log.push(`${severity} ${text}`),
    settings: () => JSON.stringify(settings),
    inList: (name, value) => {
      if (!lists[name]) throw new Error(`the configuration names no list \`${name}\``);
      return lists[name].includes(value.toLowerCase());
    },
    now: () => now,
    count: (name, by) => (story.counts[name] = (story.counts[name] ?? 0) + by),
  });
  return { ruling: answering("this test", [question], policy)[question](...facts), ...story };
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
