package secmx

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"secmx/bindings/secmx_policy_host"
)

var known any // the settings, read once

// Settings reads this policy's settings into a struct: Settings(Shape{Text: "the default"}). A field without a default must be given,
// unless it is marked `json:"name,omitempty"`; types are checked and strange names are refused, in words for the administrator.
func Settings[Shape any](defaults Shape) (Shape, error) {
	if read, there := known.(Shape); there {
		return read, nil
	}
	text := []byte(secmx_policy_host.Settings())
	var given map[string]json.RawMessage
	if err := json.Unmarshal(text, &given); err != nil {
		return defaults, err
	}
	fields, value := map[string]bool{}, reflect.ValueOf(defaults)
	for at := range value.NumField() {
		name, rest, _ := strings.Cut(value.Type().Field(at).Tag.Get("json"), ",")
		if name == "" {
			name = strings.ToLower(value.Type().Field(at).Name)
		}
		fields[name] = true
		if _, there := given[name]; !there && value.Field(at).IsZero() && !strings.Contains(rest, "omitempty") {
			return defaults, fmt.Errorf("`%s` is missing; it is a %s", name, value.Field(at).Type())
		}
	}
	for name := range given {
		if !fields[name] {
			return defaults, fmt.Errorf("there is no setting `%s`", name)
		}
	}
	read := defaults
	err := json.Unmarshal(text, &read)
	if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
		return defaults, fmt.Errorf("`%s` must be a %s, not a %s", strings.ToLower(wrong.Field), wrong.Type, wrong.Value)
	}
	if err == nil {
		known = read
	}
	return read, err
}

// Must gives what there is when there is no error, such as settings that Check has looked at: Must(Settings(Shape{})).
func Must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
