// Package pagetag adds one script tag to a page as the page is sent.
//
// From the headers of a response, it decides whether the page may be changed at all.
// From the beginning of the body, it decides where the tag goes. It holds back no more
// than that beginning. If it isn't sure, it leaves the page unchanged: a page without
// the tag works as before.
//
// The package must not know what the script does, or who asked for the page.
package pagetag
