// Package harness is what the black-box suites share: it builds the real
// binary, runs it on free ports over a state folder of the test's own, stands
// a recording app behind it, and speaks to it as a browser, as an attacker
// with a raw socket, and as an operator at a terminal.
//
// It is for tests only and must not know the product: it imports none of its
// packages, reads none of its tables and knows none of its routes. What a
// suite learns, it learns over the wire, from the logs or from the command
// line, as everybody else does.
//
// The oracle of a refusal is the [Recorder]: what counts is that the app saw
// no request, never what the client was told.
package harness
