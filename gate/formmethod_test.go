package gate

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/portcullis-mfa/portcullis/gate/canonical"
)

const (
	urlencoded = "application/x-www-form-urlencoded"
	multipart  = `multipart/form-data; boundary="b"`
)

// part is one field of a form with parts.
func part(header, value string) string { return "--b\r\n" + header + "\r\n\r\n" + value + "\r\n" }

// TestMethodsInForms refuses a form that gives its request a method on which
// another rule would decide (P05).
func TestMethodsInForms(t *testing.T) {
	const named = `Content-Disposition: form-data; name="_method"`
	long := strings.Repeat("a=b&", screenedAhead)
	for _, test := range []struct {
		name, contentType, body string
		refused                 bool
	}{
		{"Rails, Laravel, Symfony", urlencoded, "_method=delete", true},
		{"behind others", urlencoded, "a=b&_method=DELETE&c=d", true},
		{"behind a semicolon", urlencoded, "a=b;_method=DELETE", true},
		{"escaped", urlencoded, "%5Fmeth%6fd=%44elete", true},
		{"with spaces", urlencoded, "+_method=+DELETE+", true},
		{"Slim", urlencoded, "_METHOD=DELETE", true},
		{"an array of PHP", urlencoded, "_method[]=DELETE", true},
		{"Restlet", urlencoded, "method=DELETE", true},
		{"ASP.NET", urlencoded, "X-HTTP-Method-Override=DELETE", true},
		{"with a character set", urlencoded + "; charset=utf-8", "_method=DELETE", true},
		{"of no type", "", "_method=DELETE", true},
		{"of a broken type", "a/b/c", "_method=DELETE", true},
		{"in a part", multipart, part(named, "DELETE") + "--b--\r\n", true},
		{"in a second part", multipart, part(`Content-Disposition: form-data; name="a"`, "b") + part(named, "delete") + "--b--", true},
		{"in a part without quotes", multipart, part(`content-disposition:form-data;name=_method`, "DELETE"), true},
		{"in a part behind another header", multipart, part("Content-Type: text/plain\r\n"+named, "DELETE"), true},
		{"in a folded header", multipart, part("Content-Disposition: form-data;\r\n name=\"_method\"", "DELETE"), true},
		{"in a long header", multipart, part("Content-Disposition: form-data; a="+strings.Repeat("a", longestLine)+`; name="_method"`, "DELETE"), true},
		{"in parts that line feeds separate", multipart, strings.ReplaceAll(part(named, "DELETE"), "\r\n", "\n"), true},
		{"in mixed parts", "multipart/mixed; boundary=b", part(named, "DELETE"), true},

		{"a method that is decided alike", urlencoded, "_method=put", false},
		{"a field that is none", urlencoded, "method_of_payment=DELETE&a=_method=DELETE&b", false},
		{"the name alone", urlencoded, "_method&DELETE", false},
		{"a long name", urlencoded, strings.Repeat("_", longestField) + "method=DELETE", false},
		{"text in a part", multipart, part(`Content-Disposition: form-data; name="a"`, "_method\r\n\r\nDELETE") + "--b--", false},
		{"JSON", "application/json", `_method=DELETE`, false},
		{"nothing", urlencoded, "", false},
		{"much else", urlencoded, long, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			closed := restOf()
			closed.Match = methodRule("DELETE")
			g := newTestGate(t, closed, restOf())
			for _, length := range []int64{int64(len(test.body)), -1} {
				r := withHeader(navigate("/x"), "POST", "")
				r.Header["Content-Type"] = []string{test.contentType}
				r.Body, r.ContentLength = io.NopCloser(iotest.OneByteReader(strings.NewReader(test.body))), length
				o := g.serve(r, cookieGood)
				ahead := length >= 0 || mediaType(r.Header) != "" // nothing is read ahead of what may be a stream
				if test.refused && ahead {
					o.expectStopped(t, http.StatusBadRequest)
					continue
				}
				o.expectPassed(t)
				body, err := io.ReadAll(o.seen.Body)
				switch {
				case test.refused && (!errors.Is(err, errAmbiguous) || strings.Contains(strings.ToUpper(string(body)), "DELETE")):
					t.Errorf("the app got %q: %v", body, err)
				case !test.refused && (string(body) != test.body || err != nil):
					t.Errorf("the app got %.100q: %v", body, err)
				}
			}
		})
	}
	t.Run("behind what is read ahead", func(t *testing.T) {
		barred := []string{"DELETE"}
		r := withHeader(navigate("/x"), "POST", "Content-Type: "+urlencoded)
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(long+"_method=DELETE")), int64(len(long))+14
		if err := screenForm(r, barred); err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(r.Body); !errors.Is(err, errAmbiguous) || strings.Contains(string(body), "DELETE") {
			t.Errorf("the app got %d bytes: %v", len(body), err)
		}
	})
	t.Run("where one rule decides all", func(t *testing.T) {
		r := withHeader(navigate("/x"), "POST", "Content-Type: "+urlencoded)
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader("_method=delete")), 14
		newTestGate(t).serve(r, cookieGood).expectPassed(t)
	})
}

// FuzzMethodsInForms finds every method that the standard library finds in a
// form, however the form is cut into reads.
func FuzzMethodsInForms(f *testing.F) {
	for _, seed := range []string{"_method=DELETE", "a=b&%5fmethod=+delete&c", part(`Content-Disposition: form-data; name="_method"`, "DELETE") + "--b--\r\n", part(`Content-Disposition: form-data; name="a"`, "_method=DELETE") + "--b--"} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	f.Fuzz(func(t *testing.T, body string, parts bool) {
		contentType := urlencoded
		if parts {
			contentType = multipart
		}
		form := func() *http.Request {
			return &http.Request{
				Method: "POST", Header: http.Header{"Content-Type": {contentType}},
				Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
			}
		}
		plain := form()
		if parts {
			_ = plain.ParseMultipartForm(1 << 20)
		} else {
			_ = plain.ParseForm()
		}
		named := false
		for key, values := range plain.PostForm {
			for _, value := range values {
				named = named || canonical.FoldsTo(key, "-method") && isBarred(value, []string{"DELETE"})
			}
		}
		r := form()
		if err := screenForm(r, []string{"DELETE"}); named && err == nil && len(body) <= screenedAhead {
			t.Fatalf("%q passed", body)
		}
	})
}
