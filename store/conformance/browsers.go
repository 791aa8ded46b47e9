package conformance

import (
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/store"
)

var browserTests = []test{
	{"come back as created", browsersComeBack},
	{"are unique for each user", browsersUnique},
	{"touch only raises", browsersTouch},
	{"are listed last seen first", browsersListed},
	{"are remembered for their user", browsersRemembered},
	{"of a user are forgotten, and stay known", browsersForgotten},
	{"of a user are deleted", browsersDeleted},
}

func browser(id, userID, tokenHash string) store.Browser {
	return store.Browser{ID: id, UserID: userID, TokenHash: tokenHash, Created: noon, LastSeen: noon}
}

func browsersComeBack(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	f.addUser(t, "u2")
	b := browser("b1", "u1", "hash")
	b.UserAgent, b.LastSeen = awkward, noon.Add(time.Microsecond)
	b.Remembered, b.RememberedFor = noon.AddDate(0, 0, 30), assurance.TOTP
	must(t, f.CreateBrowser(f.ctx, b))
	wantEqual(t, "browser", get(f.BrowserByToken(f.ctx, "u1", "hash"))(t), b)
	for _, absent := range [][2]string{{"u2", "hash"}, {"u1", "HASH"}, {"u1", ""}, {"", "hash"}, {"u1", "%"}} {
		_, err := f.BrowserByToken(f.ctx, absent[0], absent[1])
		wantError(t, err, store.ErrNotFound)
	}
}

func browsersUnique(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	f.addUser(t, "u2")
	must(t, f.CreateBrowser(f.ctx, browser("b1", "u1", "hash")))
	wantError(t, f.CreateBrowser(f.ctx, browser("b1", "u1", "other")), store.ErrConflict)
	wantError(t, f.CreateBrowser(f.ctx, browser("b2", "u1", "hash")), store.ErrConflict)
	must(t, f.CreateBrowser(f.ctx, browser("b2", "u2", "hash"))) // several people, one browser
	wantError(t, f.CreateBrowser(f.ctx, browser("b3", "nobody", "hash")), store.ErrNotFound)
}

func browsersTouch(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	must(t, f.CreateBrowser(f.ctx, browser("b1", "u1", "hash")))
	steps := []struct{ touch, want time.Duration }{{time.Minute, time.Minute}, {-time.Hour, time.Minute}}
	for _, step := range steps {
		must(t, f.TouchBrowser(f.ctx, "b1", noon.Add(step.touch)))
		wantEqual(t, "last seen", get(f.BrowserByToken(f.ctx, "u1", "hash"))(t).LastSeen, noon.Add(step.want))
	}
	must(t, f.TouchBrowser(f.ctx, "b2", noon))
}

func browsersListed(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	f.addUser(t, "u2")
	must(t, f.CreateBrowser(f.ctx, browser("other", "u2", "hash")))
	for id, minutes := range map[string]int{"b1": 10, "b2": 30, "b3": 20} {
		b := browser(id, "u1", "hash of "+id)
		b.LastSeen, b.UserAgent = noon.Add(time.Duration(minutes)*time.Minute), id
		must(t, f.CreateBrowser(f.ctx, b))
	}
	must(t, f.TouchBrowser(f.ctx, "b1", noon.Add(time.Hour)))
	var ids []string
	for _, b := range get(f.BrowsersOf(f.ctx, "u1"))(t) {
		ids = append(ids, b.ID)
		wantEqual(t, "browser", b, get(f.BrowserByToken(f.ctx, "u1", "hash of "+b.ID))(t))
	}
	wantEqual(t, "ids", ids, []string{"b1", "b2", "b3"})
	for _, nobody := range []string{"", "u", "U1", "%"} {
		wantEqual(t, "of nobody", len(get(f.BrowsersOf(f.ctx, nobody))(t)), 0)
	}
}

func browsersRemembered(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	f.addUser(t, "u2")
	b := browser("b1", "u1", "hash")
	must(t, f.CreateBrowser(f.ctx, b))
	until := noon.AddDate(0, 0, 30)
	steps := []struct {
		userID, id string
		until      time.Time
		by         assurance.Factor
		refused    error
		want       store.Browser
	}{
		{"u1", "b1", until, assurance.TOTP, nil, withRemembered(b, until, assurance.TOTP)},
		{"u2", "b1", until.AddDate(1, 0, 0), assurance.FIDO, store.ErrNotFound, withRemembered(b, until, assurance.TOTP)},
		{"u1", "b2", until, assurance.TOTP, store.ErrNotFound, withRemembered(b, until, assurance.TOTP)},
		{"u2", "b1", time.Time{}, "", store.ErrNotFound, withRemembered(b, until, assurance.TOTP)},
		{"u1", "b1", noon, assurance.FIDO, nil, withRemembered(b, noon, assurance.FIDO)}, // lowered too
		{"u1", "b1", time.Time{}, assurance.FIDO, nil, b},
		{"u1", "b1", time.Time{}, "", nil, b},
	}
	for i, step := range steps {
		t.Run(numbered("step", i), func(t *testing.T) {
			wantError(t, f.RememberBrowser(f.ctx, step.userID, step.id, step.until, step.by), step.refused)
			wantEqual(t, "browser", get(f.BrowserByToken(f.ctx, "u1", "hash"))(t), step.want)
		})
	}
}

func withRemembered(b store.Browser, until time.Time, by assurance.Factor) store.Browser {
	b.Remembered, b.RememberedFor = until, by
	return b
}

func browsersForgotten(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	f.addUser(t, "u2")
	add := func(id, userID string) store.Browser {
		b := browser(id, userID, "hash of "+id)
		must(t, f.CreateBrowser(f.ctx, withRemembered(b, noon.Add(time.Hour), assurance.TOTP)))
		return b
	}
	b1, b2, other := add("b1", "u1"), add("b2", "u1"), add("b3", "u2")
	must(t, f.ForgetBrowsersOf(f.ctx, "u1"))
	must(t, f.ForgetBrowsersOf(f.ctx, "nobody"))
	wantEqual(t, "forgotten", get(f.BrowsersOf(f.ctx, "u1"))(t), []store.Browser{b1, b2})
	wantEqual(t, "another's", get(f.BrowsersOf(f.ctx, "u2"))(t),
		[]store.Browser{withRemembered(other, noon.Add(time.Hour), assurance.TOTP)})
}

func browsersDeleted(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	f.addUser(t, "u2")
	must(t, f.CreateBrowser(f.ctx, browser("b1", "u1", "one")))
	must(t, f.CreateBrowser(f.ctx, browser("b2", "u1", "two")))
	must(t, f.CreateBrowser(f.ctx, browser("b3", "u2", "one")))
	must(t, f.DeleteBrowsersOf(f.ctx, "u1"))
	for _, hash := range []string{"one", "two"} {
		_, err := f.BrowserByToken(f.ctx, "u1", hash)
		wantError(t, err, store.ErrNotFound)
	}
	get(f.BrowserByToken(f.ctx, "u2", "one"))(t)
}
