// Mail to the listed domains goes out secure only (SOS), or not at all.
package policy

import (
	"errors"
	"strings"

	"secmx"
)

var Policy = secmx.Policy{Check: check, Route: route}

type settings struct {
	Domains []string // `health.test` is that domain, `.health.test` every domain below it
}

func check() error {
	known, err := secmx.Settings(settings{})
	if err == nil && len(known.Domains) == 0 {
		return errors.New("`domains` names no domain")
	}
	return err
}

func route(destination *secmx.Destination) secmx.Ruling {
	domain := destination.Domain()
	for _, entry := range secmx.Must(secmx.Settings(settings{})).Domains {
		if domain == entry || strings.HasPrefix(entry, ".") && strings.HasSuffix(domain, entry) {
			destination.SetRole(secmx.SenderSecureOnly)
		}
	}
	return secmx.Pass()
}
