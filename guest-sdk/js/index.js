// What a policy in JavaScript or TypeScript stands on: rulings in one line, typed settings, the log. The types are in index.d.ts.
//
// A policy exports a function for each question it means to answer: check, greet, mail, recipient, inspect, route, admit. What it does
// not export passes, and so does a question it answers with nothing.

let gateway; // `secmx:policy/host`, or what a test puts in its place
let powers = {}; // `store` and `dns`, where policy.toml declares them
let known; // the settings, read once

/** Called by the build, and by tests. */
export function connect(host, declared = {}) {
  gateway = host;
  powers = declared;
  known = undefined;
}

function power(name, example) {
  if (powers[name]) return powers[name];
  throw new Error(`the policy uses \`${name}\`, which [capabilities] of policy.toml does not declare: add ${example}`);
}

function host() {
  if (!gateway) throw new Error("the gateway can be asked only while a question is answered, not while the policy is loaded");
  return gateway;
}

const reply = (code, enhanced, text) => ({ code, enhanced: String(enhanced).split(".").map(Number), text: String(text) });

export const pass = () => ({ tag: "pass" });
export const accept = (code, text) => ({ tag: "accept", val: { code, text } });
export const quarantine = (code, text) => ({ tag: "quarantine", val: { code, text } });
export const discard = (code, text) => ({ tag: "discard", val: { code, text } });
export const reject = (number, enhanced, text, code) => ({ tag: "reject", val: [reply(number, enhanced, text), { code, text }] });
export const defer = (number, enhanced, text, code) => ({ tag: "defer", val: [reply(number, enhanced, text), { code, text }] });

const line = (values) => values.map((value) => (typeof value === "string" ? value : JSON.stringify(value))).join(" ");
export const debug = (...values) => host().log("debug", line(values));
export const info = (...values) => host().log("info", line(values));
export const warn = (...values) => host().log("warn", line(values));

export const inList = (list, value) => host().inList(list, value);
export const now = () => new Date(Number(host().now()) * 1000);
export const count = (name, by = 1) => host().count(name, by);

const memory = () => power("store", 'store = "1MiB"');

export const store = {
  get: (key) => memory().get(key) ?? undefined,
  set: (key, value, ttl) => {
    memory().set(key, typeof value === "string" ? encode(value) : value, ttl);
  },
  increment: (key, by = 1, ttl) => Number(memory().increment(key, by, ttl)),
};

export class NoAnswer extends Error {
  constructor(name, kind, why) {
    super(`${name} ${kind}: ${why}`);
    this.name = "NoAnswer";
    this.why = why;
  }
}

export function lookUp(name, kind) {
  try {
    return power("dns", 'dns = ["TXT"]').query(name, kind);
  } catch (error) {
    const said = error?.payload ?? error;
    const why = ["none", "unavailable", "bogus"].find((word) => (said?.tag ?? said) === word);
    throw why ? new NoAnswer(name, kind, why) : error;
  }
}

/** UTF-8. */
function encode(text) {
  const escaped = encodeURIComponent(text).replace(/%(..)/g, (_, digits) => String.fromCharCode(parseInt(digits, 16)));
  return Uint8Array.from(escaped, (character) => character.charCodeAt(0));
}

/** How many octets a string has in UTF-8, which is what offsets count. */
export function octets(text) {
  let sum = 0;
  for (const character of text) {
    const code = character.codePointAt(0);
    sum += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  }
  return sum;
}

/** The settings, in the shape that is asked for. */
export function settings(shape) {
  if (known?.shape === shape) return known.value;
  const given = JSON.parse(host().settings());
  const strange = Object.keys(given).find((name) => !Object.hasOwn(shape, name));
  if (strange !== undefined) throw new TypeError(`there is no setting \`${strange}\`, only ${Object.keys(shape).join(", ")}`);
  const value = Object.fromEntries(Object.entries(shape).map(([name, type]) => [name, typed(name, type, given[name])]));
  known = { shape, value };
  return value;
}

const words = new Map([[String, "string"], [Number, "number"], [Boolean, "boolean"], [Object, "object"]]);

/** One setting: `type` is a constructor for what must be given, in an array for a list, or the default. */
function typed(name, type, value) {
  const demanded = Array.isArray(type) && words.has(type[0]) ? "list" : words.get(type);
  if (value === undefined || value === null) {
    if (demanded) throw new TypeError(`\`${name}\` is missing; it is a ${demanded}`);
    return type;
  }
  if (Array.isArray(type)) {
    if (!Array.isArray(value)) throw new TypeError(`\`${name}\` must be a list, not ${JSON.stringify(value)}`);
    const member = words.get(type[0]) ?? typeof type[0];
    const wrong = type.length ? value.find((one) => typeof one !== member) : undefined;
    if (wrong !== undefined) throw new TypeError(`\`${name}\` must be a list of ${member}s; ${JSON.stringify(wrong)} is none`);
    return value;
  }
  const wanted = demanded ?? typeof type;
  if (typeof value !== wanted) throw new TypeError(`\`${name}\` must be a ${wanted}, not ${JSON.stringify(value)}`);
  return value;
}

const rulings = new Set(["pass", "accept", "reject", "defer", "quarantine", "discard"]);

/** The export of one interface. Called by the build. */
export function answering(name, questions, policy) {
  const answered = questions.filter((question) => policy[question] !== undefined);
  if (!answered.length) throw new TypeError(`policy.toml says \`${name}\`, so the policy must export a function ${questions.join(" or ")}`);
  for (const question of answered) {
    if (typeof policy[question] !== "function") throw new TypeError(`\`${question}\` is exported and is not a function`);
  }
  const answer = (question) => (question === "check" ? () => check(policy) : (...facts) => ask(question, policy[question], facts));
  return Object.fromEntries(questions.map((question) => [question, answer(question)]));
}

function ask(question, answer, facts) {
  if (!answer) return pass();
  try {
    const ruling = answer(...facts) ?? pass();
    if (rulings.has(ruling.tag)) return ruling;
    const what = typeof ruling.then === "function" ? "a promise; questions are answered at once" : (JSON.stringify(ruling) ?? typeof ruling);
    throw new TypeError(`${question} must give a ruling, such as quarantine("code", "text"), or nothing. It gave ${what}`);
  } catch (error) {
    tell(error, answer);
    throw error;
  }
}

function check(policy) {
  try {
    policy.check();
  } catch (error) {
    tell(error, policy.check);
    throw String(error?.message ?? error);
  }
}

/** Says in the log what was thrown, and where in the author's own files: where the question is answered, when no frame is the author's. */
function tell(error, answer) {
  const frames = String(error?.stack ?? "").split("\n").map((frame) => frame.trim());
  const own = frames.filter((frame) => frame && !/node_modules|secmx-entry/.test(frame));
  if (!own.length && answer.lineNumber) own.push(`at ${answer.name} (${answer.fileName}:${answer.lineNumber})`);
  host().log("warn", [String(error), ...own].join("\n"));
}
