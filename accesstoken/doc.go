// Package accesstoken defines the format of the tokens that programs carry, and
// their scope.
//
// A token begins with a fixed prefix, so that scanners can find leaked ones. A
// checksum exposes mistyped tokens without a look-up. A token has a selector, under
// which the store keeps the hash of the whole token, and a secret.
//
// The package must not know where tokens are kept, or how a request carries them.
package accesstoken
