// Package approach follows a request to a gate a second time, in the form that
// the gate decides on.
//
// Handlers and matchers before a gate keep things of a request, such as
// variables, headers and what regular expressions have captured. They are of
// the form in which the client sent it, where rules and apps may look at them.
// So the gate has each form that it decides on follow the way that led to it:
// what is captured on it is then of that form, and where anything else would
// have been taken, or the request would not have come to the gate at all, it is
// refused. This package must not know who may pass.
package approach
