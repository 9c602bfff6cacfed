// {{NAME}}: keeps messages whose subject has one of the words in `settings.words`.
import { quarantine, settings } from "secmx";

// The settings, as `[config]` in policy.toml has them.
const shape = { words: [String] };

export function check() {
  settings(shape);
}

export function inspect(_session, message) {
  const subject = message.text("Subject").join(" ").toLowerCase();
  const word = settings(shape).words.find((word) => subject.includes(word.toLowerCase()));
  if (word) return quarantine("subject.word", `the subject has "${word}"`);
}
