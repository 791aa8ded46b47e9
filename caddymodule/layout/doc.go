// Package layout checks how the sites of a configuration are laid out, and refuses
// configurations in which a request could get around a gate.
//
// It follows the requests for each host through the provisioned routes
// (walk.go), and judges what they meet; Check lists the checks. It returns the places
// of gates and portal, errors and warnings. It must not know the running app: to this
// package, gates and portal are handlers that describe themselves.
package layout
