// Touches everything that a policy can see and do. `cases.toml` says what must come of it.
import { NoAnswer, lookUp, store, accept, count, debug, defer, discard, inList, info, now, quarantine, reject, settings, warn } from "secmx";
import type { Address, Certificate, Channel, Destination, Exchanger, Message, Parameter, Part, Ruling, Session } from "secmx";

const shape = { act: "" };
const act = () => settings(shape).act;

const orDash = (text?: string | number | null): string | number => text ?? "-";
const bits = (...all: boolean[]) => all.map((bit) => (bit ? "1" : "0")).join("");
const path = (address: Address | null) => (address ? `${address.localPart}@${address.domain}` : "-");
const list = (parameters: Parameter[]) => parameters.map(({ keyword, value }) => (value == null ? keyword : `${keyword}=${value}`)).join(" ");
const ascii = (octets: Uint8Array) => String.fromCharCode(...octets);

const channel = (it: Channel | null) =>
  it ? `${bits(it.level === "domain", it.version === "tls1-3")} ${it.cipher} ${it.group} ${orDash(it.serverName)}` : "-";
const certificate = (it: Certificate | null) =>
  it ? `${it.subject} ${it.issuer} ${it.dnsNames} ${it.sha256.length} ${it.sha256[31]} ${it.notAfter}` : "-";
const exchanger = (it: Exchanger) =>
  `${it.index} ${it.name} ${it.port} ${it.preference} ${bits(it.source === "secmx-srv", it.dnssecSecure, it.expected === "domain")}`;

export function check(): void {
  if (act() === "refuse") throw new Error("refused as told");
}

export function greet(session: Session): void {
  session.setRole("secure-only");
  session.setClientCertificate("request");
  const optional = [session.clientName(), session.hello(), session.authenticatedAs()];
  const results = [session.authenticationResult("spf"), session.authenticationResult("dkim"), session.tag("before")];
  const facts = [session.id(), session.listener(), session.clientAddress(), ...optional, ...results];
  session.setTag("facts", facts.map(orDash).join(" "));
  session.setTag("channel", channel(session.channel()));
  session.setTag("peer", certificate(session.peerCertificate()));
  session.setTag("again", session.tag("channel") ?? "-");
}

export function mail(_session: Session, reversePath: Address | null, parameters: Parameter[]): Ruling {
  return reject(550, "5.1.8", `${path(reversePath)} ${list(parameters)}`, "told.mail");
}

export function recipient(_session: Session, reversePath: Address | null, forwardPath: Address, parameters: Parameter[]): Ruling {
  return defer(451, "4.7.1", `${path(reversePath)} ${path(forwardPath)} ${list(parameters)}`, "told.recipient");
}

const acts: Record<string, (message: Message) => Ruling | void> = {
  facts(message) {
    const recipients = message.recipients().map((to) => `${path(to.address)} ${list(to.parameters)}`);
    const fields = message.fields().map((field) => `${field.name}=${ascii(field.value).trim()}`);
    const text = [message.id(), path(message.reversePath()), list(message.parameters()), recipients, message.octets(), fields];
    const rest = [message.text("subject"), ascii(message.read(3, 4)), orDash(message.tag("before"))];
    return quarantine("told.facts", [...text, ...rest].join("|"));
  },

  parts(message) {
    const part = (it: Part) =>
      [it.index, orDash(it.parent), it.contentType, orDash(it.charset), orDash(it.fileName), it.decodedOctets]
        .concat(bits(it.attachment, it.opacity === "clear"))
        .join(" ");
    const digest = message.digest(1);
    const text = [message.parts().map(part), orDash(message.partText(1, 6)), ascii(message.readPart(1, 1, 3))];
    const rest = [`${digest.length} ${digest[0]}`, message.find(["nothing", "GRUSS", "Gruss"], true).join(",")];
    return quarantine("told.parts", [...text, ...rest].join("|"));
  },

  changes(message) {
    const address = (localPart: string) => ({ localPart, domain: "health.test" });
    message.addField("X-Told", "grün");
    message.replaceField("Subject", "told");
    const removed = message.removeField("X-Old");
    message.addRecipient(address("di"));
    const gone = [message.removeRecipient(address("cy")), message.removeRecipient(address("nobody"))];
    message.setTag("class", "secret");
    message.demand("secure-only", "host");
    message.addEvidence(0, 7, "seen");
    const failed = [works(() => message.journal("kept")), works(() => message.journal("none")), works(() => message.removePart(9))];
    const replaced = works(() => message.replacePart(9, "text/plain", new Uint8Array([120])));
    return accept("told.changes", `${removed} ${bits(...gone)} ${bits(...failed)} ${bits(replaced)}`);
  },

  host() {
    debug("one", 1);
    info("two", 2);
    warn("three", 3);
    count("told", 2);
    const listed = [inList("blocked", "192.0.2.7"), inList("blocked", "192.0.2.8")];
    return accept("told.host", `${bits(...listed)} ${bits(now().getTime() > 1_700_000_000_000)}`);
  },

  store() {
    const before = store.get("word");
    store.set("word", "kept", 3600);
    const sums = [store.increment("sum", 2), store.increment("sum", -5)];
    const end = works(() => store.set("much", new Uint8Array(1 << 21))) ? "taken" : "refused";
    const after = String.fromCharCode(...(store.get("word") ?? []));
    return accept("told.store", `${before ? "some" : "-"} ${after} ${sums.join(" ")} ${end}`);
  },

  dns() {
    const found = lookUp("known.test", "TXT");
    const rest = ["none.test", "down.test", "forged.test"].map(why);
    return accept("told.dns", `${found.values} ${bits(found.secure)} ${rest.join(" ")}`);
  },

  discard: () => discard("told.discard", "dropped as told"),

  raise() {
    throw new Error("the author's own words");
  },

  loop() {
    for (;;);
  },

  memory: () => accept("told.memory", String(new Uint8Array(1 << 30).fill(1).length)),

  "bad-field"(message) {
    message.addField("X-Told", "one\r\nX-Smuggled: two");
  },

  "bad-reply": () => reject(250, "2.0.0", "no refusal", "told.bad-reply"),
};

export function inspect(_session: Session, message: Message): Ruling | void {
  return acts[act()]?.(message);
}

function works(change: () => void): boolean {
  try {
    change();
    return true;
  } catch {
    return false;
  }
}

/** Why DNS gives nothing. */
function why(name: string): string {
  try {
    return JSON.stringify(lookUp(name, "TXT"));
  } catch (error) {
    return error instanceof NoAnswer ? error.why : String(error);
  }
}

export function route(to: Destination): Ruling {
  to.setRole("secure-only");
  to.attempt(1, "host");
  to.attempt(0, "domain");
  to.whenProved({ tag: "bounce", val: { code: "told.proved", text: "nothing better" } });
  to.whenUnknown({ tag: "defer" });
  const answers = bits(to.secmx() === "found", to.mx() === "unknown", to.bestLevel() === "host");
  const text = [to.domain(), to.recipients().map(path), path(to.reversePath()), to.messageId()];
  const more = [`${orDash(to.tag("class"))} ${orDash(to.tag("none"))}`, to.waited(), to.attempts(), answers, to.stsMode()];
  const rest = [to.exchangers().map(exchanger), bits(to.channel() == null)];
  return accept("told.route", [...text, ...more, ...rest].join("|"));
}

export function admit(destination: Destination, to: Exchanger): Ruling {
  const facts = [channel(destination.channel()), certificate(destination.peerCertificate()), exchanger(to)];
  return quarantine("told.admit", facts.join("|"));
}
