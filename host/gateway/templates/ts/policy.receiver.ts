// {{NAME}}: refuses clients whose EHLO name has one of the words in `settings.words`.
import { reject, settings, type Address, type Parameter, type Ruling, type Session } from "secmx";

// The settings, as `[config]` in policy.toml has them.
const shape = { words: [String] };

export function check(): void {
  settings(shape);
}

export function mail(session: Session, _reversePath: Address | null, _parameters: Parameter[]): Ruling | undefined {
  const hello = (session.hello() ?? "").toLowerCase();
  if (settings(shape).words.some((word) => hello.includes(word.toLowerCase()))) {
    return reject(550, "5.7.1", "Not welcome here", "hello.word");
  }
}
