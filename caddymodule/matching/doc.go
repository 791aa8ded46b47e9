// Package matching tells, without any request, what Caddy's matchers can look
// at and which requests they match.
//
// It takes matchers as they are written in JSON, or loaded. What can't be told
// is reported on the side of caution, as each function says. It must not know
// gates, nor what is done about the answers.
package matching
