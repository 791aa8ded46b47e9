// Package pagetag puts one script tag into a page while the page passes by.
//
// It decides from the headers of a response whether anything may be put into it
// at all, and from the beginning of its body where. It holds back no more than
// that beginning. What it can't tell for sure it leaves as it is: a page without
// the tag works as before.
//
// It must not know what the script does, nor who asked for the page.
package pagetag
