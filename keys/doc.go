// Package keys holds the key set: the keys that sign and encrypt cookies, seal
// secrets at rest, pepper passwords and sign assertions, each with generations.
//
// A set is created once, when there is nothing yet that depends on it, and
// never in place of one that cannot be read: what was sealed and signed under
// a lost set is lost, and a silent new one would hide that.
//
// Several nodes share one stored set. Each rereads it every minute and writes
// with a new generation only Lead after its creation, when all others have it;
// that holds while their clocks differ by less than four minutes:
//
//	Rotate ──▶ read with ── Lead ──▶ written with ── the next one's turn ──▶ retired ──▶ deleted
//
// What is retired is still read, each kind of key for as long as something may
// depend on it: cookie keys for the longest life of a cookie, assertion keys
// stay published for an hour, sealing keys and peppers until nothing names
// them any more. Prune deletes what is over.
//
// The package must not know what is signed or sealed, nor where the set is
// kept: a small Storage lives with it, and the caller brings one. It does not
// judge the age of what it decodes; payloads carry their own expiry.
package keys
