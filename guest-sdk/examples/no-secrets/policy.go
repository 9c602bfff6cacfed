// Mail whose text carries card numbers or IBANs is kept for a person to look at.
package policy

import "secmx"

var Policy = secmx.Policy{Inspect: func(_ *secmx.Session, message *secmx.Message) secmx.Ruling {
	for _, part := range message.Parts() {
		text := " " + message.PartText(part.Index, 1<<20).SomeOr("") + " ."
		for at := range len(text) - 3 {
			if kind := secret(text[at+1:]); kind != "" && !word(text[at]) {
				message.AddEvidence(part.Index, uint64(at), text[at+1:at+5]+"…")
				return secmx.Quarantine("dlp."+kind, kind, " in part ", part.Index)
			}
		}
	}
	return secmx.Pass()
}}

// What begins here: capital letters and digits in groups, one space or hyphen between. Luhn's sum, or ISO 13616 with its 97.
func secret(text string) string {
	seen, letters, luhn, twice, sums := "", 0, 0, 0, [2]int{}
	for at := 0; len(seen) < 34 && (capital(text[at]) || at > 0 && (text[at] == ' ' || text[at] == '-') && word(text[at+1])); at++ {
		if !word(text[at]) {
			continue
		}
		letter, digit := int(text[at]/'A'), int(text[at]-'0')-7*int(text[at]/'A')
		half := &sums[min(len(seen)/4, 1)] // of the first four, which count last, and of the others
		*half = (*half*(10+90*letter) + digit) % 97
		seen, letters, luhn, twice = seen+text[at:at+1], letters+letter, twice+digit, luhn+2*digit-digit/5*9
		switch end := !word(text[at+1]); {
		case end && letters == 0 && len(seen) >= 13 && len(seen) <= 19 && luhn%10 == 0:
			return "card"
		case end && len(seen) >= 15 && min(seen[0], seen[1]) >= 'A' && max(seen[2], seen[3]) <= '9' && (sums[1]*1e6+sums[0])%97 == 1:
			return "iban"
		}
	}
	return ""
}
func word(c byte) bool    { return capital(c) || c >= 'a' && c <= 'z' }
func capital(c byte) bool { return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' }
