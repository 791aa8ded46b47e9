// Package matching works out, without a request, what Caddy's matchers can look at
// and which requests they match.
//
// It takes matchers as JSON or loaded. When it can't be sure, it errs on the side of
// caution, as each function says. The package must not know gates, or what is done
// with the answers.
package matching
