// Package guess bounds how often somebody may guess, in every factor and on
// every way in (NIST SP 800-63B-4 §3.2.2). An attempt is reserved before it is
// looked at, counted where it was wrong, and forgotten where it was right or
// could not be looked at:
//
//	Enter ──▶ Reserve ──▶ Failed     wrong
//	                 ├──▶ Succeeded  right, in the transaction that takes it
//	                 └──▶ Refund     nobody could tell
//
// It must not know what is guessed, nor how that is checked.
package guess
