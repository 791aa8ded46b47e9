// Package approach follows a request to a gate a second time, in the form that
// the gate decides on.
//
// Handlers and matchers before a gate keep parts of a request, such as variables,
// headers and the captures of regular expressions, which rules and apps may look at.
// These parts come from the form in which the client sent the request. So the gate
// sends each form that it decides on along the same way again, and captures are then
// taken from that form. If anything else would have been taken, or if the request
// would not have reached the gate at all, the gate refuses it.
//
// The package must not know who may pass.
package approach
