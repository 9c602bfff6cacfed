// Package export_secmx_policy_sender answers the questions of `sender` with what a policy has.
package export_secmx_policy_sender

import "secmx"

func policy() secmx.Policy {
	return secmx.Answering("sender", "Route or Admit", func(it secmx.Policy) bool { return it.Route != nil || it.Admit != nil })
}

func Route(destination *secmx.Destination) secmx.Ruling {
	defer destination.Drop()
	defer secmx.Telling()
	if answer := policy().Route; answer != nil {
		return answer(destination)
	}
	return secmx.Pass()
}

func Admit(destination *secmx.Destination, exchanger secmx.Exchanger) secmx.Ruling {
	defer destination.Drop()
	defer secmx.Telling()
	if answer := policy().Admit; answer != nil {
		return answer(destination, exchanger)
	}
	return secmx.Pass()
}
