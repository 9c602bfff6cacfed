// Package export_secmx_policy_content answers the questions of `content` with what a policy has.
package export_secmx_policy_content

import "secmx"

func Inspect(session *secmx.Session, message *secmx.Message) secmx.Ruling {
	defer session.Drop()
	defer message.Drop()
	defer secmx.Telling()
	return secmx.Answering("content", "Inspect", func(it secmx.Policy) bool { return it.Inspect != nil }).Inspect(session, message)
}
