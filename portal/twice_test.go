package portal_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/descope/virtualwebauthn"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/credentials"
	"github.com/portcullis-mfa/portcullis/store"
)

// TestTwoClicksOnEveryButton sends each form of each flow twice, as a double click
// does without scripts. The first post is answered while the second one is, once
// before each thing that the second asks of the store. The browser shows the answer
// to the second, which leads to where a single click does.
func TestTwoClicksOnEveryButton(t *testing.T) {
	c := newTown(t)
	tried := make(map[string]bool)
	for _, flow := range []struct {
		what  string
		begin func(*walk, *wanderer) *page
	}{
		{"the first set-up", (*walk).setsUpFirst},
		{"a set-up", (*walk).setsUp},
		{"another password", (*walk).mustChoosePassword}, // first, as no answer is the last
		{"a loss", (*walk).losesPhone},
		{"an administrator's code", (*walk).losesAll},
		{"a sign-in", (*walk).signsIn},
		{"a backup code", (*walk).signsInByBackupCode},
		{"a key", (*walk).signsInByKey},
		{"a factor more", (*walk).addsKey},
		{"more time", (*walk).takesLong},
	} {
		t.Run(flow.what, func(t *testing.T) {
			if flow.what == "a set-up" {
				clear(tried) // its account is made in another way
			}
			for number := 0; c.clickTwice(t, flow.begin, number, tried); number++ {
			}
		})
	}
}

// clickTwice posts one form of a flow twice, in every way in which the two posts can
// meet, unless such a form was tried. It returns false if the flow has no such form.
func (c *town) clickTwice(t *testing.T, begin func(*walk, *wanderer) *page, number int, tried map[string]bool) bool {
	for operation := 1; ; operation++ {
		w := c.begin(t)
		b := w.browsers[0]
		p := begin(w, b)
		for range number {
			f, _ := p.main()
			p = w.answer(b, f)
		}
		f, ok := p.main()
		if !ok || number > 0 && !strings.HasPrefix(f.action, "/flow/") {
			return false
		}
		which := f.action + " " + f.fields.Get("factor")
		if tried[which] {
			return true
		}
		if !w.postTwice(b, f, operation) {
			tried[which] = true
			return true
		}
	}
}

// postTwice posts a form twice. The first post is answered before an operation of
// the second. It returns false if the second needs no more than the operations before.
func (w *walk) postTwice(b *wanderer, f form, operation int) bool {
	w.t.Helper()
	who := w.ownerOf(b, f)
	fields := f.filled(w.right(who, f))
	before := *b
	before.cookies = maps.Clone(b.cookies)
	met := false
	w.wire.before(operation, func() {
		met = true
		first := w.exchange(&before, http.MethodPost, f.action, fields)
		w.learn(who, f, fields, first.status == http.StatusSeeOther)
		w.rendered = 0
	})
	p := w.exchange(b, http.MethodPost, f.action, fields)
	if !met {
		return false
	}
	what := fmt.Sprintf("%s %s, before operation %d", f.action, f.fields.Get("factor"), operation)
	next, ok := p.main()
	if p.status != http.StatusSeeOther && !(p.status == http.StatusConflict && ok && strings.HasPrefix(next.action, "/flow/")) {
		w.t.Fatalf("%s: %d %s", what, p.status, p.title())
	}
	if p.location != "" {
		p = w.follow(b, http.MethodGet, p.location, nil)
	}
	p = w.comeIn(b, p)
	if _, in := b.cookies["__Host-mfa-portal"]; !in {
		w.t.Fatalf("%s: it doesn't lead in, but to %d %s", what, p.status, p.title())
	}
	return true
}

func (w *walk) setsUp(b *wanderer) *page {
	b.who = w.residents[2]
	return w.follow(b, http.MethodGet, "/invitation?token="+b.who.link, nil)
}

func (w *walk) setsUpFirst(b *wanderer) *page {
	for _, who := range w.residents {
		_ = w.desk.Disable(w.t.Context(), who.name)
	}
	b.who = &resident{name: "amy", password: passwords[0], keys: virtualwebauthn.NewAuthenticator()}
	link, err := w.engine.NewSetupLink(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return w.follow(b, http.MethodGet, "/setup?token="+link, nil)
}

func (w *walk) signsIn(b *wanderer) *page {
	b.who = w.residents[0]
	return w.follow(b, http.MethodGet, "/sign-in", nil)
}

// signsInBy asks for a second factor of a kind.
func (w *walk) signsInBy(b *wanderer, kind string) *page {
	w.signIn(b, w.residents[0], "", nil)
	return w.follow(b, http.MethodGet, "/flow?"+url.Values{"id": {b.flow}, "use": {kind}}.Encode(), nil)
}

func (w *walk) signsInByBackupCode(b *wanderer) *page { return w.signsInBy(b, "backup_code") }

func (w *walk) signsInByKey(b *wanderer) *page {
	elsewhere := w.browsers[1]
	w.comeIn(elsewhere, w.addsKey(elsewhere))
	return w.signsInBy(b, "fido")
}

func (w *walk) losesPhone(b *wanderer) *page {
	w.signIn(b, w.residents[0], "", nil)
	return w.follow(b, http.MethodGet, "/flow/lost?"+url.Values{"id": {b.flow}, "use": {"totp"}}.Encode(), nil)
}

func (w *walk) losesAll(b *wanderer) *page {
	who := w.residents[0]
	if _, err := w.desk.ResetFactors(w.t.Context(), who.name, false); err != nil {
		w.t.Fatal(err)
	}
	return w.signIn(b, who, "", nil)
}

// mustChoosePassword has backup codes to be made as well, after the password.
func (w *walk) mustChoosePassword(b *wanderer) *page {
	user, err := w.db.UserByID(w.t.Context(), w.residents[0].id)
	if err == nil {
		user.NewPassword = true
		err = w.db.Atomically(w.t.Context(), func(tx store.Tx) error {
			_, err := credentials.DeleteKind(w.t.Context(), tx, user.ID, assurance.BackupCode)
			return errors.Join(err, tx.UpdateUser(w.t.Context(), user))
		})
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return w.signIn(b, w.residents[0], "", nil)
}

// addsKey is asked for the password and a code before it adds a key.
func (w *walk) addsKey(b *wanderer) *page {
	w.comeIn(b, w.signIn(b, w.residents[0], "", nil))
	w.now = w.now.Add(10 * time.Minute)
	f, _ := w.comeIn(b, w.follow(b, http.MethodGet, "/account/fido/add", nil)).main()
	return w.answer(b, f)
}

// takesLong shows the form for more time alone.
func (w *walk) takesLong(b *wanderer) *page {
	p := w.signIn(b, w.residents[0], "", nil)
	for _, f := range p.forms {
		if f.action == "/flow/more-time" {
			return &page{forms: []form{f}}
		}
	}
	w.t.Fatalf("nothing offers more time on %s", p.title())
	return nil
}

// title is what a page is called.
func (p *page) title() string {
	_, title, _ := strings.Cut(p.text, "<title>")
	title, _, _ = strings.Cut(title, "</title>")
	return title
}
