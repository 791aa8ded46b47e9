package portal

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/portcullis-mfa/portcullis/earlydata"
	"github.com/portcullis-mfa/portcullis/templates"
	"github.com/portcullis-mfa/portcullis/upload"
)

// recovered turns a panic into a page, so that a fault in one request neither
// shows its inside nor ends the process.
func (p *Portal) recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			cause := recover()
			if cause == nil {
				return
			}
			if cause == http.ErrAbortHandler {
				panic(cause)
			}
			p.fault(w, r, "serving a request", fmt.Errorf("panic: %v", cause))
		}()
		next.ServeHTTP(w, r)
	})
}

// bounded limits what a stranger can send, and reads the form. Nothing but the
// form of a POST is ever read.
func (p *Portal) bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			upload.Ignore(w, r)
			next.ServeHTTP(w, r)
			return
		}
		kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if err != nil || kind != "application/x-www-form-urlencoded" {
			upload.Ignore(w, r)
			p.forged(w, r)
			return
		}
		if err := upload.ReadForm(w, r); err != nil {
			p.unreadable(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// unreplayed refuses what came in TLS early data, which a bystander could send
// once more (RFC 8470 §5.2): browsers send it again by themselves after the
// handshake. Pages act on GET too: they begin challenges, use links up and hand
// sign-ons over.
func (p *Portal) unreplayed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !earlydata.Carried(r) || p.isPublic(r) {
			next.ServeHTTP(w, r)
			return
		}
		upload.Ignore(w, r)
		t := p.words(r)
		p.problem(w, r, templates.ProblemView{
			Status: http.StatusTooEarly, Title: t.say("portal.too_early.title"), Text: t.say("portal.too_early.text"),
			Action: t.say("portal.try_again"), ActionURL: p.comeBack(r),
		})
	})
}

// isPublic reports whether a request reads what is the same for everybody.
func (p *Portal) isPublic(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	for _, under := range []string{"/" + p.Pages.AssetPath() + "/", "/.well-known/", "/help/"} {
		if strings.HasPrefix(r.URL.Path, under) {
			return true
		}
	}
	return r.URL.Path == RevocationListPath
}

// unreadable answers a form that could not be read.
func (p *Portal) unreadable(w http.ResponseWriter, r *http.Request, err error) {
	status := http.StatusBadRequest
	switch {
	case errors.Is(err, upload.ErrTooLarge):
		status = http.StatusRequestEntityTooLarge
	case errors.Is(err, upload.ErrTooSlow):
		status = http.StatusRequestTimeout
	}
	t := p.words(r)
	p.problem(w, r, templates.ProblemView{
		Status: status, Title: t.say("portal.unreadable.title"), Text: t.say("portal.unreadable.text"),
	})
}

// sameOrigin refuses what another site's page sends.
func (p *Portal) sameOrigin(next http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(p.forged))
	return protection.Handler(next)
}

// isVisit reports whether, according to their browser, a person goes to a page.
// A page of another host of the same site can have it fetched with all cookies,
// and must not begin anything by that.
func isVisit(r *http.Request) bool {
	mode := r.Header.Get("Sec-Fetch-Mode")
	return r.Method != http.MethodGet && r.Method != http.MethodHead || mode == "" || mode == "navigate"
}

// problem answers with a page that says what happened and what to do.
func (p *Portal) problem(w http.ResponseWriter, r *http.Request, view templates.ProblemView) {
	view.Frame = p.frame(r)
	if view.RetryAfter > 0 {
		w.Header().Set("Retry-After", seconds(view.RetryAfter))
	}
	if err := p.page(w, r, view.Status, "problem", view); err != nil {
		p.unrendered(w, r, err)
	}
}

// page writes a rendered page; errUnrendered where it can't be rendered. A form on
// it may lead to the given origins.
func (p *Portal) page(w http.ResponseWriter, r *http.Request, status int, name string, view any, formOrigins ...string) error {
	var body bytes.Buffer
	if err := p.Pages.Render(&body, name, view); err != nil {
		return fmt.Errorf("%w: %w", errUnrendered, err)
	}
	p.write(w, r, status, "text/html; charset=utf-8", body.Bytes(), formOrigins...)
	return nil
}

func (p *Portal) write(w http.ResponseWriter, r *http.Request, status int, contentType string, body []byte, formOrigins ...string) {
	templates.Protect(w.Header(), p.Origin.Scheme == "https", formOrigins...)
	if HoldsToken(r.URL) {
		// The page's own address holds a token, and access logs hold referrers.
		w.Header().Set("Referrer-Policy", "no-referrer")
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // the client went away; there is nobody to tell
	}
}

// redirect leads on after a form was taken, or to where somebody belongs.
func (p *Portal) redirect(w http.ResponseWriter, to string) {
	templates.Protect(w.Header(), p.Origin.Scheme == "https")
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
}

// seconds writes a duration as Retry-After wants it, rounded up.
func seconds(d time.Duration) string { return strconv.Itoa(int(math.Ceil(d.Seconds()))) }
