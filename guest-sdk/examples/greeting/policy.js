// Refuses clients by their address.
import { count, reject, settings } from "secmx";

// `192.0.2.7` is that address; `192.0.2.` and `2001:db8:` are every address that begins so.
const shape = { refuse: [String], text: "mail from your address is not taken here" };

export function check() {
  settings(shape);
}

export function greet(session) {
  const { refuse, text } = settings(shape);
  const address = session.clientAddress();
  const listed = (entry) => address === entry || (/[.:]$/.test(entry) && address.startsWith(entry));
  if (refuse.some(listed)) {
    count("refused");
    return reject(554, "5.7.1", text, "greeting.address");
  }
}
