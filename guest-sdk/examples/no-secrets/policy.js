// Mail whose text carries card numbers or IBANs is kept for a person to look at.
import { octets, quarantine } from "secmx";

// Capital letters and digits in groups, one space or hyphen between.
const candidate = /\b(?=((?:[A-Z]{2}\d\d|\d)[A-Z\d]{0,32}\b(?:[ -][A-Z\d]{1,33}\b){0,20}))/g;

export function inspect(_session, message) {
  for (const part of message.parts()) {
    const text = message.partText(part.index, 1 << 20) ?? "";
    for (const { index: at, 1: groups } of text.matchAll(candidate)) {
      const kind = secret(groups.split(/[ -]/));
      if (!kind) continue;
      message.addEvidence(part.index, octets(text.slice(0, at)), text.slice(at, at + 4) + "…");
      return quarantine(`dlp.${kind}`, `${kind} in part ${part.index}`);
    }
  }
}

function secret(groups) {
  let text = "";
  for (const group of groups) {
    text += group;
    if (/^\d{13,19}$/.test(text) && luhn(text) % 10 === 0) return "card";
    if (/^[A-Z]{2}\d\d[A-Z\d]{11,30}$/.test(text) && iban(text) === 1) return "iban";
  }
}

const luhn = (text) => [...text].reverse().reduce((sum, c, at) => sum + (at % 2 ? c * 2 - (c > 4 ? 9 : 0) : +c), 0);
// ISO 13616: the country and its digits go to the end, letters count from 10.
const iban = (text) => [...text.slice(4), ...text.slice(0, 4)].reduce((sum, c) => Number(`${sum}${parseInt(c, 36)}`) % 97, 0);
