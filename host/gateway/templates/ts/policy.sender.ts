// {{NAME}}: mail to domains that have one of the words in `settings.words` goes securely or not at all.
import { settings, type Destination } from "secmx";

// The settings, as `[config]` in policy.toml has them.
const shape = { words: [String] };

export function check(): void {
  settings(shape);
}

export function route(destination: Destination): void {
  const domain = destination.domain();
  if (settings(shape).words.some((word) => domain.includes(word.toLowerCase()))) destination.setRole("secure-only");
}
