// Package authflow is the state machine of signing in: which step comes next,
// what an answer changes, and what a finished flow yields. It must not know
// HTTP, HTML or SQL.
//
// A flow begins where somebody has shown something: the right password, an
// invitation, or a sign-on that doesn't suffice. So a stranger who has nothing
// makes no flow. Whoever wants to reset a password adds a message to the outbox, within
// limits.
//
//	name + password ──▶ sign-in ───┐
//	a sign-on ────────▶ step-up ───┼─▶ Next ──▶ password ─────┐
//	invitation ───────▶ set-up ────┤    ▲ │ ──▶ challenge ────┤
//	a sign-on ────────▶ enrolment ─┤    │ │ ──▶ access code ──┤
//	mailed link ──────▶ reset ─────┘    │ │ ──▶ new password ─┤
//	                                    │ │ ──▶ account ──────┤
//	                                    │ │ ──▶ enrol ────────┤
//	                                    └─┼───────────────────┘
//	                                      ├──▶ grant: a sign-on
//	                                      └──▶ done: an enrolment
//
// After each answer the caller comes back to Next, which decides from the
// stored flow, the user's credentials and, where the person had it remembered,
// their browser alone; steps never lead to one another. What an answer consumes
// (a time step, a backup code) is written in one transaction with the proof
// that it earns, and the sign-on is made in a later one, so that a crash
// between the two spends the code and grants nothing.
//
// A step-up and an enrolment belong to a sign-on, and are gone once that has
// ended.
package authflow
