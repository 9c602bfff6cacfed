// {{NAME}}: keeps messages whose subject has one of the words in the settings.
package policy

import (
	"strings"

	"secmx"
)

var Policy = secmx.Policy{Check: check, Inspect: inspect}

// The settings, as `[config]` in policy.toml has them.
type settings struct{ Words []string }

func check() error {
	_, err := secmx.Settings(settings{})
	return err
}

func inspect(_ *secmx.Session, message *secmx.Message) secmx.Ruling {
	subject := strings.ToLower(strings.Join(message.Text("Subject"), " "))
	for _, word := range secmx.Must(secmx.Settings(settings{})).Words {
		if strings.Contains(subject, strings.ToLower(word)) {
			return secmx.Quarantine("subject.word", `the subject has "`, word, `"`)
		}
	}
	return secmx.Pass()
}
