// Package export_secmx_policy_setup answers the questions of `setup` with what a policy has.
package export_secmx_policy_setup

import (
	"secmx"
	"secmx/wit/types"
)

func Check() wit_types.Result[wit_types.Unit, string] {
	defer secmx.Telling()
	check := secmx.Answering("setup", "Check", func(it secmx.Policy) bool { return it.Check != nil }).Check
	if err := check(); err != nil {
		return wit_types.Err[wit_types.Unit, string](err.Error())
	}
	return wit_types.Ok[wit_types.Unit, string](wit_types.Unit{})
}
