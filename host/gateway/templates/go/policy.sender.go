// {{NAME}}: mail to domains that have one of the words in the settings goes securely or not at all.
package policy

import (
	"strings"

	"secmx"
)

var Policy = secmx.Policy{Check: check, Route: route}

// The settings, as `[config]` in policy.toml has them.
type settings struct{ Words []string }

func check() error {
	_, err := secmx.Settings(settings{})
	return err
}

func route(destination *secmx.Destination) secmx.Ruling {
	domain := destination.Domain()
	for _, word := range secmx.Must(secmx.Settings(settings{})).Words {
		if strings.Contains(domain, strings.ToLower(word)) {
			destination.SetRole(secmx.SenderSecureOnly)
		}
	}
	return secmx.Pass()
}
