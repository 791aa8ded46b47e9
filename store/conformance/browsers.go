package conformance

import (
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
)

var browserTests = []test{
	{"come back as created", browsersComeBack},
	{"are unique for each user", browsersUnique},
	{"touch only raises", browsersTouch},
	{"of a user are deleted", browsersDeleted},
}

func browser(id, userID, tokenHash string) store.Browser {
	return store.Browser{ID: id, UserID: userID, TokenHash: tokenHash, Created: noon, LastSeen: noon}
}

func browsersComeBack(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	f.addUser(t, "u2")
	b := browser("b1", "u1", "hash")
	b.LastSeen = noon.Add(time.Microsecond)
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
