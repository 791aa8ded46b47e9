// Package layout looks at how the sites of a configuration are laid out, and
// refuses those in which a request could get around a gate.
//
// It follows the requests for each host through the provisioned routes
// (walk.go), and judges what they meet: the checks are listed in Check. It
// yields where gates and portal are, errors and warnings. It must not know the
// running app: gates and portal are handlers to it, with a description each.
package layout
