// Package hashprocess computes password hashes in a process of their own, which the
// system runs at a low priority: a child that executes the same program and gets its
// tasks through a pipe. Hashing in the server's own process competes with requests
// inside the Go runtime, where nothing has a priority, and leaves garbage there.
//
// It must not know passwords' rules, peppers or stored hashes: a task comes from package
// identity and is done by it.
package hashprocess
