// Package secmx is what a policy in Go stands on: rulings in one line, typed settings, the log.
//
// A policy is a package with a variable of this name, which has a function for each question it means to answer; what it does not have
// passes:
//
//	package policy
//
//	var Policy = secmx.Policy{Inspect: inspect}
//
// The methods of facts are those of wit/, in the generated package bindings. What may be absent is an Option: SomeOr("-") gives it or
// something else, IsSome says whether it is there.
package secmx

import (
	"fmt"
	"time"

	"secmx/bindings/secmx_policy_destination"
	"secmx/bindings/secmx_policy_host"
	"secmx/bindings/secmx_policy_message"
	"secmx/bindings/secmx_policy_session"
	"secmx/bindings/secmx_policy_types"
	"secmx/wit/types"
)

// Policy has the questions that a policy answers. Facts are good until the answer; nothing may keep them.
type Policy struct {
	// Check is asked when the policy is loaded: what it says refuses the settings.
	Check func() error
	// Greet is asked when a client connects.
	Greet func(session *Session) Ruling
	// Mail is asked at MAIL. Nil is the null reverse-path.
	Mail func(session *Session, reversePath *Address, parameters []Parameter) Ruling
	// Recipient is asked at RCPT.
	Recipient func(session *Session, reversePath *Address, forwardPath Address, parameters []Parameter) Ruling
	// Inspect is asked once a message is complete.
	Inspect func(session *Session, message *Message) Ruling
	// Route is asked before a delivery to one domain.
	Route func(destination *Destination) Ruling
	// Admit is asked when a channel to a host stands.
	Admit func(destination *Destination, exchanger Exchanger) Ruling
}

// Facts, and small closed data.
type (
	Session           = secmx_policy_session.Session
	Channel           = secmx_policy_session.Channel
	Certificate       = secmx_policy_session.Certificate
	ClientCertificate = secmx_policy_session.ClientCertificate
	Message           = secmx_policy_message.Message
	Part              = secmx_policy_message.Part
	Field             = secmx_policy_message.Field
	Envelope          = secmx_policy_message.Recipient
	Ambiguity         = secmx_policy_message.Ambiguity
	Opacity           = secmx_policy_message.Opacity
	Destination       = secmx_policy_destination.Destination
	Exchanger         = secmx_policy_destination.Exchanger
	Exhausted         = secmx_policy_destination.Exhausted
	Answer            = secmx_policy_destination.Answer
	Source            = secmx_policy_destination.Source
	Address           = secmx_policy_types.Address
	Parameter         = secmx_policy_types.Parameter
	Reason            = secmx_policy_types.Reason
	Ruling            = secmx_policy_types.Ruling
	Level             = secmx_policy_types.Level
	SenderRole        = secmx_policy_types.SenderRole
	ReceiverRole      = secmx_policy_types.ReceiverRole
	TLSVersion        = secmx_policy_types.TlsVersion
	Option[T any]     = wit_types.Option[T]
)

// What the words of wit/ are called.
const (
	LevelPlain     = secmx_policy_types.LevelPlain
	LevelEncrypted = secmx_policy_types.LevelEncrypted
	LevelHost      = secmx_policy_types.LevelHost
	LevelDomain    = secmx_policy_types.LevelDomain

	SenderBestEffort   = secmx_policy_types.SenderRoleBestEffort
	SenderSecureOnly   = secmx_policy_types.SenderRoleSecureOnly
	ReceiverBestEffort = secmx_policy_types.ReceiverRoleBestEffort
	ReceiverSecureOnly = secmx_policy_types.ReceiverRoleSecureOnly

	TLS12 = secmx_policy_types.TlsVersionTls12
	TLS13 = secmx_policy_types.TlsVersionTls13

	ClientCertificateIgnore  = secmx_policy_session.ClientCertificateIgnore
	ClientCertificateRequest = secmx_policy_session.ClientCertificateRequest
	ClientCertificateDemand  = secmx_policy_session.ClientCertificateDemand

	OpacityClear             = secmx_policy_message.OpacityClear
	OpacitySmimeEnveloped    = secmx_policy_message.OpacitySmimeEnveloped
	OpacityOpenpgp           = secmx_policy_message.OpacityOpenpgp
	OpacityEncryptedArchive  = secmx_policy_message.OpacityEncryptedArchive
	OpacityEncryptedDocument = secmx_policy_message.OpacityEncryptedDocument
	OpacityUnreadable        = secmx_policy_message.OpacityUnreadable

	AnswerFound   = secmx_policy_destination.AnswerFound
	AnswerNone    = secmx_policy_destination.AnswerNone
	AnswerDenied  = secmx_policy_destination.AnswerDenied
	AnswerUnknown = secmx_policy_destination.AnswerUnknown
	AnswerBogus   = secmx_policy_destination.AnswerBogus

	SourceSecmxSrv      = secmx_policy_destination.SourceSecmxSrv
	SourceSMTPTLSSrv    = secmx_policy_destination.SourceSmtpTlsSrv
	SourceMx            = secmx_policy_destination.SourceMx
	SourceAddressRecord = secmx_policy_destination.SourceAddressRecord
	SourceConfigured    = secmx_policy_destination.SourceConfigured
)

// Pass is no opinion: the next policy is asked.
func Pass() Ruling { return secmx_policy_types.MakeRulingPass() }

// Accept is yes, and no later policy of this interface is asked. The text is what fmt.Sprint makes of it, here and below.
func Accept(code string, text ...any) Ruling {
	return secmx_policy_types.MakeRulingAccept(Reason{Code: code, Text: fmt.Sprint(text...)})
}

// Quarantine is taken, kept for a person, not delivered.
func Quarantine(code string, text ...any) Ruling {
	return secmx_policy_types.MakeRulingQuarantine(Reason{Code: code, Text: fmt.Sprint(text...)})
}

// Discard is taken and dropped; always logged.
func Discard(code string, text ...any) Ruling {
	return secmx_policy_types.MakeRulingDiscard(Reason{Code: code, Text: fmt.Sprint(text...)})
}

// Reject is a 5yz reply: Reject(550, "5.7.1", "not here", "rule.name"). The text goes to the client.
func Reject(number uint16, enhanced, text, code string) Ruling {
	return secmx_policy_types.MakeRulingReject(refusal(number, enhanced, text, code))
}

// Defer is a 4yz reply. The text goes to the client.
func Defer(number uint16, enhanced, text, code string) Ruling {
	return secmx_policy_types.MakeRulingDefer(refusal(number, enhanced, text, code))
}

func refusal(number uint16, enhanced, text, code string) wit_types.Tuple2[secmx_policy_types.Reply, Reason] {
	var status wit_types.Tuple3[uint8, uint16, uint16]
	if _, err := fmt.Sscanf(enhanced, "%d.%d.%d", &status.F0, &status.F1, &status.F2); err != nil {
		panic(fmt.Sprintf("%q is no enhanced status code, such as \"5.7.1\"", enhanced))
	}
	reply := secmx_policy_types.Reply{Code: number, Enhanced: status, Text: text}
	return wit_types.Tuple2[secmx_policy_types.Reply, Reason]{F0: reply, F1: Reason{Code: code, Text: text}}
}

// ExhaustedDefer is for Destination.WhenProved and WhenUnknown: the message waits.
func ExhaustedDefer() Exhausted { return secmx_policy_destination.MakeExhaustedDefer() }

// ExhaustedBounce is for Destination.WhenProved and WhenUnknown: the message is returned.
func ExhaustedBounce(code, text string) Exhausted {
	return secmx_policy_destination.MakeExhaustedBounce(Reason{Code: code, Text: text})
}

// Debugf writes a line in the log for developers.
func Debugf(format string, values ...any) {
	secmx_policy_host.Log(secmx_policy_host.SeverityDebug, fmt.Sprintf(format, values...))
}

// Infof writes a line in the log.
func Infof(format string, values ...any) {
	secmx_policy_host.Log(secmx_policy_host.SeverityInfo, fmt.Sprintf(format, values...))
}

// Warnf writes a line in the log that an operator should see.
func Warnf(format string, values ...any) {
	secmx_policy_host.Log(secmx_policy_host.SeverityWarn, fmt.Sprintf(format, values...))
}

// InList says whether a list that the configuration names has this member.
func InList(list, value string) bool { return secmx_policy_host.InList(list, value) }

// Now is the time, the same during one question.
func Now() time.Time { return time.Unix(int64(secmx_policy_host.Now()), 0).UTC() }

// Count adds to a counter in the metrics: a word of lower-case letters, digits and hyphens.
func Count(name string, by uint64) { secmx_policy_host.Count(name, by) }
