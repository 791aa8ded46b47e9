// Package accesstoken is the form of the tokens that programs carry, and what one
// is good for.
//
// A token says at first sight that it is one of ours, so that scanners find those
// that leak, and a checksum tells a mistyped one without asking anybody. It has a
// selector, under which the store keeps the hash of the whole, and a secret.
//
// It must not know where tokens are kept, nor how they come in a request.
package accesstoken
