// Package identity knows what a person is called and how a local password is
// judged, hashed and verified: the canonical forms of names, addresses and
// groups, the rules for passwords, and argon2id behind a bounded queue.
//
// It computes and stores nothing: which user a name belongs to, whether that
// user may sign in and how many attempts are left is decided by its callers.
// It must not know HTTP, Caddy or SQL, nor where peppers are kept; a small
// Peppers lives with it, and the caller brings one.
//
// Names and passwords are Unicode. Each has exactly one canonical form, and
// everything is compared, counted and hashed in that form alone.
package identity
