import type { Ruling } from "secmx";

/** What the gateway would offer. */
export interface Surroundings {
  settings?: object;
  /** members in lower case */
  lists?: Record<string, string[]>;
  /** seconds since 1970 */
  now?: number;
  /** what the store holds, as text */
  store?: Record<string, string>;
  /** answers of DNS by "name KIND": values, or "none", "servfail", "bogus" */
  dns?: Record<string, string | string[]>;
}

/** Asks one question of a policy module (`import * as policy from "./policy.ts"`) without the gateway. */
export function ask(policy: object, question: string, facts: unknown[], surroundings?: Surroundings): {
  ruling: Ruling;
  log: string[];
  counts: Record<string, number>;
  /** what the store holds afterwards */
  store: Record<string, string>;
};

/** Stands for a session, a message or a destination. `calls` has what was called and is not among the facts. */
export function fake<Facts extends object>(facts: Facts): any;
