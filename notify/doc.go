// Package notify has messages delivered to people: codes today, and whatever
// else they should hear of.
//
// What is to be sent is queued in the transaction that makes it necessary, as a
// reference to what it is about. When the message leaves, a Route finds out
// whether there still is something to say, writes it and hands it over. So
// neither the queue nor a copy of the store holds a code, and what became
// pointless is never sent.
//
//	Queue ──▶ waiting ──▶ claimed ──▶ handed over
//	             ▲            ├─────▶ void: there is nothing to say any more
//	             └── later ───┴─────▶ failed: refused, or too late
//
// A claim is a lease: a message whose sender died is sent by another one, with
// the same identifier.
//
// The package must not know what messages are about, nor how a server is spoken
// to; that is what the packages below it are for.
package notify
