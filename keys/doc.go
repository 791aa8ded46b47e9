// Package keys holds the key set: the keys that sign and encrypt cookies, seal
// secrets at rest and pepper passwords, each with generations.
//
// A set is created once, when there is nothing yet that depends on it, and
// never in place of one that cannot be read: what was sealed and signed under
// a lost set is lost, and a silent new one would hide that.
//
// The package must not know what is signed or sealed, nor where the set is
// kept: a small Storage lives with it, and the caller brings one. It does not
// judge the age of what it decodes; payloads carry their own expiry.
package keys
