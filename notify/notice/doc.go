// Package notice tells people by e-mail what happened to their account.
//
// Notices follow from audit events and are stored in the same transaction, so no
// feature can forget one. The table in events.go says which event gives which notice.
//
//	event ──▶ urgent: to every address, right away, without a limit
//	     ├──▶ prompt: to the main address, right away; over the limit, in the digest
//	     └──▶ daily:  to the main address, in a digest at most once a day
//
// Notices go to the address that an administrator entered for the user and to the
// addresses at which the user gets codes, as they were before the change that a notice
// is about: a thief who changes an address doesn't redirect the notice about that. The
// first of these is the main address.
//
// A notice contains no text that the person who caused it can choose: no names of keys
// or devices, and browsers only by well-known names.
//
// The package must not know how messages are delivered, or how an account is changed.
package notice
