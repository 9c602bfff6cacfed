//go:build !wasm

package secmx

// A policy in Go is asked by `secmx policy test` alone, and there is no helper as in other languages. Its functions reach the gateway through
// generated bindings, and those are for 32-bit WebAssembly only: a text comes back as an address of 32 bits, which is none on the machine
// that runs `go test`, so that nothing played natively could be read. `go test` of a package that imports this one does not link, and
// says "relocation target … not defined"; `go vet`, gopls and the like are content.
//
// What decides and needs no gateway can be in a package of its own, below the policy's folder, that does not import this one: `go test`
// runs its tests.
