// Package test holds the black-box suites, which drive the real binary over
// the wire, and the rules of the house as tests.
package test
