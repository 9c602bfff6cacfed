// Refuses clients by their address.
package policy

import (
	"strings"

	"secmx"
)

var Policy = secmx.Policy{Check: check, Greet: greet}

type settings struct {
	Refuse []string // `192.0.2.7` is that address; `192.0.2.` and `2001:db8:` are every address that begins so
	Text   string
}

func known() (settings, error) {
	return secmx.Settings(settings{Text: "mail from your address is not taken here"})
}

func check() error {
	_, err := known()
	return err
}

func greet(session *secmx.Session) secmx.Ruling {
	address, settings := session.ClientAddress(), secmx.Must(known())
	for _, entry := range settings.Refuse {
		net := strings.HasSuffix(entry, ".") || strings.HasSuffix(entry, ":")
		if address == entry || net && strings.HasPrefix(address, entry) {
			secmx.Count("refused", 1)
			return secmx.Reject(554, "5.7.1", settings.Text, "greeting.address")
		}
	}
	return secmx.Pass()
}
