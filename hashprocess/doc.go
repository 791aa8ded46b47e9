// Package hashprocess computes password hashes in a separate process, which the system
// runs at a low priority: a child that executes the same program and gets its tasks
// through a pipe. In the server's own process, hashing would compete with requests inside
// the Go runtime, which has no priorities, and would leave garbage there.
//
// It must not know the rules for passwords, peppers or stored hashes: package identity
// makes the tasks, and does them.
package hashprocess
