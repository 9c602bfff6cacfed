/**
 * What a SecMX policy in JavaScript or TypeScript stands on.
 *
 * A policy exports a function for each question it means to answer; what it does not export passes, and so does a question it answers
 * with nothing:
 *
 * | interface  | question                                                      | asked |
 * |------------|---------------------------------------------------------------|-------|
 * | `setup`    | `check()`                                                     | when it is loaded; throw to refuse |
 * | `receiver` | `greet(session)`                                              | when a client connects |
 * | `receiver` | `mail(session, reversePath, parameters)`                      | at MAIL |
 * | `receiver` | `recipient(session, reversePath, forwardPath, parameters)`    | at RCPT |
 * | `content`  | `inspect(session, message)`                                   | once a message is complete |
 * | `sender`   | `route(destination)`                                          | before a delivery to one domain |
 * | `sender`   | `admit(destination, exchanger)`                               | when a channel stands |
 */

/** What ends a question. Made by the functions below. */
export type Ruling =
  | { tag: "pass" }
  | { tag: "accept" | "quarantine" | "discard"; val: Reason }
  | { tag: "reject" | "defer"; val: [Reply, Reason] };

/** `code` is stable, dotted, lower case: `dlp.iban`. `text` is one sentence for people. */
export interface Reason { code: string; text: string }
/** An SMTP reply. */
export interface Reply { code: number; enhanced: number[]; text: string }

/** No opinion: the next policy is asked. Returning nothing means the same. */
export function pass(): Ruling;
/** Yes, and no later policy of this interface is asked. */
export function accept(code: string, text: string): Ruling;
/** A 5yz reply: `reject(550, "5.7.1", "not here", "rule.name")`. The text goes to the client. */
export function reject(number: number, enhanced: string, text: string, code: string): Ruling;
/** A 4yz reply. The text goes to the client. */
export function defer(number: number, enhanced: string, text: string, code: string): Ruling;
/** Taken, kept for a person, not delivered. */
export function quarantine(code: string, text: string): Ruling;
/** Taken and dropped; always logged. */
export function discard(code: string, text: string): Ruling;

/** What `settings` gives for a shape. */
export type Settings<Shape> = { [Name in keyof Shape]: Setting<Shape[Name]> };
type Setting<Type> =
  Type extends StringConstructor ? string
  : Type extends NumberConstructor ? number
  : Type extends BooleanConstructor ? boolean
  : Type extends ObjectConstructor ? Record<string, unknown>
  : Type extends readonly (infer Member)[] ? Setting<Member>[]
  : Type;

/**
 * This policy's settings. The shape has, for each, `String`, `Number`, `Boolean` or `Object` when it must be given, one of them in an
 * array for a list, or else its default. Throws when they are of another shape, in words for the administrator: call it in `check` too.
 */
export function settings<const Shape extends Record<string, unknown>>(shape: Shape): Settings<Shape>;

/** A line in the log for developers. What is not a string is written as JSON. */
export function debug(...values: unknown[]): void;
/** A line in the log. */
export function info(...values: unknown[]): void;
/** A line in the log that an operator should see. */
export function warn(...values: unknown[]): void;
/** Whether a list that the configuration names has this member. */
export function inList(list: string, value: string): boolean;
/** The time, the same during one question. */
export function now(): Date;
/** Adds to a counter in the metrics: a word of lower-case letters, digits and hyphens. */
export function count(name: string, by?: number): void;
/**
 * A small memory of the policy, the same for all messages and after a restart: `store = "1MiB"` in [capabilities] of policy.toml. What has
 * a `ttl` is forgotten after so many seconds. What does not fit throws.
 */
export const store: {
  get(key: string): Uint8Array | undefined;
  set(key: string, value: Uint8Array | string, ttl?: number): void;
  increment(key: string, by?: number, ttl?: number): number;
};
/** Looks up in DNS through the gateway: `dns = ["TXT"]` in [capabilities] of policy.toml. Throws NoAnswer; what is not caught defers. */
export function lookUp(name: string, kind: string): { values: string[]; secure: boolean };
/** Why DNS gave nothing. `unavailable` is never `none`. */
export class NoAnswer extends Error {
  readonly why: "none" | "unavailable" | "bogus";
}
/** How many octets a string has in UTF-8, which is what offsets count. */
export function octets(text: string): number;

export type Level = "plain" | "encrypted" | "host" | "domain";
export type SenderRole = "best-effort" | "secure-only";
export type ReceiverRole = "best-effort" | "secure-only";
export type TlsVersion = "tls1-2" | "tls1-3";
export type Opacity = "clear" | "smime-enveloped" | "openpgp" | "encrypted-archive" | "encrypted-document" | "unreadable";
/** Four answers of DNS that are never confused: `unknown` is never `none`. */
export type Answer = "found" | "none" | "denied" | "unknown" | "bogus";
export type Source = "secmx-srv" | "smtp-tls-srv" | "mx" | "address-record" | "configured";
/** What happens when every attempt of a plan failed. */
export type Exhausted = { tag: "defer" } | { tag: "bounce"; val: Reason };

export interface Address { localPart: string; domain: string }
/** ESMTP parameter of MAIL or RCPT. */
export interface Parameter { keyword: string; value?: string | null }
export interface Channel { level: Level; version: TlsVersion; cipher: string; group: string; serverName?: string | null }
/** `sha256` is of the DER form; `notAfter` in seconds since 1970. */
export interface Certificate { subject: string; issuer: string; dnsNames: string[]; sha256: Uint8Array; notAfter: number }
export interface Field { name: string; value: Uint8Array }
export interface Recipient { address: Address; parameters: Parameter[] }
export interface Part {
  index: number;
  parent?: number | null;
  contentType: string;
  charset?: string | null;
  fileName?: string | null;
  attachment: boolean;
  decodedOctets: number;
  opacity: Opacity;
}
export interface Exchanger {
  index: number;
  name: string;
  port: number;
  source: Source;
  preference: number;
  dnssecSecure: boolean;
  /** the best level it could reach by what is published */
  expected: Level;
}

/** One connection to a listener. */
export interface Session {
  id(): string;
  listener(): string;
  clientAddress(): string;
  /** forward-confirmed reverse DNS name */
  clientName(): string | null;
  hello(): string | null;
  /** nothing without TLS */
  channel(): Channel | null;
  peerCertificate(): Certificate | null;
  authenticatedAs(): string | null;
  /** `spf`, `dkim`, `dmarc`, `arc` to `pass`, `fail`, … */
  authenticationResult(method: string): string | null;
  tag(key: string): string | null;
  setTag(key: string, value: string): void;
  /** in `greet` only */
  setRole(role: ReceiverRole): void;
  /** in `greet` only */
  setClientCertificate(want: "ignore" | "request" | "demand"): void;
}

/** The message under inspection. Its octets stay in the gateway; a policy copies only what it reads. */
export interface Message {
  id(): string;
  /** nothing is the null reverse-path */
  reversePath(): Address | null;
  parameters(): Parameter[];
  recipients(): Recipient[];
  octets(): number;
  fields(): Field[];
  /** every value of a header field, unfolded and decoded */
  text(name: string): string[];
  /** at most `max` octets of the message as received */
  read(offset: number, max: number): Uint8Array;
  parts(): Part[];
  /** where readers would disagree about this message */
  ambiguities(): { part: number; what: string }[];
  /** every name that some reader would give a part */
  fileNames(index: number): string[];
  /** at most `max` octets of a part after its transfer encoding was undone */
  readPart(index: number, offset: number, max: number): Uint8Array;
  /** text of a part, at most `max` octets of UTF-8; nothing when it is no text */
  partText(index: number, max: number): string | null;
  /** SHA-256 of a decoded part */
  digest(index: number): Uint8Array;
  /** which needles occur in the decoded text; the gateway searches */
  find(needles: string[], ignoreCase: boolean): number[];
  /** where a policy saw what it saw; at most 80 characters */
  addEvidence(part: number, offset: number, excerpt: string): void;
  addField(name: string, value: string): void;
  replaceField(name: string, value: string): void;
  /** how many there were */
  removeField(name: string): number;
  /** throws a string when it cannot be done */
  replacePart(index: number, contentType: string, body: Uint8Array): void;
  /** throws a string when it cannot be done */
  removePart(index: number): void;
  addRecipient(to: Address): void;
  /** whether it was there */
  removeRecipient(to: Address): boolean;
  /** a copy to a journal that the configuration names; throws a string when it names none */
  journal(name: string): void;
  tag(key: string): string | null;
  setTag(key: string, value: string): void;
  /** what every delivery needs at least; raises, never lowers */
  demand(role: SenderRole, atLeast: Level): void;
}

/** One destination domain of one message, and what discovery found for it. */
export interface Destination {
  domain(): string;
  recipients(): Address[];
  reversePath(): Address | null;
  messageId(): string;
  tag(key: string): string | null;
  /** seconds since the message was queued */
  waited(): number;
  attempts(): number;
  secmx(): Answer;
  mx(): Answer;
  /** `enforce`, `testing`, `none` */
  stsMode(): string;
  exchangers(): Exchanger[];
  bestLevel(): Level | null;
  /** The plan, built in order; it counts with `accept`. With nothing, only `setRole` does. */
  setRole(role: SenderRole): void;
  attempt(exchanger: number, atLeast: Level): void;
  whenProved(then: Exhausted): void;
  whenUnknown(then: Exhausted): void;
  /** in `admit` only */
  channel(): Channel | null;
  /** in `admit` only */
  peerCertificate(): Certificate | null;
}
