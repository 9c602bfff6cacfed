// Mail to the listed domains goes out secure only (SOS), or not at all.
import { settings } from "secmx";

// `health.test` is that domain, `.health.test` every domain below it.
const shape = { domains: [String] };

export function check() {
  if (settings(shape).domains.length === 0) throw new Error("`domains` names no domain");
}

export function route(destination) {
  const domain = destination.domain();
  const listed = (entry) => domain === entry || (entry.startsWith(".") && domain.endsWith(entry));
  if (settings(shape).domains.some(listed)) destination.setRole("secure-only");
}
