// Package templates is the face of Portcullis: the pages as html/template
// files, their texts, style sheet and ES modules, and the view models that fill
// them.
//
// A page is one file under files/pages. It defines "title" and "main", which
// files/layout.html puts into the frame that all pages share;
// files/partials.html holds what several pages repeat, files/icons.html the
// icons. A factor brings "challenge_KIND" and "enrol_KIND" by adding the two
// files; no list has to be changed for them.
//
// Texts lie in catalogues, files/text/LANGUAGE/*.toml. A page asks for one by
// its key: {{t "sign_in.title"}}, with values as pairs of name and value; plural
// chooses a form by a count, and rich makes what stands between ** strong. All
// catalogues hold the same keys. Each language has its own copy of every page.
// What scripts say stands in data attributes of the page.
//
// An operator's directory can override any file. So that an old override is
// noticed, each template begins with the number of its contract, {{/* contract:
// 1 */}}: it rises with every change of a template, or of the view, partials and
// scripts that it works with, after which an override that was made from the
// template as it was would no longer do.
//
// The package must not know where a view's values come from, who may see a
// page, or what its form does: it holds no rule of the product. Every text
// that a person or an app supplied reaches a page as a string and is escaped
// for the place where it stands, those put into texts too. Two values are
// trusted: [TOTPEnrolment.QR], whose type says so, and [TOTPEnrolment.URI], which
// is put into a link only if its scheme is otpauth.
//
// The pages hold no inline script, style or event handler, so they work under
// a Content-Security-Policy with style-src, script-src, img-src and connect-src
// 'self', such as [Protect] sets. Everything but copying, printing and the
// strength meter works without JavaScript.
package templates
