package secmx

import (
	"errors"
	"time"

	"secmx/bindings/secmx_policy_dns"
	"secmx/bindings/secmx_policy_store"
	"secmx/wit/types"
)

// What follows is by grant: `store = "1MiB"` and `dns = ["TXT"]` in [capabilities] of policy.toml.

// StoreGet gives what the policy keeps under a key, the same for all messages and after a restart; nil when there is nothing.
func StoreGet(key string) []byte { return secmx_policy_store.Get(key).SomeOr(nil) }

// StoreSet keeps a value, for a time that is not zero in whole seconds. The error says what does not fit.
func StoreSet(key string, value []byte, keep time.Duration) error {
	if kept := secmx_policy_store.Set(key, value, ttl(keep)); kept.IsErr() {
		return errors.New(kept.Err())
	}
	return nil
}

// StoreIncrement adds to a number and gives the sum.
func StoreIncrement(key string, by int64, keep time.Duration) (int64, error) {
	sum := secmx_policy_store.Increment(key, by, ttl(keep))
	if sum.IsErr() {
		return 0, errors.New(sum.Err())
	}
	return sum.Ok(), nil
}

func ttl(keep time.Duration) Option[uint32] {
	if keep == 0 {
		return wit_types.None[uint32]()
	}
	return wit_types.Some(uint32(keep / time.Second))
}

// Why DNS gave nothing. Unavailable is never none: a policy that cannot tell should defer.
var (
	ErrDNSNone        = errors.New("DNS says that there is none")
	ErrDNSUnavailable = errors.New("DNS cannot be asked now")
	ErrDNSBogus       = errors.New("DNS answers what DNSSEC refutes")
)

// LookUp asks DNS through the gateway: values, and whether DNSSEC vouches for them.
func LookUp(name, kind string) (values []string, secure bool, err error) {
	answer := secmx_policy_dns.Query(name, kind)
	if answer.IsOk() {
		return answer.Ok().Values, answer.Ok().Secure, nil
	}
	switch answer.Err().Tag() {
	case secmx_policy_dns.FailureNone:
		return nil, false, ErrDNSNone
	case secmx_policy_dns.FailureBogus:
		return nil, false, ErrDNSBogus
	}
	return nil, false, ErrDNSUnavailable
}
