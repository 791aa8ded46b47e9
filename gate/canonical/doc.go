// Package canonical brings what a client may write in several ways into the one
// form in which it is decided on and forwarded: host, target, and the names of
// headers. Where apps read that form in different ways it tells which these are:
// of a path (Readings), of the names of scripts in it (Scripts), of a query
// (QueryUse).
//
// It looks at one request alone, and keeps nothing. It must not know rules, nor
// who asks.
package canonical
