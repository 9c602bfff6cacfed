// Package export_secmx_policy_receiver answers the questions of `receiver` with what a policy has.
package export_secmx_policy_receiver

import "secmx"

func policy() secmx.Policy {
	return secmx.Answering("receiver", "Greet, Mail or Recipient", func(it secmx.Policy) bool {
		return it.Greet != nil || it.Mail != nil || it.Recipient != nil
	})
}

func path(of secmx.Option[secmx.Address]) *secmx.Address {
	if of.IsNone() {
		return nil
	}
	address := of.Some()
	return &address
}

func Greet(session *secmx.Session) secmx.Ruling {
	defer session.Drop()
	defer secmx.Telling()
	if answer := policy().Greet; answer != nil {
		return answer(session)
	}
	return secmx.Pass()
}

func Mail(session *secmx.Session, reversePath secmx.Option[secmx.Address], parameters []secmx.Parameter) secmx.Ruling {
	defer session.Drop()
	defer secmx.Telling()
	if answer := policy().Mail; answer != nil {
		return answer(session, path(reversePath), parameters)
	}
	return secmx.Pass()
}

func Recipient(session *secmx.Session, reversePath secmx.Option[secmx.Address], forwardPath secmx.Address, parameters []secmx.Parameter) secmx.Ruling {
	defer session.Drop()
	defer secmx.Telling()
	if answer := policy().Recipient; answer != nil {
		return answer(session, path(reversePath), forwardPath, parameters)
	}
	return secmx.Pass()
}
