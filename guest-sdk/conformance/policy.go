// Touches everything that a policy can see and do. cases.toml says what must come of it.
package policy

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"secmx"
)

var Policy = secmx.Policy{Check: check, Greet: greet, Mail: mail, Recipient: recipient, Inspect: inspect, Route: route, Admit: admit}

type settings struct {
	Act string `json:"act,omitempty"`
}

func orDash(text secmx.Option[string]) string { return text.SomeOr("-") }

func bits(all ...bool) string {
	text := ""
	for _, bit := range all {
		if bit {
			text += "1"
		} else {
			text += "0"
		}
	}
	return text
}

func each[T any](all []T, as func(T) string, between string) string {
	texts := []string{}
	for _, one := range all {
		texts = append(texts, as(one))
	}
	return strings.Join(texts, between)
}

func path(address *secmx.Address) string {
	if address == nil {
		return "-"
	}
	return address.LocalPart + "@" + address.Domain
}

func optional(address secmx.Option[secmx.Address]) string {
	if address.IsNone() {
		return "-"
	}
	some := address.Some()
	return path(&some)
}

func list(parameters []secmx.Parameter) string {
	return each(parameters, func(given secmx.Parameter) string {
		if given.Value.IsNone() {
			return given.Keyword
		}
		return given.Keyword + "=" + given.Value.Some()
	}, " ")
}

func channel(option secmx.Option[secmx.Channel]) string {
	if option.IsNone() {
		return "-"
	}
	it := option.Some()
	marks := bits(it.Level == secmx.LevelDomain, it.Version == secmx.TLS13)
	return fmt.Sprintf("%s %s %s %s", marks, it.Cipher, it.Group, orDash(it.ServerName))
}

func certificate(option secmx.Option[secmx.Certificate]) string {
	if option.IsNone() {
		return "-"
	}
	it := option.Some()
	names := strings.Join(it.DnsNames, ",")
	return fmt.Sprintf("%s %s %s %d %d %d", it.Subject, it.Issuer, names, len(it.Sha256), it.Sha256[31], it.NotAfter)
}

func exchanger(it secmx.Exchanger) string {
	marks := bits(it.Source == secmx.SourceSecmxSrv, it.DnssecSecure, it.Expected == secmx.LevelDomain)
	return fmt.Sprintf("%d %s %d %d %s", it.Index, it.Name, it.Port, it.Preference, marks)
}

func check() error {
	known, err := secmx.Settings(settings{})
	if err == nil && known.Act == "refuse" {
		return errors.New("refused as told")
	}
	return err
}

func greet(session *secmx.Session) secmx.Ruling {
	session.SetRole(secmx.ReceiverSecureOnly)
	session.SetClientCertificate(secmx.ClientCertificateRequest)
	facts := []string{session.Id(), session.Listener(), session.ClientAddress()}
	for _, one := range []secmx.Option[string]{
		session.ClientName(), session.Hello(), session.AuthenticatedAs(),
		session.AuthenticationResult("spf"), session.AuthenticationResult("dkim"), session.Tag("before"),
	} {
		facts = append(facts, orDash(one))
	}
	session.SetTag("facts", strings.Join(facts, " "))
	session.SetTag("channel", channel(session.Channel()))
	session.SetTag("peer", certificate(session.PeerCertificate()))
	session.SetTag("again", orDash(session.Tag("channel")))
	return secmx.Pass()
}

func mail(_ *secmx.Session, reversePath *secmx.Address, parameters []secmx.Parameter) secmx.Ruling {
	return secmx.Reject(550, "5.1.8", path(reversePath)+" "+list(parameters), "told.mail")
}

func recipient(_ *secmx.Session, reversePath *secmx.Address, forwardPath secmx.Address, parameters []secmx.Parameter) secmx.Ruling {
	text := fmt.Sprintf("%s %s %s", path(reversePath), path(&forwardPath), list(parameters))
	return secmx.Defer(451, "4.7.1", text, "told.recipient")
}

func facts(message *secmx.Message) secmx.Ruling {
	recipients := each(message.Recipients(), func(to secmx.Envelope) string {
		return path(&to.Address) + " " + list(to.Parameters)
	}, ",")
	fields := each(message.Fields(), func(field secmx.Field) string {
		return field.Name + "=" + strings.TrimSpace(string(field.Value))
	}, ",")
	text := []string{message.Id(), optional(message.ReversePath()), list(message.Parameters()), recipients, fmt.Sprint(message.Octets())}
	rest := []string{fields, strings.Join(message.Text("subject"), ","), string(message.Read(3, 4)), orDash(message.Tag("before"))}
	return secmx.Quarantine("told.facts", strings.Join(append(text, rest...), "|"))
}

func parts(message *secmx.Message) secmx.Ruling {
	part := func(it secmx.Part) string {
		parent := "-"
		if it.Parent.IsSome() {
			parent = fmt.Sprint(it.Parent.Some())
		}
		marks := bits(it.Attachment, it.Opacity == secmx.OpacityClear)
		named := orDash(it.Charset) + " " + orDash(it.FileName)
		return fmt.Sprintf("%d %s %s %s %d %s", it.Index, parent, it.ContentType, named, it.DecodedOctets, marks)
	}
	digest := message.Digest(1)
	found := each(message.Find([]string{"nothing", "GRUSS", "Gruss"}, true), func(at uint32) string { return fmt.Sprint(at) }, ",")
	text := []string{each(message.Parts(), part, ","), orDash(message.PartText(1, 6)), string(message.ReadPart(1, 1, 3))}
	rest := []string{fmt.Sprintf("%d %d", len(digest), digest[0]), found}
	return secmx.Quarantine("told.parts", strings.Join(append(text, rest...), "|"))
}

func changes(message *secmx.Message) secmx.Ruling {
	address := func(name string) secmx.Address { return secmx.Address{LocalPart: name, Domain: "health.test"} }
	message.AddField("X-Told", "grün")
	message.ReplaceField("Subject", "told")
	removed := message.RemoveField("X-Old")
	message.AddRecipient(address("di"))
	gone := bits(message.RemoveRecipient(address("cy")), message.RemoveRecipient(address("nobody")))
	message.SetTag("class", "secret")
	message.Demand(secmx.SenderSecureOnly, secmx.LevelHost)
	message.AddEvidence(0, 7, "seen")
	failed := bits(message.Journal("kept").IsOk(), message.Journal("none").IsOk(), message.RemovePart(9).IsOk())
	replaced := bits(message.ReplacePart(9, "text/plain", []byte("x")).IsOk())
	return secmx.Accept("told.changes", fmt.Sprintf("%d %s %s %s", removed, gone, failed, replaced))
}

func host() secmx.Ruling {
	secmx.Debugf("one %d", 1)
	secmx.Infof("two %d", 2)
	secmx.Warnf("three %d", 3)
	secmx.Count("told", 2)
	listed := bits(secmx.InList("blocked", "192.0.2.7"), secmx.InList("blocked", "192.0.2.8"))
	return secmx.Accept("told.host", listed+" "+bits(secmx.Now().Year() > 2023))
}

func store() secmx.Ruling {
	before := secmx.StoreGet("word")
	kept := secmx.StoreSet("word", []byte("kept"), time.Hour)
	first := secmx.Must(secmx.StoreIncrement("sum", 2, 0))
	second := secmx.Must(secmx.StoreIncrement("sum", -5, 0))
	end := "taken"
	if secmx.StoreSet("much", make([]byte, 1<<21), 0) != nil {
		end = "refused"
	}
	if before != nil || kept != nil {
		end = fmt.Sprint(before, kept)
	}
	return secmx.Accept("told.store", fmt.Sprintf("- %s %d %d %s", secmx.StoreGet("word"), first, second, end))
}

func why(name string) string {
	switch _, _, err := secmx.LookUp(name, "TXT"); err {
	case secmx.ErrDNSNone:
		return "none"
	case secmx.ErrDNSUnavailable:
		return "unavailable"
	case secmx.ErrDNSBogus:
		return "bogus"
	default:
		return fmt.Sprint(err)
	}
}

func dns() secmx.Ruling {
	values, secure, err := secmx.LookUp("known.test", "TXT")
	if err != nil {
		panic(err)
	}
	rest := why("none.test") + " " + why("down.test") + " " + why("forged.test")
	return secmx.Accept("told.dns", strings.Join(values, ",")+" "+bits(secure)+" "+rest)
}

func inspect(_ *secmx.Session, message *secmx.Message) secmx.Ruling {
	switch secmx.Must(secmx.Settings(settings{})).Act {
	case "facts":
		return facts(message)
	case "parts":
		return parts(message)
	case "changes":
		return changes(message)
	case "host":
		return host()
	case "store":
		return store()
	case "dns":
		return dns()
	case "discard":
		return secmx.Discard("told.discard", "dropped as told")
	case "raise":
		panic("the author's own words")
	case "loop":
		for {
		}
	case "memory":
		return secmx.Accept("told.memory", fmt.Sprint(len(make([]byte, 1<<30))))
	case "bad-field":
		message.AddField("X-Told", "one\r\nX-Smuggled: two")
	case "bad-reply":
		return secmx.Reject(250, "2.0.0", "no refusal", "told.bad-reply")
	}
	return secmx.Pass()
}

func route(to *secmx.Destination) secmx.Ruling {
	to.SetRole(secmx.SenderSecureOnly)
	to.Attempt(1, secmx.LevelHost)
	to.Attempt(0, secmx.LevelDomain)
	to.WhenProved(secmx.ExhaustedBounce("told.proved", "nothing better"))
	to.WhenUnknown(secmx.ExhaustedDefer())
	best := to.BestLevel()
	answers := bits(to.Secmx() == secmx.AnswerFound, to.Mx() == secmx.AnswerUnknown, best.IsSome() && best.Some() == secmx.LevelHost)
	recipients := each(to.Recipients(), func(address secmx.Address) string { return path(&address) }, ",")
	text := []string{to.Domain(), recipients, optional(to.ReversePath()), to.MessageId(), orDash(to.Tag("class")) + " " + orDash(to.Tag("none"))}
	rest := []string{fmt.Sprint(to.Waited()), fmt.Sprint(to.Attempts()), answers, to.StsMode()}
	last := []string{each(to.Exchangers(), exchanger, ","), bits(to.Channel().IsNone())}
	return secmx.Accept("told.route", strings.Join(append(append(text, rest...), last...), "|"))
}

func admit(destination *secmx.Destination, to secmx.Exchanger) secmx.Ruling {
	facts := []string{channel(destination.Channel()), certificate(destination.PeerCertificate()), exchanger(to)}
	return secmx.Quarantine("told.admit", strings.Join(facts, "|"))
}
