// Package templates is the face of Portcullis: the pages as html/template
// files, their style sheet and ES modules, and the view models that fill them.
//
// A page is one file under files/pages. It defines "title" and "main", which
// files/layout.html puts into the frame that all pages share;
// files/partials.html holds what several pages repeat, files/icons.html the
// icons. A factor brings "challenge_KIND" and "enrol_KIND" by adding the two
// files; no list has to be changed for them.
//
// The package must not know where a view's values come from, who may see a
// page, or what its form does: it holds no rule of the product. Every text
// that a person or an app supplied reaches a page as a string and is escaped
// for the place where it stands. Two values are trusted: [TOTPEnrolment.QR],
// whose type says so, and [TOTPEnrolment.URI], which is put into a link only
// if its scheme is otpauth.
//
// The pages hold no inline script, style or event handler, so they work under
// a Content-Security-Policy with style-src, script-src and connect-src 'self',
// such as [Protect] sets. Everything but copying, printing and the strength
// meter works without JavaScript.
package templates
