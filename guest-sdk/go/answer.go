package secmx

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
)

var policy Policy

// Serve is called by the build: it puts a policy in force.
func Serve(it Policy) { policy = it }

// Answering is called by the build: the policy, which must answer one of these questions of an interface.
func Answering(named string, questions string, has func(Policy) bool) Policy {
	if !has(policy) {
		panic(errors.New("policy.toml says `" + named + "`, so Policy must have " + questions))
	}
	return policy
}

// Telling is called by the build around every question: it says in the log what went wrong and where in the policy's own files. The
// question is then a fault: the message waits.
func Telling() {
	wrong := recover()
	if wrong == nil {
		return
	}
	var callers [64]uintptr
	frames, told := runtime.CallersFrames(callers[:runtime.Callers(3, callers[:])]), []string{fmt.Sprint(wrong)}
	for {
		frame, more := frames.Next()
		own := frame.File != "" && !strings.Contains(frame.Function, "secmx/") && !strings.HasPrefix(frame.Function, "secmx.")
		if own && !strings.HasPrefix(frame.Function, "runtime.") && !strings.HasPrefix(frame.Function, "wasm_export") {
			told = append(told, fmt.Sprintf("at %s (%s:%d)", frame.Function, frame.File[strings.LastIndexByte(frame.File, '/')+1:], frame.Line))
		}
		if !more {
			break
		}
	}
	Warnf("%s", strings.Join(told, "\n"))
	panic(wrong)
}
