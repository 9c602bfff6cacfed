// {{NAME}}: refuses clients whose EHLO name has one of the words in the settings.
package policy

import (
	"strings"

	"secmx"
)

var Policy = secmx.Policy{Check: check, Mail: mail}

// The settings, as `[config]` in policy.toml has them.
type settings struct{ Words []string }

func check() error {
	_, err := secmx.Settings(settings{})
	return err
}

func mail(session *secmx.Session, _ *secmx.Address, _ []secmx.Parameter) secmx.Ruling {
	hello := strings.ToLower(session.Hello().SomeOr(""))
	for _, word := range secmx.Must(secmx.Settings(settings{})).Words {
		if strings.Contains(hello, strings.ToLower(word)) {
			return secmx.Reject(550, "5.7.1", "Not welcome here", "hello.word")
		}
	}
	return secmx.Pass()
}
