package conformance

import (
	"testing"

	"github.com/portcullis-mfa/portcullis/store"
)

var userTests = []test{
	{"come back as created", usersComeBack},
	{"are not found", usersNotFound},
	{"names and addresses are unique", usersUnique},
	{"empty addresses are not an address", usersWithoutAddress},
	{"update is a compare-and-set", usersUpdate},
	{"update meets uniqueness", usersUpdateUnique},
	{"one of many updates wins", usersUpdateRace},
	{"are deleted with all that is theirs", usersDeleted},
	{"of many deletions one finds the user", usersDeleteRace},
	{"are listed by name", usersListed},
	{"are counted by state", usersCounted},
}

func usersComeBack(t *testing.T, f fixture) {
	tests := map[string]store.User{
		"full": {
			ID: "u1", Name: "zoë", DisplayName: awkward, Email: "zoë@example.com",
			Groups: []string{"admins", awkward}, Status: store.UserInvited, Language: awkward, Zone: "Europe/Berlin", Created: noon,
		},
		"bare": {ID: "u2", Name: "bob", Status: store.UserActive},
	}
	for name, u := range tests {
		t.Run(name, func(t *testing.T) {
			must(t, f.CreateUser(f.ctx, u))
			u.Version = 1
			wantEqual(t, "by id", get(f.UserByID(f.ctx, u.ID))(t), u)
			wantEqual(t, "by name", get(f.UserByName(f.ctx, u.Name))(t), u)
			if u.Email != "" {
				wantEqual(t, "by address", get(f.UserByEmail(f.ctx, u.Email))(t), u)
			}
		})
	}
}

func usersNotFound(t *testing.T, f fixture) {
	u := store.User{ID: "u1", Name: "alice", Email: "alice@example.com", Status: store.UserActive, Created: noon}
	must(t, f.CreateUser(f.ctx, u))
	for _, near := range []string{"", "ALICE", "alic", "alice ", "alic_", "%", "alice%"} {
		_, err := f.UserByName(f.ctx, near)
		wantError(t, err, store.ErrNotFound)
	}
	for _, near := range []string{"", "Alice@example.com", "alice@", "%@example.com"} {
		_, err := f.UserByEmail(f.ctx, near)
		wantError(t, err, store.ErrNotFound)
	}
	for _, near := range []string{"", "U1", "u", "u_"} {
		_, err := f.UserByID(f.ctx, near)
		wantError(t, err, store.ErrNotFound)
	}
	wantError(t, f.UpdateUser(f.ctx, store.User{ID: "u2", Name: "bob", Version: 1}), store.ErrNotFound)
}

func usersUnique(t *testing.T, f fixture) {
	first := store.User{ID: "u1", Name: "alice", Email: "alice@example.com", Status: store.UserActive}
	must(t, f.CreateUser(f.ctx, first))
	tests := map[string]store.User{
		"id":      {ID: "u1", Name: "bob", Email: "bob@example.com"},
		"name":    {ID: "u2", Name: "alice", Email: "bob@example.com"},
		"address": {ID: "u2", Name: "bob", Email: "alice@example.com"},
	}
	for name, second := range tests {
		t.Run(name, func(t *testing.T) {
			wantError(t, f.CreateUser(f.ctx, second), store.ErrConflict)
			wantEqual(t, "users", get(f.CountUsers(f.ctx))(t), 1)
		})
	}
}

func usersWithoutAddress(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	f.addUser(t, "u2") // a second one without an address is no conflict
	_, err := f.UserByEmail(f.ctx, "")
	wantError(t, err, store.ErrNotFound)
}

func usersUpdate(t *testing.T, f fixture) {
	u := f.addUser(t, "u1")
	changed := store.User{
		ID: "u1", Name: "alice", DisplayName: awkward, Email: "alice@example.com",
		Groups: []string{"engineers"}, Status: store.UserDisabled, Language: "de", Zone: "Asia/Tokyo", Created: noon.AddDate(1, 0, 0), Version: 1,
	}
	must(t, f.UpdateUser(f.ctx, changed))
	wantError(t, f.UpdateUser(f.ctx, u), store.ErrConflict)
	changed.Created, changed.Version = noon, 2
	wantEqual(t, "after the update", get(f.UserByID(f.ctx, "u1"))(t), changed)
	changed.Groups, changed.Email = nil, ""
	must(t, f.UpdateUser(f.ctx, changed))
	changed.Version = 3
	wantEqual(t, "emptied", get(f.UserByID(f.ctx, "u1"))(t), changed)
}

func usersUpdateUnique(t *testing.T, f fixture) {
	must(t, f.CreateUser(f.ctx, store.User{ID: "u1", Name: "alice", Email: "alice@example.com"}))
	must(t, f.CreateUser(f.ctx, store.User{ID: "u2", Name: "bob", Email: "bob@example.com"}))
	wantError(t, f.UpdateUser(f.ctx, store.User{ID: "u2", Name: "alice", Version: 1}), store.ErrConflict)
	wantError(t, f.UpdateUser(f.ctx, store.User{ID: "u2", Name: "bob", Email: "alice@example.com", Version: 1}),
		store.ErrConflict)
	must(t, f.UpdateUser(f.ctx, store.User{ID: "u2", Name: "bob", Email: "bob@example.com", Version: 1}))
}

func usersUpdateRace(t *testing.T, f fixture) {
	u := f.addUser(t, "u1")
	wantOneWinner(t, race(50, func(int) error { return f.UpdateUser(f.ctx, u) }), store.ErrConflict)
	wantEqual(t, "version", get(f.UserByID(f.ctx, "u1"))(t).Version, int64(2))
}

func usersDeleted(t *testing.T, f fixture) {
	f.populate(t)
	must(t, f.EndSignOn(f.ctx, "s1", noon, "before"))
	f.addUser(t, "u2")
	credential, signOn := f.addCredential(t, "u2", "c2"), f.addSignOn(t, "u2", "s2")
	record, nobodys := f.addRecord(t, "n", "k2", "u2"), f.addRecord(t, "n", "k3", "")
	must(t, f.CreateBrowser(f.ctx, browser("b2", "u2", "h")))
	device := f.addDevice(t, "u2", "d2")

	must(t, f.DeleteUser(f.ctx, "u1"))
	absent := func(_ any, err error) { t.Helper(); wantError(t, err, store.ErrNotFound) }
	absent(f.UserByID(f.ctx, "u1"))
	absent(f.UserByName(f.ctx, "name of u1"))
	absent(f.CredentialByID(f.ctx, "c1"))
	absent(f.SignOnByID(f.ctx, "s1"))
	absent(f.GetRecord(f.ctx, "n", "k", longBefore))
	absent(f.BrowserByToken(f.ctx, "u1", "h"))
	absent(f.DeviceByID(f.ctx, "d1"))
	absent(f.DeviceByCertificate(f.ctx, certificateOf("d1")))
	wantEqual(t, "events", len(get(f.ListEvents(f.ctx, store.EventFilter{}))(t)), 1)
	wantEqual(t, "users", len(get(f.ListUsers(f.ctx, store.Page[store.User]{}))(t)), 1)
	wantEqual(t, "another's credential", get(f.CredentialByID(f.ctx, "c2"))(t), credential)
	wantEqual(t, "another's sign-on", get(f.SignOnByID(f.ctx, "s2"))(t), signOn)
	wantEqual(t, "another's record", get(f.GetRecord(f.ctx, "n", "k2", noon))(t), record)
	wantEqual(t, "nobody's record", get(f.GetRecord(f.ctx, "n", "k3", noon))(t), nobodys)
	get(f.BrowserByToken(f.ctx, "u2", "h"))(t)
	wantEqual(t, "another's device", get(f.DeviceByID(f.ctx, "d2"))(t), device)
	f.addUser(t, "u1") // the name is free again
}

// usersDeleteRace has the losers go on in their transactions: a refusal alone
// leaves everything as it is, records of that owner included.
func usersDeleteRace(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	wantOneWinner(t, race(20, func(int) error { return f.DeleteUser(f.ctx, "u1") }), store.ErrNotFound)
	for _, unknown := range []string{"", "u1", "%"} {
		kept := f.addRecord(t, "n", "of "+unknown, unknown)
		must(t, f.Atomically(f.ctx, func(tx store.Tx) error {
			wantError(t, tx.DeleteUser(f.ctx, unknown), store.ErrNotFound)
			return nil
		}))
		wantEqual(t, "record", get(f.GetRecord(f.ctx, "n", kept.Key, noon))(t), kept)
	}
}

func usersListed(t *testing.T, f fixture) {
	wantEqual(t, "at first", len(get(f.ListUsers(f.ctx, store.Page[store.User]{}))(t)), 0)
	for _, name := range []string{"zoë", "alice", "Bob", "émile", "a b", "alice-2"} {
		must(t, f.CreateUser(f.ctx, store.User{ID: "id of " + name, Name: name, Groups: []string{name}}))
	}
	var names []string
	for _, u := range get(f.ListUsers(f.ctx, store.Page[store.User]{}))(t) {
		names = append(names, u.Name)
		wantEqual(t, "groups", u.Groups, []string{u.Name})
	}
	wantEqual(t, "names", names, []string{"Bob", "a b", "alice", "alice-2", "zoë", "émile"})
}

func usersCounted(t *testing.T, f fixture) {
	for i, status := range []store.UserStatus{
		store.UserActive, store.UserActive, store.UserActive, store.UserInvited, store.UserInvited, store.UserDisabled,
	} {
		must(t, f.CreateUser(f.ctx, store.User{ID: numbered("u", i), Name: numbered("u", i), Status: status}))
	}
	tests := []struct {
		states []store.UserStatus
		want   int
	}{
		{nil, 6},
		{[]store.UserStatus{store.UserActive}, 3},
		{[]store.UserStatus{store.UserActive, store.UserDisabled}, 4},
		{[]store.UserStatus{store.UserInvited, store.UserInvited}, 2},
		{[]store.UserStatus{"unheard-of"}, 0},
	}
	for _, test := range tests {
		wantEqual(t, "count", get(f.CountUsers(f.ctx, test.states...))(t), test.want)
	}
}
