// {{NAME}}: refuses clients whose EHLO name has one of the words in `settings.words`.
import { reject, settings } from "secmx";

// The settings, as `[config]` in policy.toml has them.
const shape = { words: [String] };

export function check() {
  settings(shape);
}

export function mail(session, _reversePath, _parameters) {
  const hello = (session.hello() ?? "").toLowerCase();
  if (settings(shape).words.some((word) => hello.includes(word.toLowerCase()))) {
    return reject(550, "5.7.1", "Not welcome here", "hello.word");
  }
}
