package conformance

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
)

var pageTests = []test{
	{"have each row once", pagesComplete},
	{"go on after a row that is gone", pagesGoOn},
	{"have a size unless told", pagesSized},
}

// crowd adds users with a sign-on and a device each. Several were begun at the
// same time.
func (f fixture) crowd(t *testing.T, size int) {
	t.Helper()
	must(t, f.Atomically(f.ctx, func(tx store.Tx) error {
		for i := range size {
			id, at := numbered("u", i), noon.Add(time.Duration(i/3)*time.Second)
			for _, err := range []error{
				tx.CreateUser(f.ctx, store.User{ID: id, Name: id}),
				tx.CreateSignOn(f.ctx, store.SignOn{ID: id, UserID: id, Started: at, Expires: noon.Add(time.Hour)}),
				tx.CreateDevice(f.ctx, store.Device{ID: id, UserID: id, Certificate: id, Issued: at}),
			} {
				if err != nil {
					return err
				}
			}
		}
		return nil
	}))
}

func userName(u store.User) string   { return u.Name }
func signOnID(s store.SignOn) string { return s.ID }
func deviceID(d store.Device) string { return d.ID }

func (f fixture) signOns(ctx context.Context, page store.Page[store.SignOn]) ([]store.SignOn, error) {
	return f.ListSignOns(ctx, "", noon, page)
}

// inPages reads a list in pages of a size, and returns what its rows are called.
func inPages[Row any](t *testing.T, f fixture, size int, list store.List[Row], name func(Row) string) (names []string) {
	t.Helper()
	page := store.Page[Row]{Limit: size}
	for {
		rows := get(list(f.ctx, page))(t)
		if len(rows) > size {
			t.Errorf("%d rows on a page of %d", len(rows), size)
		}
		for _, row := range rows {
			names = append(names, name(row))
		}
		if len(rows) < size {
			return names
		}
		page.After = rows[len(rows)-1]
	}
}

func pagesComplete(t *testing.T, f fixture) {
	const all = 7
	f.crowd(t, all)
	whole := store.Page[store.SignOn]{Limit: all}
	newest := get(f.ListSignOns(f.ctx, "", noon, whole))(t)
	wantEqual(t, "the newest", newest[0].ID, numbered("u", all-1))
	byName := make([]string, all)
	for i := range byName {
		byName[i] = numbered("u", i)
	}
	wantEqual(t, "of one user", len(get(f.ListSignOns(f.ctx, numbered("u", 1), noon, whole))(t)), 1)
	for size := 1; size <= all+1; size++ {
		wantEqual(t, "users", inPages(t, f, size, f.ListUsers, userName), byName)
		for what, got := range map[string][]string{
			"sign-ons": inPages(t, f, size, f.signOns, signOnID), "devices": inPages(t, f, size, f.ListDevices, deviceID),
		} {
			slices.Sort(got)
			wantEqual(t, what, got, byName)
		}
	}
}

func pagesGoOn(t *testing.T, f fixture) {
	f.crowd(t, 3) // all begun at the same time
	user := get(f.ListUsers(f.ctx, store.Page[store.User]{Limit: 1}))(t)[0]
	must(t, f.DeleteUser(f.ctx, user.ID))
	wantEqual(t, "users", len(get(f.ListUsers(f.ctx, store.Page[store.User]{After: user}))(t)), 2)
	signOn := get(f.signOns(f.ctx, store.Page[store.SignOn]{Limit: 1}))(t)[0]
	device := get(f.ListDevices(f.ctx, store.Page[store.Device]{Limit: 1}))(t)[0]
	must(t, f.EndSignOn(f.ctx, signOn.ID, noon, "x"))
	must(t, f.DeleteUser(f.ctx, device.UserID))
	wantEqual(t, "devices", len(get(f.ListDevices(f.ctx, store.Page[store.Device]{After: device}))(t)), 1)
	for _, left := range get(f.signOns(f.ctx, store.Page[store.SignOn]{After: signOn}))(t) {
		if left.ID == signOn.ID || left.UserID == device.UserID {
			t.Errorf("%s is listed", left.ID)
		}
	}
}

func pagesSized(t *testing.T, f fixture) {
	f.crowd(t, store.PageSize+1)
	wantEqual(t, "users", len(get(f.ListUsers(f.ctx, store.Page[store.User]{}))(t)), store.PageSize)
	wantEqual(t, "sign-ons", len(get(f.signOns(f.ctx, store.Page[store.SignOn]{}))(t)), store.PageSize)
	wantEqual(t, "devices", len(get(f.ListDevices(f.ctx, store.Page[store.Device]{}))(t)), store.PageSize)
	wantEqual(t, "all users", len(get(store.All(f.ctx, f.ListUsers))(t)), store.PageSize+1)
	wantEqual(t, "all sign-ons", len(get(store.All(f.ctx, f.signOns))(t)), store.PageSize+1)
}
