// Package notify delivers messages to people.
//
// A message is queued in the transaction that makes it necessary, as a reference to
// its subject. When the message is due, a Route finds out whether it is still needed,
// writes it and hands it over. So neither the queue nor a copy of the store contains
// a code, and messages that have become pointless are never sent.
//
//	Queue ──▶ waiting ──▶ claimed ──▶ handed over
//	             ▲            ├─────▶ void: it is no longer needed
//	             └── later ───┴─────▶ failed: refused, or too late
//
// A claim is a lease: if a sender dies, another one sends its message, with the same
// identifier.
//
// The package must not know what messages are about. Speaking to servers is for the
// packages below it.
package notify
