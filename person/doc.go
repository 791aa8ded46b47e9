// Package person is what flows and self-service both do to somebody's account:
// prove and replace the password, ask whether they were checked lately, make
// sign-ons, and end everything that they have. It must not know flows, HTTP or
// SQL.
package person
